//! Backups: one file that is itself encrypted, made while the agent runs, and put back by `store restore`.
//!
//! A line that says what it is, the keyring (a line of JSON, wrapped with the key-encryption key), then the database
//! file. Whoever has it and not the key has nothing.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::keyring::Keyring;
use super::open::{MIGRATIONS, connect, leave_log};
use super::{DATABASE, Folder, KEYS, KeySource, Store, StoreFault, StoreKey};
use crate::config::file::replace_private;
use crate::sqlite::migrations;

/// Why a backup can't be made or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupFault {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// There is a file already.
    #[error("{} is there already, and a backup overwrites nothing: choose another name", .0.display())]
    Exists(PathBuf),
    /// A file can't be read or written.
    #[error("{} can't be {verb}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It is none.
    #[error("{} is no backup of an agent's store, or is cut off: nothing was changed", .0.display())]
    NotABackup(PathBuf),
    /// There is a store.
    #[error(
        "there is a store in {} already: `--replace` moves it aside, or name an empty state folder in the \
         configuration. Nothing was changed", .0.display()
    )]
    Occupied(PathBuf),
}

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The store's id.
    pub store: String,
    /// Where the store that was there before lies now.
    pub moved: Option<PathBuf>,
}

impl Store {
    /// Writes a backup into a new file, readable by its owner only. Calls go on meanwhile; the backup is as the store
    /// was at the end.
    pub async fn backup(&self, to: &Path) -> Result<(), BackupFault> {
        refuse_existing(to)?;
        let part = Part::new(to);
        let into = part.connect(&self.keys().0)?;
        // The keys that the copy was sealed with: a change of keys waits for its end.
        let store = self.clone();
        let keyring = move || {
            let keys = store.keys();
            keys.0.to_bytes(&keys.1)
        };
        let keyring = self.0.worker.copy(into, keyring).await.map_err(StoreFault::from)?;
        let keyring = keyring.map_err(StoreFault::from)?;
        let to = to.to_owned();
        let joined = tokio::task::spawn_blocking(move || join(&keyring, &part, &to)).await;
        joined.map_err(|_| StoreFault::Closed)?
    }
}

/// Puts a backup in place of a store that is not there. The key must open it; the agent must not run.
pub fn restore(
    from: &Path,
    folder: &Path,
    source: &KeySource,
    replace: bool,
    moved_name: &str,
) -> Result<Restored, BackupFault> {
    let folder = Folder::open(folder).map_err(StoreFault::from)?;
    let (keys, database) = (folder.file(KEYS), folder.file(DATABASE));
    // A log that was left over would be taken for the restored database's own.
    let log = folder.file("store.db-wal");
    let there = |path: &Path| path.symlink_metadata().is_ok();
    let occupied = there(&keys) || there(&database) || there(&log);
    if occupied && !replace {
        return Err(BackupFault::Occupied(folder.path().to_owned()));
    }
    let fault = |verb| move |source| BackupFault::File { path: from.to_owned(), verb, source };
    let mut file = BufReader::new(File::open(from).map_err(fault("read"))?);
    let key = source.read(folder.path()).map_err(StoreFault::from)?;
    let (mut magic, mut wrapped) = (String::new(), String::new());
    for line in [&mut magic, &mut wrapped] {
        let mut bounded = std::io::Read::take(&mut file, MAX_LINE);
        bounded.read_line(line).map_err(|_| BackupFault::NotABackup(from.to_owned()))?;
    }
    if magic != MAGIC || !wrapped.ends_with('\n') {
        return Err(BackupFault::NotABackup(from.to_owned()));
    }
    let keyring = Keyring::parse(from, wrapped.as_bytes(), &key).map_err(StoreFault::from)?;
    let part = Part::new(&database);
    let written = part.create().and_then(|mut out| {
        std::io::copy(&mut file, &mut out)?;
        out.sync_all()
    });
    written.map_err(|source| BackupFault::File { path: part.0.clone(), verb: "written", source })?;
    check(&part, &keyring, from)?;
    let moved = if occupied { Some(move_aside(&folder, moved_name)?) } else { None };
    // The keys last: a database without keys is told, keys without a database would be too.
    let place = std::fs::rename(&part.0, &database);
    place.map_err(|source| BackupFault::File { path: database.clone(), verb: "written", source })?;
    replace_private(&keys, wrapped.as_bytes()).map_err(|source| BackupFault::File {
        path: keys,
        verb: "written",
        source,
    })?;
    Ok(Restored { store: keyring.store.to_string(), moved })
}

