//! One key of a caller's: a secret's hash, or a public key.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::CallersFault;
use super::exposure::Exposure;
use crate::agent::store::tables::callers::{Proof, StoredCallers, StoredKey};
use crate::common::ids::CallerName;
use crate::common::secret::Secret;
use crate::identity::api_key::{ApiKey, ApiKeyId, PREFIX};
use crate::identity::keys::PublicKey;
use crate::identity::signatures::KEY_PREFIX;

/// The keys of all callers, each one's oldest first.
pub(super) type Keys = BTreeMap<CallerName, Vec<Key>>;

#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: ApiKeyId,
    pub(super) proof: Proof,
    pub(super) created: u64,
    pub(super) expires: Option<u64>,
    /// Seconds since 1970; 0 where it was not used yet.
    pub(super) last_used: Arc<AtomicU64>,
    pub(super) exposure: Arc<Exposure>,
}

impl Key {
    /// A fresh secret, and the text to show once.
    pub(super) fn secret(now: u64) -> Result<(Self, Secret<String>), CallersFault> {
        let key = ApiKey::generate()?;
        Ok((Self::new(key.id().clone(), Proof::Secret(key.hash()), now), key.to_secret_text()))
    }

    /// Somebody's public key, under a fresh id: under another id nothing that was signed before counts.
    pub(super) fn public(
        public: PublicKey,
        callers: &Keys,
        now: u64,
    ) -> Result<(Self, String), CallersFault> {
        let has_it = |key: &Self| matches!(&key.proof, Proof::Signature(known) if *known == public);
        if let Some((name, _)) = callers.iter().find(|(_, keys)| keys.iter().any(has_it)) {
            return Err(CallersFault::Taken(name.clone()));
        }
        let key = Self::new(ApiKeyId::generate()?, Proof::Signature(public), now);
        let key_id = key.shown();
        Ok((key, key_id))
    }

    fn new(id: ApiKeyId, proof: Proof, created: u64) -> Self {
        Self { id, proof, created, expires: None, last_used: Arc::default(), exposure: Arc::default() }
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        self.expires.is_none_or(|end| end > now)
    }

    /// Whether this is its secret. A key that signs has none.
    pub(super) fn is_proved_by(&self, key: &ApiKey) -> bool {
        matches!(&self.proof, Proof::Secret(hash) if key.matches(hash))
    }

    /// What names it, without what proves it.
    pub(super) fn shown(&self) -> String {
        let prefix = match self.proof {
            Proof::Secret(_) => PREFIX,
            Proof::Signature(_) => KEY_PREFIX,
        };
        format!("{prefix}{}", self.id)
    }
}

/// From the store.
pub(super) fn taken(stored: StoredCallers) -> Keys {
    stored.into_iter().map(|(name, keys)| (name, keys.into_iter().map(Key::from).collect())).collect()
}

impl From<StoredKey> for Key {
    fn from(key: StoredKey) -> Self {
        let exposure = Arc::new(Exposure::stored(key.exposed));
        Self { expires: key.expires, exposure, ..Self::new(key.id, key.proof, key.created) }
    }
}

impl From<&Key> for StoredKey {
    fn from(key: &Key) -> Self {
        Self {
            id: key.id.clone(),
            proof: key.proof,
            created: key.created,
            expires: key.expires,
            exposed: key.exposure.is_exposed(),
        }
    }
}
