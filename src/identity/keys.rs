//! Ed25519 keys of agents and relays, and the file they lie in.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use super::encoded::{Encoded, EncodingFault};
use crate::common::secret::Secret;
use crate::net::inner_tls::Identity;

/// The public half of a key: what the other side pins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKey(Encoded<32>);

/// The SHA-256 of a public key: short enough for a token.
pub type Fingerprint = Encoded<32>;

/// A signature.
pub type Signature = Encoded<64>;

/// A key pair that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// What goes wrong with a key or its file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// No random bytes.
    #[error("no key could be made: the operating system gave no random bytes")]
    Random,
    /// A file operation failed.
    #[error("the key file {} can't be {verb}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Others may read the file.
    #[error(
        "the key file {} can be used by others than its owner (mode {mode:o}): \
         run `chmod 600` on it, and enrol anew if somebody may have copied it",
        path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no key.
    #[error("the key file {} holds no Ed25519 key in PKCS#8 PEM: restore it from a backup, or remove it and enrol anew", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
    },
}

impl SigningKey {
    /// A fresh key, and the document to store it with.
    pub fn generate() -> Result<(Self, Secret<Vec<u8>>), KeyFault> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyFault::Random)?;
        let key = Self::from_pkcs8(document.as_ref()).ok_or(KeyFault::Random)?;
        Ok((key, Secret::new(document.as_ref().to_vec())))
    }

    /// From a PKCS#8 document; `None` if it is none.
    pub fn from_pkcs8(document: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(document).ok()?;
        let public = PublicKey(Encoded::from_slice(pair.public_key().as_ref()).ok()?);
        Some(Self { pair, public })
    }

    /// Makes a key and writes it to a new file that only its owner may read. An existing file is never replaced.
    pub fn create(path: &Path) -> Result<Self, KeyFault> {
        let (key, document) = Self::generate()?;
        let fault = |verb| move |source| KeyFault::Io { path: path.to_owned(), verb, source };
        let text = Secret::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            STANDARD.encode(document.expose())
        ));
        let mut options = File::options();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(path).map_err(fault("created"))?;
        file.write_all(text.expose().as_bytes()).map_err(fault("written"))?;
        file.sync_all().map_err(fault("flushed to disk"))?;
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(fault("flushed to disk"))?;
        }
        Ok(key)
    }

    /// Reads a key file; refuses one that others may read.
    pub fn load(path: &Path) -> Result<Self, KeyFault> {
        let fault = |verb| move |source| KeyFault::Io { path: path.to_owned(), verb, source };
        let unreadable = || KeyFault::Unreadable { path: path.to_owned() };
        let file = File::open(path).map_err(fault("opened"))?;
        let meta = file.metadata().map_err(fault("read"))?;
        let mode = meta.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFault::Exposed { path: path.to_owned(), mode });
        }
        // A key in PEM takes about 160 bytes; a file without end must not fill the memory. The room is taken at
        // once, so that no copy of the key is left behind by growing.
        let mut text = Vec::with_capacity(MAX_FILE + 1);
        let read = file.take(MAX_FILE as u64).read_to_end(&mut text);
        let text = Secret::new(text);
        read.map_err(fault("read"))?;
        let document = PrivatePkcs8KeyDer::from_pem_slice(text.expose()).map_err(|_| unreadable())?;
        Self::from_pkcs8(document.secret_pkcs8_der()).ok_or_else(unreadable)
    }

    /// Reads the key file, or makes it when there is none.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFault> {
        match Self::load(path) {
            Err(KeyFault::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Self::create(path)
            }
            other => other,
        }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        // An Ed25519 signature is 64 bytes (RFC 8032, section 5.1.6).
        bytes.copy_from_slice(self.pair.sign(message).as_ref());
        Encoded(bytes)
    }
}