/// Before a newer program changes the form of the store.
pub(super) fn before_migration(
    connection: &Connection,
    keyring: &Keyring,
    key: &StoreKey,
    folder: &Folder,
    form: usize,
) -> Result<(), StoreFault> {
    let to = folder.file(&format!("before-form-{}.backup", form + 1));
    // Left over from a migration that was cut off; the store still has its old form.
    let _ = std::fs::remove_file(&to);
    let part = Part::new(&to);
    let disk = |fault: BackupFault| match fault {
        BackupFault::Store(fault) => fault,
        other => StoreFault::Disk(other.to_string()),
    };
    let mut into = part.connect(keyring).map_err(disk)?;
    Backup::new(connection, &mut into)?.run_to_completion(1000, std::time::Duration::ZERO, None)?;
    drop(into);
    join(&keyring.to_bytes(key)?, &part, &to).map_err(disk)?;
    tracing::info!(backup = %to.display(), "the store gets a newer form; a backup of the old one was made");
    Ok(())
}

/// A database that is still to become part of something; gone when dropped.
pub(super) struct Part(PathBuf);

impl Part {
    pub(super) fn new(beside: &Path) -> Self {
        let mut name = beside.as_os_str().to_owned();
        name.push(".part");
        let part = Self(name.into());
        // A leftover of a crash.
        part.remove();
        part
    }

    fn create(&self) -> std::io::Result<File> {
        File::options().write(true).create_new(true).mode(0o600).open(&self.0)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn connect(&self, keyring: &Keyring) -> Result<Connection, BackupFault> {
        self.create().map_err(|source| BackupFault::File {
            path: self.0.clone(),
            verb: "created",
            source,
        })?;
        let connection = connect(&self.0, &keyring.file, true)?;
        // One file, without a log beside it.
        connection.pragma_update(None, "journal_mode", "DELETE").map_err(StoreFault::from)?;
        Ok(connection)
    }

    fn remove(&self) {
        for end in ["", "-wal", "-journal", "-shm"] {
            let mut name = self.0.as_os_str().to_owned();
            name.push(end);
            let _ = std::fs::remove_file(PathBuf::from(name));
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.remove();
    }
}

fn join(keyring: &[u8], part: &Part, to: &Path) -> Result<(), BackupFault> {
    let fault = |source| BackupFault::File { path: to.to_owned(), verb: "written", source };
    let mut out = File::options().write(true).create_new(true).mode(0o600).open(to).map_err(fault)?;
    let written = out
        .write_all(MAGIC.as_bytes())
        .and_then(|()| out.write_all(keyring))
        .and_then(|()| std::io::copy(&mut File::open(&part.0)?, &mut out))
        .and_then(|_| out.sync_all())
        .and_then(|()| {
            let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        });
    if let Err(source) = written {
        let _ = std::fs::remove_file(to);
        return Err(fault(source));
    }
    Ok(())
}

/// Is what was put there whole, and of a form that this program knows?
fn check(part: &Part, keyring: &Keyring, from: &Path) -> Result<(), BackupFault> {
    let connection = connect(&part.0, &keyring.file, false).map_err(|fault| match fault {
        StoreFault::Damaged(_) => BackupFault::NotABackup(from.to_owned()),
        other => other.into(),
    })?;
    migrations::form(&connection, MIGRATIONS).map_err(StoreFault::from)?;
    let whole = connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    if whole.map_err(StoreFault::from)? != "ok" {
        return Err(BackupFault::NotABackup(from.to_owned()));
    }
    // The file goes elsewhere, without its log.
    Ok(leave_log(&connection, false)?)
}

fn move_aside(folder: &Folder, name: &str) -> Result<PathBuf, BackupFault> {
    let aside = folder.file(name);
    let fault = |source| BackupFault::File { path: aside.clone(), verb: "created", source };
    std::fs::create_dir(&aside).map_err(fault)?;
    for file in [DATABASE, "store.db-wal", KEYS] {
        let from = folder.file(file);
        if from.symlink_metadata().is_ok() {
            std::fs::rename(&from, aside.join(file)).map_err(fault)?;
        }
    }
    Ok(aside)
}

fn refuse_existing(path: &Path) -> Result<(), BackupFault> {
    if path.symlink_metadata().is_ok() {
        return Err(BackupFault::Exists(path.to_owned()));
    }
    Ok(())
}

const MAGIC: &str = "OUTHAUL-STORE-BACKUP 1\n";
/// Longer than a keyring with a thousand data keys.
const MAX_LINE: u64 = 256 * 1024;
