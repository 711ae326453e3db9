//! The key-encryption key: 32 bytes that never lie in the state folder, and where they come from.
//!
//! A credential that systemd passes to the service, else a file that only the service's user may read. It opens the
//! [`Keyring`](super::keyring), and nothing else is sealed with it.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::common::secret::Secret;
use crate::config::values::{SecretFault, SecretRef, from_environment};

/// Where the key lies: `[store] key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A credential or a file.
    At(SecretRef),
    /// Nothing is said: the credential `store.key` where systemd passes one, else [`KeySource::DEFAULT_FILE`].
    Usual,
    /// `development-environment`: an environment variable. Others on the machine can read it.
    Environment(String),
}

/// The key itself.
pub struct StoreKey(Secret<[u8; 32]>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum StoreKeyFault {
    /// It can't be read.
    #[error("the store's key: {0}")]
    Unreadable(#[from] SecretFault),
    /// There is none yet, and none may be made here.
    #[error(
        "there is no key for the store at {place}: make one with \
         `(umask 077; openssl rand -hex 32 > {place})`, owned by the service's user"
    )]
    None {
        /// Where it should be.
        place: String,
    },
    /// It lies beside what it protects.
    #[error(
        "the store's key {} lies inside the state folder, so whoever copies the folder has both: move it out, for \
         example to {}, and name it under [store] key", .0.display(), KeySource::DEFAULT_FILE
    )]
    Inside(PathBuf),
    /// It is no key.
    #[error("the store's key at {place} is not 64 hexadecimal digits: check that it is the right file")]
    Form {
        /// Where it lies.
        place: String,
    },
    /// It can't be made.
    #[error("the store's key {} can't be made: {source}", path.display())]
    Create {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl KeySource {
    /// Where the key lies unless the configuration or systemd says otherwise.
    pub const DEFAULT_FILE: &str = "/etc/outhaul/store.key";
    /// The name of the credential that is looked for first.
    pub const DEFAULT_CREDENTIAL: &str = "store.key";

    /// Reads the key. Refuses one inside the state folder.
    pub fn read(&self, state: &Path) -> Result<StoreKey, StoreKeyFault> {
        match self.place() {
            Place::Secret(place) => {
                refuse_inside(&place, state)?;
                let text = place.read().map_err(|fault| match fault {
                    SecretFault::Missing(path) => StoreKeyFault::None { place: path.display().to_string() },
                    other => other.into(),
                })?;
                StoreKey::parse(text.expose()).ok_or(StoreKeyFault::Form { place: place.to_string() })
            }
            Place::Environment(name) => {
                let place = format!("the environment variable {name}");
                let text =
                    from_environment(&name).ok_or_else(|| StoreKeyFault::None { place: place.clone() })?;
                StoreKey::parse(text.expose()).ok_or(StoreKeyFault::Form { place })
            }
        }
    }

    /// The key's text, checked.
    pub fn read_text(&self, state: &Path) -> Result<Secret<String>, StoreKeyFault> {
        self.read(state).map(|key| Secret::new(hexadecimal(key.0.expose()).to_string()))
    }

    /// Reads the key, or makes it where it is to lie in a file and there is none yet: for a store that is new. The
    /// file belongs to the state folder's owner.
    pub fn read_or_make(&self, state: &Path) -> Result<StoreKey, StoreKeyFault> {
        match (self.read(state), self.file()) {
            (Err(StoreKeyFault::None { .. }), Some(path)) => {
                StoreKey::generate()?.write(&path, state)?;
                tracing::info!(file = %path.display(), "made a key for the store; keep a copy of it in a safe place");
                self.read(state)
            }
            (read, _) => read,
        }
    }

    /// The file the key lies in, where it lies in one.
    pub fn file(&self) -> Option<PathBuf> {
        match self.place() {
            Place::Secret(SecretRef::File(path)) => Some(path),
            _ => None,
        }
    }

    /// Whether it comes from an environment variable, which is for development only.
    pub fn is_exposed(&self) -> bool {
        matches!(self, Self::Environment(_))
    }

    fn place(&self) -> Place {
        match self {
            Self::At(place) => Place::Secret(place.clone()),
            Self::Environment(name) => Place::Environment(name.clone()),
            Self::Usual => {
                let credential = SecretRef::Credential(Self::DEFAULT_CREDENTIAL.to_owned());
                let given =
                    !matches!(credential.read(), Err(SecretFault::NoDirectory(_) | SecretFault::Missing(_)));
                Place::Secret(if given { credential } else { SecretRef::File(Self::DEFAULT_FILE.into()) })
            }
        }
    }
}

enum Place {
    Secret(SecretRef),
    Environment(String),
}

impl StoreKey {
    /// A new one.
    pub fn generate() -> Result<Self, StoreKeyFault> {
        let mut bytes = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(bytes.as_mut()).map_err(|_| StoreKeyFault::Create {
            path: PathBuf::new(),
            source: std::io::Error::other("the operating system gave no random bytes"),
        })?;
        Ok(Self(Secret::new(*bytes)))
    }

    /// From 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut bytes = Zeroizing::new([0; 32]);
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(Secret::new(*bytes)))
    }

    /// Writes it to a new file that only the owner of the state folder may read; never over one that is there.
    pub fn write(&self, path: &Path, state: &Path) -> Result<(), StoreKeyFault> {
        let fault = |source| StoreKeyFault::Create { path: path.to_owned(), source };
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(fault)?;
        let text = hexadecimal(self.0.expose());
        let written = file.write_all(text.as_bytes());
        let written = written.and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all());
        if let Err(source) = written.and_then(|()| give_to_owner(path, state)) {
            let _ = std::fs::remove_file(path);
            return Err(fault(source));
        }
        if let Some(folder) = path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault)?;
        }
        Ok(())
    }

    /// Tells this key from others without giving any of it away.
    pub(super) fn check(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        let tag = hmac::sign(&key, b"outhaul store key check");
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..8).unwrap_or_default())
    }

    pub(super) fn aead(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.0.expose()).ok().map(LessSafeKey::new)
    }
}

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("StoreKey(…)")
    }
}

