//! Content-Digest (RFC 9530, section 2), with its two algorithms that are not weak.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, Digest, SHA256, SHA512, digest};
use sfv::{BareItem, ListEntry};

use super::{SignatureFault, fields};

/// What a body must hash to: by each algorithm that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    sha256: Option<[u8; 32]>,
    sha512: Option<[u8; 64]>,
}

/// A body on its way, hashed piece by piece.
#[derive(Clone)]
pub struct Hashing {
    sha256: Option<Context>,
    sha512: Option<Context>,
}

impl Digests {
    /// Of no bytes at all: what a request without Content-Digest must bring.
    pub fn of_nothing() -> Self {
        Self { sha256: bytes(&digest(&SHA256, b"")), sha512: None }
    }

    /// From the field's value. Every algorithm that is named counts; one that is not known could be a wrong one.
    pub fn read(value: &[u8]) -> Result<Self, SignatureFault> {
        let read = fields::read(value, "Content-Digest", MAX_FIELD)?;
        let mut digests = Self { sha256: None, sha512: None };
        for (name, entry) in &read {
            let ListEntry::Item(item) = entry else { return Err(SignatureFault::Digest) };
            let BareItem::ByteSequence(value) = &item.bare_item else { return Err(SignatureFault::Digest) };
            let fault = |_| SignatureFault::Digest;
            match name.as_str() {
                _ if !item.params.is_empty() => return Err(SignatureFault::Digest),
                "sha-256" => digests.sha256 = Some(value.as_slice().try_into().map_err(fault)?),
                "sha-512" => digests.sha512 = Some(value.as_slice().try_into().map_err(fault)?),
                _ => return Err(SignatureFault::Digest),
            }
        }
        if read.is_empty() { Err(SignatureFault::Digest) } else { Ok(digests) }
    }

    /// Begins to hash a body by these algorithms.
    pub fn begin(&self) -> Hashing {
        Hashing {
            sha256: self.sha256.map(|_| Context::new(&SHA256)),
            sha512: self.sha512.map(|_| Context::new(&SHA512)),
        }
    }

    /// Whether a body, hashed to its end, is the one. All algorithms must say so, and at least one is there.
    pub fn fit(&self, hashed: Hashing) -> bool {
        let Hashing { sha256, sha512 } = hashed;
        let sha256 = sha256.and_then(|context| bytes(&context.finish()));
        let sha512 = sha512.and_then(|context| bytes(&context.finish()));
        (sha256.is_some() || sha512.is_some()) && sha256 == self.sha256 && sha512 == self.sha512
    }

    /// The same of a body that is whole.
    pub fn fit_whole(&self, body: &[u8]) -> bool {
        let mut hashing = self.begin();
        hashing.update(body);
        self.fit(hashing)
    }
}

impl Hashing {
    /// For a body of our own, by SHA-256.
    pub fn own() -> Self {
        Self { sha256: Some(Context::new(&SHA256)), sha512: None }
    }

    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        for context in [&mut self.sha256, &mut self.sha512].into_iter().flatten() {
            context.update(piece);
        }
    }

    /// The field for a body of our own.
    pub fn into_field(self) -> String {
        let sha256 = self.sha256.map_or_else(|| digest(&SHA256, b""), Context::finish);
        format!("sha-256=:{}:", STANDARD.encode(sha256))
    }
}

impl std::fmt::Debug for Hashing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hashing")
    }
}

fn bytes<const N: usize>(digest: &Digest) -> Option<[u8; N]> {
    digest.as_ref().try_into().ok()
}

/// Both digests take some 150 bytes.
const MAX_FIELD: usize = 512;
