//! The programs that may call this site, and what their keys are judged by.

use std::collections::BTreeMap;

use rusqlite::params;

use crate::agent::store::{Store, StoreFault};
use crate::common::ids::CallerName;
use crate::identity::api_key::{ApiKeyHash, ApiKeyId};
use crate::identity::keys::PublicKey;
use crate::sqlite::{signed, unsigned};

/// A key of a caller's.
#[derive(Debug, Clone)]
pub struct StoredKey {
    /// Its public part.
    pub id: ApiKeyId,
    /// What a call is judged by.
    pub proof: Proof,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it stops working.
    pub expires: Option<u64>,
    /// It was sent through the relay.
    pub exposed: bool,
}

/// What proves that a call is made with a key.
#[derive(Debug, Clone, Copy)]
pub enum Proof {
    /// Its secret, compared by its hash.
    Secret(ApiKeyHash),
    /// A signature that this key made.
    Signature(PublicKey),
}

/// All callers, each with its keys, the oldest first.
pub type StoredCallers = BTreeMap<CallerName, Vec<StoredKey>>;

impl Store {
    /// All callers.
    pub async fn callers(&self) -> Result<StoredCallers, StoreFault> {
        self.call(|session| {
            let corrupt = StoreFault::Corrupt("a caller");
            let mut callers = StoredCallers::new();
            let mut names = session.connection().prepare("SELECT name FROM callers")?;
            for name in names.query_map([], |row| row.get::<_, String>(0))? {
                callers.insert(name?.parse().map_err(|_| corrupt.clone())?, Vec::new());
            }
            let mut keys = session.connection().prepare(
                "SELECT caller, id, hash, public_key, created, expires, exposed FROM caller_keys
                 ORDER BY caller, place",
            )?;
            let mut rows = keys.query([])?;
            while let Some(row) = rows.next()? {
                let (caller, id): (String, String) = (row.get(0)?, row.get(1)?);
                let caller: CallerName = caller.parse().map_err(|_| corrupt.clone())?;
                let proof = match (row.get::<_, Option<_>>(2)?, row.get::<_, Option<[u8; 32]>>(3)?) {
                    (Some(hash), None) => Proof::Secret(ApiKeyHash::from_bytes(hash)),
                    (None, Some(key)) => {
                        Proof::Signature(PublicKey::from_slice(&key).map_err(|_| corrupt.clone())?)
                    }
                    _ => return Err(corrupt),
                };
                let key = StoredKey {
                    id: id.parse().map_err(|_| corrupt.clone())?,
                    proof,
                    created: unsigned(row.get(4)?),
                    expires: row.get::<_, Option<i64>>(5)?.map(unsigned),
                    exposed: row.get(6)?,
                };
                callers.get_mut(&caller).ok_or(corrupt.clone())?.push(key);
            }
            Ok(callers)
        })
        .await
    }

    /// Puts these keys in the place of all that the caller had; no keys remove it. Makes the caller if need be.
    pub async fn set_caller(
        &self,
        name: &CallerName,
        keys: Option<Vec<StoredKey>>,
    ) -> Result<(), StoreFault> {
        let name = name.clone();
        self.call(move |session| {
            let connection = session.connection();
            connection.execute("DELETE FROM callers WHERE name = ?1", [name.as_str()])?;
            let Some(keys) = keys else { return Ok(()) };
            connection.execute("INSERT INTO callers (name) VALUES (?1)", [name.as_str()])?;
            for (place, key) in keys.iter().enumerate() {
                let (hash, public) = match &key.proof {
                    Proof::Secret(hash) => (Some(hash.as_bytes()), None),
                    Proof::Signature(key) => (None, Some(key.as_bytes())),
                };
                connection.execute(
                    "INSERT INTO caller_keys (id, caller, hash, public_key, created, expires, place, exposed)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![
                        key.id.as_str(),
                        name.as_str(),
                        hash,
                        public,
                        signed(key.created),
                        key.expires.map(signed),
                        signed(place as u64),
                        key.exposed
                    ],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// Marks a key as sent through the relay. One that is there no longer needs no mark.
    pub async fn expose_caller_key(&self, id: &ApiKeyId) -> Result<(), StoreFault> {
        let id = id.clone();
        self.call(move |session| {
            let connection = session.connection();
            connection.execute("UPDATE caller_keys SET exposed = 1 WHERE id = ?1", [id.as_str()])?;
            Ok(())
        })
        .await
    }
}
