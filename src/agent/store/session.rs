//! What a job on the store's thread works with: the connection, and the seals of the secret columns.

use std::cell::Cell;

use rusqlite::Connection;

use super::StoreFault;
use super::seal::{Place, SealFault, Seals};
use crate::common::secret::Secret;

/// One job's view of the store.
pub struct Session<'a> {
    connection: &'a Connection,
    seals: &'a Seals,
    sealed: Cell<u32>,
}

impl<'a> Session<'a> {
    pub(super) fn new(connection: &'a Connection, seals: &'a Seals) -> Self {
        Self { connection, seals, sealed: Cell::new(0) }
    }

    /// The database.
    pub fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// Seals a secret for its place. `row` names the row for good ([`row_id`]).
    pub fn seal(&self, place: Place, row: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreFault> {
        self.sealed.set(self.sealed.get().saturating_add(1));
        self.seals.seal(place, row, plain).map_err(|fault| at(place, fault))
    }

    /// Opens what lies in a place.
    pub fn open(&self, place: Place, row: &[u8], sealed: &[u8]) -> Result<Secret<Vec<u8>>, StoreFault> {
        self.seals.open(place, row, sealed).map_err(|fault| at(place, fault))
    }

    /// Adds to the count of seals that the data key has made.
    pub(super) fn count(&self) -> Result<(), StoreFault> {
        if self.sealed.get() > 0 {
            self.connection
                .prepare_cached(
                    "INSERT INTO data_keys (version, seals) VALUES (?1, ?2)
                     ON CONFLICT (version) DO UPDATE SET seals = seals + excluded.seals",
                )?
                .execute((self.seals.newest(), self.sealed.get()))?;
        }
        Ok(())
    }
}

/// The name of a row in the additional data of a seal: the columns of its primary key, in order.
pub fn row_id(parts: &[&[u8]]) -> Vec<u8> {
    let mut id = Vec::new();
    for part in parts {
        id.extend((part.len() as u64).to_be_bytes());
        id.extend(*part);
    }
    id
}

pub(super) fn at(place: Place, fault: SealFault) -> StoreFault {
    StoreFault::Seal { table: place.table, column: place.column, fault }
}
