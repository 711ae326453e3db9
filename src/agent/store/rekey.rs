//! Changing the keys: the key-encryption key at once, the data keys one value after the other while calls go on.

use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use super::keyring::Keyring;
use super::seal::Seals;
use super::sealed::{SEALED, Step};
use super::{KEYS, KeySource, Store, StoreFault, StoreKey};

/// What sealing anew has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resealed {
    /// There is more to do.
    More,
    /// Everything is sealed with the newest data key, and the older ones are gone.
    Done,
}

impl Store {
    /// Wraps the store's keys with a new key-encryption key, and adds a data key that seals from now on. On return
    /// the old key opens nothing any more; [`Store::reseal`] does the rest.
    pub async fn rekey(&self, key: StoreKey) -> Result<(), StoreFault> {
        let store = self.clone();
        // On the store's thread: a file is written and flushed.
        self.0.worker.alone(move |_| store.change(Some(key), Keyring::add)).await?
    }

    /// Whether values may still be sealed with an older data key.
    pub fn is_resealing(&self) -> bool {
        self.keys().0.data.len() > 1
    }

    /// Seals some more values anew; to be called again until it is done.
    pub async fn reseal(&self) -> Result<Resealed, StoreFault> {
        if !self.is_resealing() {
            return Ok(Resealed::Done);
        }
        let newest = self.0.seals.load().newest();
        for column in SEALED {
            let step = self.call(move |session| column.reseal(session, newest)).await?;
            if step == Step::More {
                return Ok(Resealed::More);
            }
        }
        let store = self.clone();
        let forget = move |keyring: &mut Keyring| {
            keyring.data.retain(|version, _| *version >= newest);
            Ok(newest)
        };
        self.0.worker.alone(move |_| store.change(None, forget)).await??;
        Ok(Resealed::Done)
    }

    /// The keyring and the key it is wrapped with.
    pub(super) fn keys(&self) -> MutexGuard<'_, (Keyring, StoreKey)> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the keyring on disk, and only then in memory.
    fn change(
        &self,
        key: Option<StoreKey>,
        change: impl FnOnce(&mut Keyring) -> Result<u32, super::KeyringFault>,
    ) -> Result<(), StoreFault> {
        let mut keys = self.keys();
        let mut next = Keyring {
            store: keys.0.store,
            file: keys.0.file.clone(),
            data: keys.0.data.clone(),
            ready: keys.0.ready,
        };
        change(&mut next)?;
        let seals = Seals::new(next.store, &next.data).ok_or(StoreFault::Corrupt("a data key"))?;
        next.save(&self.0.folder.file(KEYS), key.as_ref().unwrap_or(&keys.1))?;
        keys.0 = next;
        if let Some(key) = key {
            keys.1 = key;
        }
        self.0.seals.store(seals.into());
        Ok(())
    }
}

impl KeySource {
    /// A new key for [`Store::rekey`], beside the old one: `FILE.next`. Only [`KeySource::take_next`] puts it in its
    /// place, after the keyring was written; a crash in between is finished when the store is opened.
    pub fn make_next(&self, state: &Path) -> Result<Option<StoreKey>, StoreFault> {
        let Some(path) = self.next_file() else { return Ok(None) };
        // One that is in use already, whose place was only never changed.
        self.take_next(state)?;
        // One that is there still was made for a change that is under way, or was cut off before it counted.
        if let Some(next) = self.next(state) {
            return Ok(Some(next));
        }
        let _ = std::fs::remove_file(&path);
        StoreKey::generate()?.write(&path, state)?;
        Ok(self.next(state))
    }

    /// Puts the next key into the old one's place, if it is the one that opens the store now. Another one stays: it
    /// belongs to a change that is still under way.
    pub fn take_next(&self, state: &Path) -> Result<(), StoreFault> {
        let (Some(next), Some(path)) = (self.next_file(), self.file()) else { return Ok(()) };
        let is_in_use =
            self.next(state).is_some_and(|key| matches!(Keyring::load(&state.join(KEYS), &key), Ok(Some(_))));
        if !is_in_use {
            return Ok(());
        }
        let taken = std::fs::rename(&next, &path).and_then(|()| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        });
        taken.map_err(|source| super::StoreKeyFault::Create { path, source }.into())
    }

    /// The next key, if there is one.
    pub fn next(&self, state: &Path) -> Option<StoreKey> {
        let place = crate::config::values::SecretRef::File(self.next_file()?);
        Self::At(place).read(state).ok()
    }

    fn next_file(&self) -> Option<std::path::PathBuf> {
        let mut name = self.file()?.into_os_string();
        name.push(".next");
        Some(name.into())
    }
}