fn hexadecimal(bytes: &[u8]) -> Zeroizing<String> {
    // The room is taken at once, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

/// Root enrols, the service's user runs.
fn give_to_owner(path: &Path, state: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let (owner, file) = (state.metadata()?, path.metadata()?);
    if owner.uid() == file.uid() {
        return Ok(());
    }
    chown(path, Some(owner.uid()), Some(owner.gid()))
}

fn refuse_inside(place: &SecretRef, state: &Path) -> Result<(), StoreKeyFault> {
    let SecretRef::File(path) = place else { return Ok(()) };
    let whole = |path: &Path| match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // The file may be still to be made; its folder is there.
            let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
            folder.zip(path.file_name()).map_or_else(|| path.to_owned(), |(folder, name)| folder.join(name))
        }
        result => result.unwrap_or_else(|_| path.to_owned()),
    };
    if whole(path).starts_with(whole(state)) {
        return Err(StoreKeyFault::Inside(path.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let source = KeySource::At(SecretRef::File(folder.path().join("store.key")));
        assert!(matches!(source.read(&state), Err(StoreKeyFault::None { .. })));
        let made = source.read_or_make(&state).unwrap();
        assert_eq!(source.read_or_make(&state).unwrap().check(), made.check());
        assert_ne!(StoreKey::generate().unwrap().check(), made.check());
        assert_eq!(format!("{made:?}"), "StoreKey(…)");
    }

    #[test]
    fn a_key_beside_what_it_protects_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for inside in ["store.key", "further/../store.key"] {
            let source = KeySource::At(SecretRef::File(folder.path().join(inside)));
            assert!(matches!(source.read_or_make(folder.path()), Err(StoreKeyFault::Inside(_))), "{inside}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32), &"0".repeat(66)] {
            assert!(StoreKey::parse(text).is_none(), "{text}");
        }
        assert!(StoreKey::parse(&format!("{}\n", "aF".repeat(32))).is_some());
    }
}
