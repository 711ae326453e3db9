//! Opening the store: the one that is there, or a new one where there was none. Never a new one in another's place.

use std::path::Path;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use zeroize::Zeroizing;

use super::keyring::{Keyring, RawKey};
use super::seal::Seals;
use super::{DATABASE, Folder, Inner, KEYS, KeySource, Store, StoreFault, StoreKey, copy};
use crate::sqlite::{Worker, migrations, own_alone};

/// In order; a released one is never changed.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001_first.sql"),
    include_str!("migrations/002_audit.sql"),
    include_str!("migrations/003_mappings.sql"),
    include_str!("migrations/004_links.sql"),
    include_str!("migrations/005_services.sql"),
    include_str!("migrations/006_idempotency.sql"),
    include_str!("migrations/007_acme.sql"),
    include_str!("migrations/008_signed.sql"),
    include_str!("migrations/009_exposed.sql"),
];

impl Store {
    /// Opens the store in this folder. Where there is none it makes one, and its key too if that lies in a file.
    pub fn open(folder: &Path, source: &KeySource) -> Result<Self, StoreFault> {
        Self::open_as(Folder::open(folder)?, source, MIGRATIONS)
    }

    /// Whether there is a store in this folder, and the key opens it. Looks at the key and the keyring only, so that
    /// it can be asked while another process holds the store.
    pub fn key_fits(folder: &Path, source: &KeySource) -> Result<bool, StoreFault> {
        let keys = folder.join(KEYS);
        let there = keys.try_exists();
        if !there.map_err(|error| StoreFault::Disk(format!("{}: {error}", keys.display())))? {
            return Ok(false);
        }
        let key = source.read(folder)?;
        Ok(Keyring::load(&keys, &key)?.is_some())
    }

    /// Like [`Store::open`], with this list of migrations.
    pub(super) fn open_as(
        folder: Folder,
        source: &KeySource,
        migrations: &[&str],
    ) -> Result<Self, StoreFault> {
        let (keys, database) = (folder.file(KEYS), folder.file(DATABASE));
        // A disk that can't tell must not look like one that is new.
        let there = |path: &Path| {
            path.try_exists().map_err(|error| StoreFault::Disk(format!("{}: {error}", path.display())))
        };
        let (has_keys, has_database) = (there(&keys)?, there(&database)?);
        let (keyring, key) = if has_keys {
            let key = source.read(folder.path())?;
            read(&keys, key, source, folder.path())?
        } else if has_database {
            return Err(StoreFault::Missing { missing: keys, there: database });
        } else {
            let key = source.read_or_make(folder.path())?;
            let keyring = Keyring::generate()?;
            keyring.save(&keys, &key)?;
            (keyring, key)
        };
        if keyring.ready && !has_database {
            return Err(StoreFault::Missing { missing: database, there: keys });
        }
        // SQLite takes an empty file for a new one.
        if keyring.ready && database.metadata().is_ok_and(|file| file.len() == 0) {
            return Err(emptied());
        }
        let mut connection = connect(&database, &keyring.file, !keyring.ready)?;
        let form = migrations::form(&connection, migrations)?;
        if form == 0 && keyring.ready {
            return Err(emptied());
        }
        if form > 0 && form < migrations.len() {
            copy::before_migration(&connection, &keyring, &key, &folder, form)?;
        }
        migrations::run(&mut connection, migrations)?;
        let seals = Seals::new(keyring.store, &keyring.data).ok_or(StoreFault::Corrupt("a data key"))?;
        leave_log(&connection, false)?;
        let store = Self(Arc::new(Inner {
            worker: Worker::start("store", connection)?,
            seals: Arc::new(ArcSwap::from_pointee(seals)),
            keys: Mutex::new((keyring, key)),
            folder,
        }));
        store.ready()?;
        Ok(store)
    }

    /// From here on a database that is gone is missed.
    fn ready(&self) -> Result<(), StoreFault> {
        let mut keys = self.keys();
        if !keys.0.ready {
            keys.0.ready = true;
            keys.0.save(&self.0.folder.file(KEYS), &keys.1)?;
        }
        Ok(())
    }
}

fn emptied() -> StoreFault {
    StoreFault::Damaged("store.db is empty, and was not when it was left".to_owned())
}

/// Whether the log stays beside the file when it is closed, instead of being written into it.
pub(super) fn leave_log(connection: &Connection, leave: bool) -> Result<(), StoreFault> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leave)?;
    Ok(())
}

/// The keyring. A change of its key that was cut off is finished: the new key lies beside the old one.
fn read(
    path: &Path,
    key: StoreKey,
    source: &KeySource,
    state: &Path,
) -> Result<(Keyring, StoreKey), StoreFault> {
    let missing = || StoreFault::Missing { missing: path.to_owned(), there: state.join(DATABASE) };
    let fault = match Keyring::load(path, &key) {
        Ok(keyring) => return Ok((keyring.ok_or_else(missing)?, key)),
        Err(fault) => fault,
    };
    if let Some(next) = source.next(state)
        && let Ok(Some(keyring)) = Keyring::load(path, &next)
    {
        if let Err(fault) = source.take_next(state) {
            // The service may not write where its key lies; root finishes it at the next change.
            tracing::warn!(%fault, "the store's new key is in use, but lies still in its file's .next");
        }
        return Ok((keyring, next));
    }
    Err(fault.into())
}

/// A connection to an encrypted file. Read back once, so that a file that does not open is told here.
pub(super) fn connect(path: &Path, key: &RawKey, create: bool) -> Result<Connection, StoreFault> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if create {
        own_alone(path);
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let connection = Connection::open_with_flags(path, flags)?;
    // A file that turns out to be damaged is left as it is, and what a crash left beside it too.
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    leave_log(&connection, Path::new(&log).exists())?;
    // Its lines on standard error name neither the file nor what to do.
    connection.execute_batch("PRAGMA cipher_log_level = NONE")?;
    connection.execute_batch(&key_pragma(key))?;
    // Without a shared index in memory nothing but the file itself can break, and nobody else reads along.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What was acknowledged survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// The key as such, not a passphrase to derive one from (SQLCipher, “PRAGMA key”, raw key data).
fn key_pragma(key: &RawKey) -> Zeroizing<String> {
    let mut sql = Zeroizing::new(String::with_capacity(96));
    sql.push_str("PRAGMA key = \"x'");
    for byte in key.iter() {
        for digit in [byte >> 4, byte & 15] {
            sql.extend(char::from_digit(digit.into(), 16));
        }
    }
    sql.push_str("'\"");
    sql
}
