//! What lies in a secret column: sealed with AES-256-GCM under a data key, and bound to its place.
//!
//! A sealed value is version (4 bytes), nonce (12), ciphertext, tag (16). The additional data names the store, the
//! table, the column, the row and the version, so a value that was moved elsewhere does not open (NIST SP 800-38D
//! for the bounds: random nonces, at most 2^32 seals a key).

use std::collections::BTreeMap;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::common::secret::Secret;

/// A secret column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub column: &'static str,
}

/// The data keys, ready to seal and to open.
pub(super) struct Seals {
    store: Uuid,
    keys: BTreeMap<u32, LessSafeKey>,
    newest: u32,
}

/// A value that does not open, or can't be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// Changed, or moved here from elsewhere.
    #[error("does not open: it was changed, or belongs elsewhere")]
    Broken,
    /// Sealed with a key that this store does not have.
    #[error("is sealed with data key {0}, which is not in store.keys")]
    NoKey(u32),
    /// No random bytes, or too long.
    #[error("can't be sealed")]
    Seal,
}

impl Seals {
    /// From raw keys. The one with the highest version seals.
    pub(super) fn new(store: Uuid, keys: &BTreeMap<u32, Zeroizing<[u8; 32]>>) -> Option<Self> {
        let aead = |(version, key): (&u32, &Zeroizing<[u8; 32]>)| {
            Some((*version, LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?)))
        };
        let newest = *keys.keys().next_back()?;
        Some(Self { store, keys: keys.iter().map(aead).collect::<Option<_>>()?, newest })
    }

    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    pub(super) fn seal(&self, place: Place, row: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealFault> {
        let key = self.keys.get(&self.newest).ok_or(SealFault::NoKey(self.newest))?;
        let mut sealed = self.newest.to_be_bytes().to_vec();
        let aad = self.additional(place, row, self.newest);
        sealed.extend(encrypt(key, &aad, plain).ok_or(SealFault::Seal)?);
        Ok(sealed)
    }

    pub(super) fn open(&self, place: Place, row: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealFault> {
        let version = version(sealed).ok_or(SealFault::Broken)?;
        let key = self.keys.get(&version).ok_or(SealFault::NoKey(version))?;
        let rest = sealed.get(VERSION_LEN..).unwrap_or_default();
        decrypt(key, &self.additional(place, row, version), rest).ok_or(SealFault::Broken)
    }

    fn additional(&self, place: Place, row: &[u8], version: u32) -> Vec<u8> {
        let mut aad = self.store.as_bytes().to_vec();
        // Each part with its length before it: no two places give the same bytes.
        for part in [place.table.as_bytes(), place.column.as_bytes(), row, &version.to_be_bytes()] {
            aad.extend((part.len() as u64).to_be_bytes());
            aad.extend(part);
        }
        aad
    }
}

/// Which data key a value is sealed with.
pub(super) fn version(sealed: &[u8]) -> Option<u32> {
    sealed.first_chunk::<VERSION_LEN>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Nonce, ciphertext and tag.
pub(super) fn encrypt(key: &LessSafeKey, aad: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
    sealed.extend(nonce);
    sealed.extend(plain);
    let (_, body) = sealed.split_at_mut(NONCE_LEN);
    let tag =
        key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body).ok()?;
    sealed.extend(tag.as_ref());
    Some(sealed)
}

/// What [`encrypt`] was given.
pub(super) fn decrypt(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut opened = Zeroizing::new(body.to_vec());
    let plain = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut opened).ok()?;
    Some(Secret::new(plain.to_vec()))
}

const VERSION_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Place = Place { table: "mappings", column: "token" };

    fn seals(store: u128, versions: &[(u32, u8)]) -> Seals {
        let keys = versions.iter().map(|(version, byte)| (*version, Zeroizing::new([*byte; 32]))).collect();
        Seals::new(Uuid::from_u128(store), &keys).unwrap()
    }

    #[test]
    fn a_value_opens_in_its_place_only() {
        let seals = seals(1, &[(1, 7)]);
        let sealed = seals.seal(TOKEN, b"alice", b"secret").unwrap();
        assert_eq!(sealed.len(), 4 + 12 + 6 + 16);
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(seals.open(TOKEN, b"alice", &sealed).unwrap().expose(), b"secret");
        let column = Place { column: "refresh", ..TOKEN };
        let table = Place { table: "links", ..TOKEN };
        // A row and a column that give the same bytes when written one after the other.
        let shifted = Place { table: "mapping", column: "stoken" };
        for (place, row) in [(TOKEN, &b"bob"[..]), (column, b"alice"), (table, b"alice"), (shifted, b"alice")]
        {
            assert_eq!(seals.open(place, row, &sealed).unwrap_err(), SealFault::Broken, "{place:?}");
        }
        let other = self::seals(2, &[(1, 7)]);
        assert!(other.open(TOKEN, b"alice", &sealed).is_err(), "another store");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seals.open(TOKEN, b"alice", &changed).is_err(), "byte {at}");
            assert!(seals.open(TOKEN, b"alice", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_newer_key_seals_and_the_older_still_opens() {
        let sealed = seals(1, &[(1, 7)]).seal(TOKEN, b"a", b"x").unwrap();
        let both = seals(1, &[(1, 7), (2, 8)]);
        assert_eq!(both.open(TOKEN, b"a", &sealed).unwrap().expose(), b"x");
        let newer = both.seal(TOKEN, b"a", b"x").unwrap();
        assert_eq!((version(&sealed), version(&newer)), (Some(1), Some(2)));
        assert_eq!(seals(1, &[(2, 8)]).open(TOKEN, b"a", &sealed).unwrap_err(), SealFault::NoKey(1));
    }
}
