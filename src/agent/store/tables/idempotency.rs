//! Calls with an `Idempotency-Key`: which are under way, and what became of the others. Their keys are here as hashes.

use rusqlite::{OptionalExtension as _, Row, named_params, params};

use crate::agent::store::{Session, Store, StoreFault};
use crate::common::ids::{CallerName, RequestId, UpstreamName};
use crate::sqlite::{signed, unsigned};

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Whose key.
    pub caller: CallerName,
    /// For which application.
    pub upstream: UpstreamName,
    /// Its hash.
    pub key: [u8; 32],
    /// The call that it was used for first: a later one with the same key is another row.
    pub first: RequestId,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndRow {
    /// When, in milliseconds since 1970.
    pub ended: u64,
    /// How many bytes of its body were taken.
    pub body_length: u64,
    /// Whether these are all.
    pub body_whole: bool,
    /// Their hash.
    pub body_digest: [u8; 32],
    /// How it ended.
    pub state: KeyState,
    /// The application's status, where it answered.
    pub status: Option<u16>,
    /// What else is known.
    pub note: Option<String>,
    /// The answer's fields.
    pub fields: Vec<u8>,
    /// The answer's body.
    pub content: Vec<u8>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// With an answer that is kept.
    Answered,
    /// With an answer that is not.
    Gone,
    /// Nobody knows.
    Unknown,
}

/// A row without its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// Where to read on.
    pub at: (i64, i64),
    /// Which row.
    pub row: KeyRow,
    /// The hash of all but the body.
    pub head: [u8; 32],
    /// When it ended, in milliseconds since 1970.
    pub ended: u64,
    /// How many bytes of its body were taken.
    pub body_length: u64,
    /// Whether these are all.
    pub body_whole: bool,
    /// Their hash; none where the process ended before the call did.
    pub body_digest: Option<[u8; 32]>,
    /// The bytes of its answer.
    pub size: u64,
}

