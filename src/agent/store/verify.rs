//! `store verify`: is the file whole, and does every secret open?

use serde::{Deserialize, Serialize};

use super::open::leave_log;
use super::sealed::SEALED;
use super::session::Session;
use super::{Store, StoreFault};

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The store's id.
    pub store: String,
    /// How many secrets were opened.
    pub secrets: u64,
    /// The data keys in use, by version, and how often each has sealed.
    pub data_keys: Vec<(u32, u64)>,
    /// What is wrong; empty if all is well.
    pub broken: Vec<String>,
}

impl Store {
    /// Reads the whole file, which takes some seconds for each gigabyte; others wait.
    pub async fn verify(&self) -> Result<Verified, StoreFault> {
        let (store, versions) = {
            let keys = self.keys();
            (keys.0.store.to_string(), keys.0.data.keys().copied().collect::<Vec<_>>())
        };
        let mut verified = self.call(look).await?;
        verified.store = store;
        verified.data_keys.retain(|(version, _)| versions.contains(version));
        Ok(verified)
    }
}

fn look(session: &Session<'_>) -> Result<Verified, StoreFault> {
    let mut verified = Verified::default();
    // Every page's authenticity, then the structure, then what refers to what.
    for (pragma, good) in
        [("cipher_integrity_check", None), ("integrity_check", Some("ok")), ("foreign_key_check", None)]
    {
        let mut statement = session.connection().prepare(&format!("PRAGMA {pragma}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            if good != Some(text.as_str()) && verified.broken.len() < MAX_BROKEN {
                verified.broken.push(format!("{pragma}: {text}"));
            }
        }
    }
    if !verified.broken.is_empty() {
        leave_log(session.connection(), true)?;
    }
    for column in SEALED {
        let (count, broken) = column.verify(session)?;
        verified.secrets += count;
        verified.broken.extend(broken);
    }
    let mut statement =
        session.connection().prepare("SELECT version, seals FROM data_keys ORDER BY version")?;
    verified.data_keys = statement
        .query_map([], |row| Ok((row.get(0)?, crate::sqlite::unsigned(row.get(1)?))))?
        .collect::<Result<_, _>>()?;
    Ok(verified)
}

const MAX_BROKEN: usize = 20;
