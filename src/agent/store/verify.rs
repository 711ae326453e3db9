//! `store verify`: is the file whole, and does every secret open?

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::copy::Part;
use super::open::{connect, leave_log};
use super::sealed::SEALED;
use super::session::Session;
use super::{BackupFault, Store, StoreFault};

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
    /// Reads the whole file, on a copy of it, which takes some seconds and as much room for each gigabyte; calls go on
    /// meanwhile.
    pub async fn verify(&self) -> Result<Verified, BackupFault> {
        let (store, versions) = {
            let keys = self.keys();
            (keys.0.store.to_string(), keys.0.data.keys().copied().collect::<Vec<_>>())
        };
        let part = Part::new(&self.0.folder.file("verify"));
        let into = part.connect(&self.keys().0)?;
        let seals = Arc::clone(&self.0.seals);
        let copied = self.0.worker.copy(into, move || seals.load_full()).await.map_err(StoreFault::from);
        let seals = match copied {
            Ok(seals) => seals,
            // A page that can't be read.
            Err(StoreFault::Damaged(what)) => {
                self.leave_as_it_is().await?;
                return Ok(Verified { store, broken: vec![what], ..Verified::default() });
            }
            Err(fault) => return Err(fault.into()),
        };
        let key = self.keys().0.file.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let connection = connect(part.path(), &key, false)?;
            look(&Session::new(&connection, &seals))
        });
        let mut verified = looked.await.map_err(|_| StoreFault::Closed)??;
        if !verified.broken.is_empty() {
            self.leave_as_it_is().await?;
        }
        verified.store = store;
        verified.data_keys.retain(|(version, _)| versions.contains(version));
        Ok(verified)
    }

    /// What is damaged is left with its log.
    async fn leave_as_it_is(&self) -> Result<(), StoreFault> {
        self.0.worker.alone(|connection| leave_log(connection, true)).await.map_err(StoreFault::from)?
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
