//! Caller keys: `ohk_{id}_{secret}`, shown once, stored as a hash.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::encoded::{Encoded, RandomFault};
use crate::common::secret::Secret;

/// How every key begins.
pub const PREFIX: &str = "ohk_";

const ID_LENGTH: usize = 12;
/// Without the letters that people mix up (i, l, o) and without digits that look like letters (0, 1).
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// The public part of a key: names it in lists and logs, and finds its hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiKeyId(Box<str>);

/// What is stored of a key. A plain hash is enough: the secret has 256 random bits.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApiKeyHash(Encoded<32>);

/// A key as its caller holds it.
#[derive(Clone)]
pub struct ApiKey {
    id: ApiKeyId,
    secret: Secret<[u8; 32]>,
}

/// A text that is no caller key. Says no more, because the text may be almost one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a caller key: one looks like ohk_{{id}}_{{secret}}")]
pub struct ApiKeyFault;

impl ApiKey {
    /// A fresh key.
    pub fn generate() -> Result<Self, RandomFault> {
        let id = ApiKeyId::generate()?;
        let secret = Secret::new(Encoded::<32>::random()?.0);
        Ok(Self { id, secret })
    }

    /// Its public part.
    pub fn id(&self) -> &ApiKeyId {
        &self.id
    }

    /// What to store.
    pub fn hash(&self) -> ApiKeyHash {
        let parts: [&[u8]; 3] = [b"outhaul caller key v1", self.id.0.as_bytes(), self.secret.expose()];
        ApiKeyHash(Encoded::sha256(&parts))
    }

    /// Whether this is the key whose hash was stored. Takes the same time whatever differs.
    pub fn matches(&self, stored: &ApiKeyHash) -> bool {
        self.hash().0.0.ct_eq(&stored.0.0).into()
    }

    /// The key as text, to be shown once.
    pub fn to_secret_text(&self) -> Secret<String> {
        Secret::new(format!("{PREFIX}{}_{}", self.id, Encoded(*self.secret.expose())))
    }
}

impl ApiKeyHash {
    /// As it is stored.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0.0
    }

    /// As it was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Encoded(bytes))
    }
}

/// Whether the byte is in [`ALPHABET`].
fn is_letter(byte: u8) -> bool {
    matches!(byte, b'a'..=b'h' | b'j' | b'k' | b'm' | b'n' | b'p'..=b'z' | b'2'..=b'9')
}

impl FromStr for ApiKey {
    type Err = ApiKeyFault;
    fn from_str(text: &str) -> Result<Self, ApiKeyFault> {
        let rest = text.strip_prefix(PREFIX).ok_or(ApiKeyFault)?;
        let (id, secret) = rest.split_at_checked(ID_LENGTH).ok_or(ApiKeyFault)?;
        let secret = secret.strip_prefix('_').ok_or(ApiKeyFault)?;
        let Encoded(secret) = secret.parse().map_err(|_| ApiKeyFault)?;
        Ok(Self { id: id.parse()?, secret: Secret::new(secret) })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey({})", self.id)
    }
}

impl ApiKeyId {
    /// A fresh one.
    pub fn generate() -> Result<Self, RandomFault> {
        let mut id = String::with_capacity(ID_LENGTH);
        while id.len() < ID_LENGTH {
            // Bytes beyond the last whole run of the alphabet are thrown away, so that every letter is as likely.
            let Encoded([byte]) = Encoded::<1>::random()?;
            if usize::from(byte) < 256 / ALPHABET.len() * ALPHABET.len()
                && let Some(letter) = ALPHABET.get(usize::from(byte) % ALPHABET.len())
            {
                id.push(char::from(*letter));
            }
        }
        Ok(Self(id.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiKeyId {
    type Err = ApiKeyFault;
    fn from_str(text: &str) -> Result<Self, ApiKeyFault> {
        if text.len() == ID_LENGTH && text.bytes().all(is_letter) {
            Ok(Self(text.into()))
        } else {
            Err(ApiKeyFault)
        }
    }
}

impl TryFrom<String> for ApiKeyId {
    type Error = ApiKeyFault;
    fn try_from(text: String) -> Result<Self, ApiKeyFault> {
        text.parse()
    }
}

impl From<ApiKeyId> for String {
    fn from(id: ApiKeyId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for ApiKeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_reads_back_and_only_it_matches_its_hash() {
        let key = ApiKey::generate().unwrap();
        let text = key.to_secret_text();
        assert_eq!(text.expose().len(), 4 + 12 + 1 + 43);
        let read: ApiKey = text.expose().parse().unwrap();
        assert_eq!(read.id(), key.id());
        let stored = serde_json::to_string(&key.hash()).unwrap();
        let stored: ApiKeyHash = serde_json::from_str(&stored).unwrap();
        assert!(read.matches(&stored));
        assert!(!ApiKey::generate().unwrap().matches(&stored));
        let moved = ApiKey { id: ApiKey::generate().unwrap().id, secret: key.secret.clone() };
        assert!(!moved.matches(&stored), "a secret counts only under its own id");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let good = ApiKey::generate().unwrap().to_secret_text();
        let good = good.expose();
        for bad in [
            String::new(),
            "ohk_".to_owned(),
            good.to_uppercase(),
            format!(" {good}"),
            format!("{good}A"),
            good[..good.len() - 1].to_owned(),
            good.replacen("ohk_", "oht_", 1),
            "ohk_äääääääääääääääääääääää".to_owned(),
        ] {
            assert!(bad.parse::<ApiKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let key = ApiKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("ApiKey({})", key.id()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}") {
            let _ = text.parse::<ApiKey>();
            let _ = format!("ohk_{text}").parse::<ApiKey>();
        }
    }
}