/// What stands before the key itself (RFC 8410, section 4).
const SPKI: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Points of small order, in every encoding of y: for such a key anybody can make a signature (RFC 7748, section 7).
const SMALL_ORDER: [[u8; 32]; 7] = [
    y(0, 0, 0),
    y(1, 0, 0),
    y(0xec, 0xff, 0x7f),
    y(0xed, 0xff, 0x7f),
    y(0xee, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

const fn y(first: u8, between: u8, last: u8) -> [u8; 32] {
    [
        first, between, between, between, between, between, between, between, between, between, between,
        between, between, between, between, between, between, between, between, between, between, between,
        between, between, between, between, between, between, between, between, between, last,
    ]
}

/// No key file is longer.
const MAX_FILE: usize = 4096;

/// In a TLS handshake it signs what no proof of ours can be: 64 spaces and a context come first (RFC 8446, section
/// 4.4.3), while our own signatures are over 32 bytes.
impl Identity for SigningKey {
    fn public(&self) -> [u8; 32] {
        *self.public.as_bytes()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        Self::sign(self, message).0
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey(public {})", self.public)
    }
}

impl PublicKey {
    /// From its 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, EncodingFault> {
        Encoded::from_slice(bytes).map(Self)
    }

    /// From the text of a file: SPKI in PEM (RFC 8410), or the 32 bytes in base64. None where it is neither, or a key
    /// under which signatures prove nothing.
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes: [u8; 32] = if text.starts_with("-----BEGIN") {
            let document = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).ok()?;
            document.as_ref().strip_prefix(SPKI)?.try_into().ok()?
        } else if text.len() <= 44 {
            let text = text.trim_end_matches('=');
            let read = STANDARD_NO_PAD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text));
            read.ok()?.try_into().ok()?
        } else {
            return None;
        };
        let mut unsigned = bytes;
        if let Some(last) = unsigned.last_mut() {
            // The sign of x; for points of small order either is as bad.
            *last &= 0x7f;
        }
        (!SMALL_ORDER.contains(&unsigned)).then_some(Self(Encoded(bytes)))
    }

    /// As SPKI in PEM, which any tool reads.
    pub fn to_pem(self) -> String {
        let document = STANDARD.encode([SPKI, self.as_bytes()].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{document}\n-----END PUBLIC KEY-----\n")
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0.0
    }

    /// Whether this key made the signature.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0.0).verify(message, signature).is_ok()
    }

    /// Its SHA-256.
    pub fn fingerprint(&self) -> Fingerprint {
        Encoded::sha256(&[&self.0.0])
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.0)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = EncodingFault;
    fn from_str(text: &str) -> Result<Self, EncodingFault> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_file_reads_back_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        let made = SigningKey::load_or_create(&path).unwrap();
        let read = SigningKey::load_or_create(&path).unwrap();
        assert_eq!(made.public(), read.public());
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(matches!(SigningKey::create(&path), Err(KeyFault::Io { verb: "created", .. })));
        assert_eq!(SigningKey::load(&path).unwrap().public(), made.public());
        assert!(made.public().verifies(b"x", &read.sign(b"x").0));
        assert!(!made.public().verifies(b"y", &read.sign(b"x").0));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        SigningKey::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o601] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let fault = SigningKey::load(&path).unwrap_err().to_string();
            assert!(fault.contains("chmod 600") && fault.contains(&format!("{mode:o}")), "{fault}");
        }
    }

    #[test]
    fn rubbish_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.key");
        for rubbish in ["", "rubbish", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            std::fs::write(&path, rubbish).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(SigningKey::load(&path), Err(KeyFault::Unreadable { .. })), "{rubbish}");
        }
    }

    #[test]
    fn debug_shows_only_the_public_half() {
        let (key, document) = SigningKey::generate().unwrap();
        let shown = format!("{key:?} {document:?}");
        assert!(shown.contains(&key.public().to_string()), "{shown}");
        assert!(shown.ends_with("Secret(…)"), "{shown}");
    }
}
