//! `store.keys`: the store's own keys, each wrapped with the key-encryption key.
//!
//! One small file beside the database, replaced whole: the key of the database file, and the data keys that the
//! secret columns are sealed with. To change the key-encryption key is to write this file anew.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::key::StoreKey;
use super::seal::{decrypt, encrypt};
use crate::config::file::replace_private;

/// The keys, unwrapped.
pub(super) struct Keyring {
    /// The store's id, made with it.
    pub(super) store: Uuid,
    /// The key of the database file.
    pub(super) file: RawKey,
    /// The data keys by version; the highest seals.
    pub(super) data: BTreeMap<u32, RawKey>,
    /// Whether the database was made. One that is missing although it was is never made again.
    pub(super) ready: bool,
}

pub(super) type RawKey = Zeroizing<[u8; 32]>;

/// Why the keys can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyringFault {
    /// Another key.
    #[error(
        "the store's key is not the one that {} was made with: restore the right key, or restore the store from a \
         backup together with its key. Nothing was changed", .0.display()
    )]
    WrongKey(PathBuf),
    /// Not readable.
    #[error("{} is damaged ({what}): restore the store from a backup. Nothing was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer program wrote it.
    #[error("{} has form {form}, which a newer version wrote: install that version again", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its form.
        form: u32,
    },
    /// It can't be read or written.
    #[error("{} can't be {verb}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// No random bytes.
    #[error("no keys could be made: the operating system gave no random bytes")]
    Random,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    store: Uuid,
    /// Tells the key-encryption key from others.
    key: String,
    ready: bool,
    file: String,
    data: BTreeMap<u32, String>,
}

impl Keyring {
    /// New keys for a new store.
    pub(super) fn generate() -> Result<Self, KeyringFault> {
        let data = BTreeMap::from([(1, random()?)]);
        Ok(Self { store: Uuid::new_v4(), file: random()?, data, ready: false })
    }

    /// One more data key, which seals from now on.
    pub(super) fn add(&mut self) -> Result<u32, KeyringFault> {
        let version = self.data.keys().next_back().map_or(1, |newest| newest.saturating_add(1));
        self.data.insert(version, random()?);
        Ok(version)
    }

