//! The nonces of signed calls, so that none passes twice, not even over a restart.

use rusqlite::{OptionalExtension as _, params};

use crate::agent::store::{Session, Store, StoreFault};
use crate::common::ids::CallerName;
use crate::sqlite::{signed, unsigned};

/// A nonce that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonceRow {
    /// By whom.
    pub caller: CallerName,
    /// Its hash.
    pub nonce: [u8; 16],
    /// When its signature is over, as it was signed. Seconds since 1970.
    pub expires: u64,
}

/// All that is known of nonces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownNonces {
    /// Signatures that were over by then don't count, whatever the clock says.
    pub floor: u64,
    /// Those not forgotten.
    pub rows: Vec<NonceRow>,
}

impl Store {
    /// All that is known.
    pub async fn nonces(&self) -> Result<KnownNonces, StoreFault> {
        self.call(|session| {
            let floor = session
                .connection()
                .query_row("SELECT expires FROM nonce_floor", [], |row| row.get(0))
                .optional()?;
            let mut known = KnownNonces { floor: floor.map_or(0, unsigned), rows: Vec::new() };
            let mut select = session.connection().prepare("SELECT caller, nonce, expires FROM nonces")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let caller: String = row.get(0)?;
                known.rows.push(NonceRow {
                    caller: caller.parse().map_err(|_| StoreFault::Corrupt("a caller's name"))?,
                    nonce: row.get(1)?,
                    expires: unsigned(row.get(2)?),
                });
            }
            Ok(known)
        })
        .await
    }

    /// A nonce was used; on return that is on disk. Those whose signatures were over before `forget` are forgotten.
    pub async fn use_nonce(&self, row: NonceRow, forget: Option<u64>) -> Result<(), StoreFault> {
        self.call(move |session| {
            if let Some(before) = forget {
                forget_nonces(session, before)?;
            }
            session
                .connection()
                .prepare_cached(
                    // One of the same hash may lie there still though it is over.
                    "INSERT INTO nonces (caller, nonce, expires) VALUES (?1, ?2, ?3)
                     ON CONFLICT (caller, nonce) DO UPDATE SET expires = max(expires, excluded.expires)",
                )?
                .execute(params![row.caller.as_str(), row.nonce, signed(row.expires)])?;
            Ok(())
        })
        .await
    }
}

/// What is forgotten raises the floor to itself, and no further: a clock that ran ahead does no lasting harm.
fn forget_nonces(session: &Session<'_>, before: u64) -> Result<(), StoreFault> {
    let connection = session.connection();
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(expires) FROM nonces WHERE expires < ?1")?
        .query_row([signed(before)], |row| row.get(0))?;
    let Some(last) = last else { return Ok(()) };
    connection
        .prepare_cached(
            "INSERT INTO nonce_floor (id, expires) VALUES (1, ?1)
             ON CONFLICT (id) DO UPDATE SET expires = max(expires, excluded.expires)",
        )?
        .execute([last])?;
    connection.prepare_cached("DELETE FROM nonces WHERE expires < ?1")?.execute([signed(before)])?;
    Ok(())
}