impl Store {
    /// A call is about to be sent. On return that is on disk.
    pub async fn begin_key(&self, row: KeyRow, head: [u8; 32]) -> Result<(), StoreFault> {
        // One that lies there already is of a call that was not made, or whose time is over.
        self.call(move |session| {
            session
                .connection()
                .prepare_cached(
                    "INSERT OR REPLACE INTO idempotency (caller, upstream, key, first_request, head)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    row.caller.as_str(),
                    row.upstream.as_str(),
                    row.key,
                    row.first.as_bytes(),
                    head
                ])?;
            Ok(())
        })
        .await
    }

    /// A call came to its end. On return that is on disk.
    pub async fn end_key(&self, row: KeyRow, end: EndRow) -> Result<(), StoreFault> {
        self.call(move |session| {
            let state = match end.state {
                KeyState::Answered => "answered",
                KeyState::Gone => "gone",
                KeyState::Unknown => "unknown",
            };
            let changed = session
                .connection()
                .prepare_cached(
                    "UPDATE idempotency SET ended = :ended, body_length = :body_length, body_whole = :body_whole,
                       body_digest = :body_digest, state = :state, status = :status, note = :note,
                       size = length(:fields) + length(:content), fields = :fields, content = :content
                     WHERE caller = :caller AND upstream = :upstream AND key = :key AND first_request = :first",
                )?
                .execute(named_params! {
                    ":ended": signed(end.ended),
                    ":body_length": signed(end.body_length),
                    ":body_whole": end.body_whole,
                    ":body_digest": end.body_digest,
                    ":state": state,
                    ":status": end.status,
                    ":note": end.note,
                    ":fields": end.fields,
                    ":content": end.content,
                    ":caller": row.caller.as_str(),
                    ":upstream": row.upstream.as_str(),
                    ":key": row.key,
                    ":first": row.first.as_bytes(),
                })?;
            if changed == 1 { Ok(()) } else { Err(StoreFault::Corrupt("the record of a call is gone")) }
        })
        .await
    }

    /// What became of a call; none while it is under way, or where there is no such row.
    pub async fn ended_key(&self, row: KeyRow) -> Result<Option<EndRow>, StoreFault> {
        self.call(move |session| {
            session
                .connection()
                .prepare_cached(
                    "SELECT ended, body_length, body_whole, body_digest, state, status, note, fields, content
                     FROM idempotency
                     WHERE caller = ?1 AND upstream = ?2 AND key = ?3 AND first_request = ?4 AND ended IS NOT NULL",
                )?
                .query_row(
                    params![row.caller.as_str(), row.upstream.as_str(), row.key, row.first.as_bytes()],
                    end,
                )
                .optional()
                .map_err(StoreFault::from)
        })
        .await
    }

    /// Removes these; a later call with one of these keys stays.
    pub async fn remove_keys(&self, rows: Vec<KeyRow>) -> Result<(), StoreFault> {
        self.call(move |session| {
            let mut delete = session.connection().prepare_cached(
                "DELETE FROM idempotency
                 WHERE caller = ?1 AND upstream = ?2 AND key = ?3 AND first_request = ?4",
            )?;
            for row in &rows {
                delete.execute(params![
                    row.caller.as_str(),
                    row.upstream.as_str(),
                    row.key,
                    row.first.as_bytes()
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// What the process before this one left under way came to an unknown end; says how many.
    pub async fn give_up_keys(&self, now: u64) -> Result<usize, StoreFault> {
        self.call(move |session| {
            let given_up = "UPDATE idempotency SET state = 'unknown', ended = ?1 WHERE state = 'in-flight'";
            Ok(session.connection().execute(given_up, [signed(now)])?)
        })
        .await
    }

    /// Some of those that ended, the first to end first, from behind this place on.
    pub async fn known_keys(&self, after: (i64, i64)) -> Result<Vec<KnownKey>, StoreFault> {
        self.call(move |session| known(session, after)).await
    }
}

fn known(session: &Session<'_>, after: (i64, i64)) -> Result<Vec<KnownKey>, StoreFault> {
    let mut select = session.connection().prepare_cached(
        "SELECT ended, rowid, caller, upstream, key, first_request, head, body_length, body_whole, body_digest, size
         FROM idempotency WHERE (ended, rowid) > (?1, ?2) ORDER BY ended, rowid LIMIT ?3",
    )?;
    let mut rows = select.query(params![after.0, after.1, PAGE])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (ended, rowid): (i64, i64) = (row.get(0)?, row.get(1)?);
        let name = |column| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        found.push(KnownKey {
            at: (ended, rowid),
            row: KeyRow {
                caller: name(2)?.parse().map_err(|_| StoreFault::Corrupt("a caller's name"))?,
                upstream: name(3)?.parse().map_err(|_| StoreFault::Corrupt("an application's name"))?,
                key: row.get(4)?,
                first: RequestId::from_bytes(row.get(5)?),
            },
            head: row.get(6)?,
            ended: unsigned(ended),
            body_length: unsigned(row.get(7)?),
            body_whole: row.get(8)?,
            body_digest: row.get(9)?,
            size: unsigned(row.get(10)?),
        });
    }
    Ok(found)
}

fn end(row: &Row<'_>) -> rusqlite::Result<EndRow> {
    let state = match row.get_ref(4)?.as_str()? {
        "answered" => KeyState::Answered,
        "gone" => KeyState::Gone,
        _ => KeyState::Unknown,
    };
    Ok(EndRow {
        ended: unsigned(row.get(0)?),
        body_length: unsigned(row.get(1)?),
        body_whole: row.get(2)?,
        body_digest: row.get::<_, Option<_>>(3)?.unwrap_or_default(),
        state,
        status: row.get(5)?,
        note: row.get(6)?,
        fields: row.get::<_, Option<_>>(7)?.unwrap_or_default(),
        content: row.get::<_, Option<_>>(8)?.unwrap_or_default(),
    })
}

/// How many rows are read at once: others wait for it.
const PAGE: i64 = 1000;