    /// The keys of the file; `None` where there is none.
    pub(super) fn load(path: &Path, key: &StoreKey) -> Result<Option<Self>, KeyringFault> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(path, &bytes, key).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeyringFault::File { path: path.to_owned(), verb: "read", source }),
        }
    }

    /// The keys of these bytes; `path` is where they come from.
    pub(super) fn parse(path: &Path, bytes: &[u8], key: &StoreKey) -> Result<Self, KeyringFault> {
        let damaged = |what: String| KeyringFault::Damaged { path: path.to_owned(), what };
        let form: Form = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if form.format > FORMAT {
            return Err(KeyringFault::TooNew { path: path.to_owned(), form: form.format });
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if document.key != key.check() {
            return Err(KeyringFault::WrongKey(path.to_owned()));
        }
        let unwrap = |name: &str, wrapped: &str| {
            unwrap(key, document.store, name, wrapped)
                .ok_or_else(|| damaged(format!("the {name} does not open")))
        };
        let file = unwrap(FILE_KEY, &document.file)?;
        let data = document
            .data
            .iter()
            .map(|(version, wrapped)| Ok((*version, unwrap(&data_key(*version), wrapped)?)))
            .collect::<Result<BTreeMap<_, _>, KeyringFault>>()?;
        if data.is_empty() {
            return Err(damaged("it holds no data key".to_owned()));
        }
        Ok(Self { store: document.store, file, data, ready: document.ready })
    }

    /// Writes the file anew, wrapped with this key. On return it is on disk.
    pub(super) fn save(&self, path: &Path, key: &StoreKey) -> Result<(), KeyringFault> {
        replace_private(path, &self.to_bytes(key)?).map_err(|source| KeyringFault::File {
            path: path.to_owned(),
            verb: "written",
            source,
        })
    }

    /// What the file holds: one line.
    pub(super) fn to_bytes(&self, key: &StoreKey) -> Result<Vec<u8>, KeyringFault> {
        let wrap = |name: &str, raw: &RawKey| wrap(key, self.store, name, raw).ok_or(KeyringFault::Random);
        let data = self.data.iter().map(|(version, raw)| Ok((*version, wrap(&data_key(*version), raw)?)));
        let document = Document {
            format: FORMAT,
            store: self.store,
            key: key.check(),
            ready: self.ready,
            file: wrap(FILE_KEY, &self.file)?,
            data: data.collect::<Result<_, KeyringFault>>()?,
        };
        let mut bytes = serde_json::to_vec(&document).map_err(|_| KeyringFault::Random)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

#[derive(Deserialize)]
struct Form {
    format: u32,
}

fn data_key(version: u32) -> String {
    format!("data key {version}")
}

fn wrap(key: &StoreKey, store: Uuid, name: &str, raw: &RawKey) -> Option<String> {
    Some(STANDARD.encode(encrypt(&key.aead()?, &additional(store, name), raw.as_ref())?))
}

fn unwrap(key: &StoreKey, store: Uuid, name: &str, wrapped: &str) -> Option<RawKey> {
    let plain = decrypt(&key.aead()?, &additional(store, name), &STANDARD.decode(wrapped).ok()?)?;
    Some(Zeroizing::new(plain.expose().as_slice().try_into().ok()?))
}

fn additional(store: Uuid, name: &str) -> Vec<u8> {
    format!("outhaul store {store} {name}").into_bytes()
}

fn random() -> Result<RawKey, KeyringFault> {
    let mut raw = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(raw.as_mut()).map_err(|_| KeyringFault::Random)?;
    Ok(raw)
}

const FORMAT: u32 = 1;
const FILE_KEY: &str = "file key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_with_its_key_only_and_says_which_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.keys");
        let (key, other) = (StoreKey::generate().unwrap(), StoreKey::generate().unwrap());
        assert!(Keyring::load(&path, &key).unwrap().is_none());
        let mut keyring = Keyring::generate().unwrap();
        assert_eq!(keyring.add().unwrap(), 2);
        keyring.ready = true;
        keyring.save(&path, &key).unwrap();
        let read = Keyring::load(&path, &key).unwrap().unwrap();
        assert!(
            read.ready
                && read.store == keyring.store
                && read.file == keyring.file
                && read.data == keyring.data
        );
        assert!(matches!(Keyring::load(&path, &other), Err(KeyringFault::WrongKey(_))));
        // With another key-encryption key it is the same keyring.
        read.save(&path, &other).unwrap();
        assert!(Keyring::load(&path, &other).unwrap().unwrap().file == keyring.file);
    }

    #[test]
    fn what_is_damaged_or_moved_does_not_open() {
        let (path, key) = (Path::new("store.keys"), StoreKey::generate().unwrap());
        let mut keyring = Keyring::generate().unwrap();
        keyring.add().unwrap();
        let text = String::from_utf8(keyring.to_bytes(&key).unwrap()).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut swapped = document.clone();
        swapped["data"]["1"] = document["data"]["2"].clone();
        let mut moved = document.clone();
        moved["store"] = Uuid::new_v4().to_string().into();
        let mut newer = document.clone();
        newer["format"] = 2.into();
        for bad in [swapped.to_string(), moved.to_string(), text[..text.len() / 2].to_owned(), String::new()]
        {
            let fault = Keyring::parse(path, bad.as_bytes(), &key).err().unwrap();
            assert!(matches!(fault, KeyringFault::Damaged { .. }), "{fault}");
        }
        let fault = Keyring::parse(path, newer.to_string().as_bytes(), &key).err().unwrap();
        assert!(matches!(fault, KeyringFault::TooNew { form: 2, .. }), "{fault}");
    }
}
