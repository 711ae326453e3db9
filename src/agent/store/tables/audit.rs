//! The audit's blocks of records, and the signed heads that stand for what is not there any more.

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::agent::store::{Store, StoreFault};
use crate::common::ids::AgentId;
use crate::identity::audit_head::{ChainHead, SignedHead};
use crate::identity::encoded::Encoded;
use crate::identity::keys::PublicKey;
use crate::sqlite::{signed, unsigned};

/// Some records, one after the other. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditBlock {
    /// The number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// The earliest time in it.
    pub first_time: i64,
    /// The latest time in it.
    pub last_time: i64,
    /// The records, one a line; the last line has no end.
    pub bytes: Vec<u8>,
    /// Eight bytes of the chain's head after each record.
    pub marks: Vec<u8>,
    /// The chain's head after the last.
    pub head: ChainHead,
}

/// What a signed head is kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// All records up to it were removed.
    Checkpoint,
    /// It was shown outside.
    Anchor,
}

/// A signed head, and who signed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptHead {
    /// The head.
    pub signed: SignedHead,
    /// The agent that signed it: an earlier one, where this one was enrolled anew.
    pub agent: AgentId,
    /// Its key.
    pub key: PublicKey,
}

/// How far the chain goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditEnd {
    /// The number of the last record; 0 if there never was one.
    pub number: u64,
    /// The head after it.
    pub head: ChainHead,
    /// Its time, or a later one.
    pub time: i64,
}

/// What all blocks take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditSize {
    /// Records.
    pub records: u64,
    /// Bytes that they take, compressed.
    pub bytes: u64,
    /// The earliest time; 0 if there is none.
    pub since: i64,
}

/// Where reading starts.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditFrom {
    /// Blocks with this record or later ones.
    pub number: u64,
    /// Only blocks that have a record of this time or later.
    pub since: Option<i64>,
    /// Only blocks that have a record before this time.
    pub until: Option<i64>,
}

impl Store {
    /// Writes blocks that `make` gives on the store's thread; on return they are on disk.
    pub async fn append_audit<R: Send + 'static>(
        &self,
        make: impl FnOnce() -> (Vec<AuditBlock>, R) + Send + 'static,
    ) -> Result<R, StoreFault> {
        self.call(move |session| {
            let (blocks, result) = make();
            let mut insert = session.connection().prepare_cached(
                "INSERT INTO audit_blocks (first, count, first_time, last_time, size, bytes, marks, head)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?;
            for block in &blocks {
                let packed = pack(&block.bytes);
                insert.execute(params![
                    signed(block.first),
                    signed(block.count),
                    block.first_time,
                    block.last_time,
                    signed(packed.len() as u64),
                    packed,
                    block.marks,
                    block.head.0
                ])?;
            }
            Ok(result)
        })
        .await
    }

    /// How far the chain goes: its last block, else what was removed last.
    pub async fn audit_end(&self) -> Result<AuditEnd, StoreFault> {
        self.call(|session| end(session.connection())).await
    }

    /// Some blocks in order, at least one if there is one, else as many as `bytes` has room for.
    pub async fn audit_blocks(&self, from: AuditFrom, bytes: usize) -> Result<Vec<AuditBlock>, StoreFault> {
        self.call(move |session| {
            let mut select = session.connection().prepare_cached(
                "SELECT first, count, first_time, last_time, bytes, marks, head FROM audit_blocks
                 WHERE first >= coalesce((SELECT max(first) FROM audit_blocks WHERE first <= ?1), ?1)
                   AND first + count > ?1 AND last_time >= ?2 AND first_time < ?3
                 ORDER BY first",
            )?;
            let (since, until) = (from.since.unwrap_or(i64::MIN), from.until.unwrap_or(i64::MAX));
            let mut rows = select.query(params![signed(from.number), since, until])?;
            let (mut blocks, mut taken) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let block = read(row)?;
                taken += block.bytes.len();
                if taken > bytes && !blocks.is_empty() {
                    break;
                }
                blocks.push(block);
            }
            Ok(blocks)
        })
        .await
    }

    /// The latest blocks that begin before this record, the latest first.
    pub async fn audit_blocks_before(
        &self,
        number: u64,
        since: Option<i64>,
        bytes: usize,
    ) -> Result<Vec<AuditBlock>, StoreFault> {
        self.call(move |session| {
            let mut select = session.connection().prepare_cached(
                "SELECT first, count, first_time, last_time, bytes, marks, head FROM audit_blocks
                 WHERE first < ?1 AND last_time >= ?2 ORDER BY first DESC",
            )?;
            let mut rows = select.query(params![signed(number), since.unwrap_or(i64::MIN)])?;
            let (mut blocks, mut taken) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let block = read(row)?;
                taken += block.bytes.len();
                if taken > bytes && !blocks.is_empty() {
                    break;
                }
                blocks.push(block);
            }
            Ok(blocks)
        })
        .await
    }

    /// How much there is.
    pub async fn audit_size(&self) -> Result<AuditSize, StoreFault> {
        self.call(|session| {
            Ok(session
                .connection()
                .prepare_cached(
                    "SELECT coalesce(sum(count), 0), coalesce(sum(size), 0), coalesce(min(first_time), 0)
                     FROM audit_blocks",
                )?
                .query_row([], |row| {
                    let (records, bytes) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
                    Ok(AuditSize { records, bytes, since: row.get(2)? })
                })?)
        })
        .await
    }

    /// A signed head.
    pub async fn audit_head(&self, kind: HeadKind) -> Result<Option<KeptHead>, StoreFault> {
        self.call(move |session| head(session.connection(), kind)).await
    }

    /// Keeps a signed head in the place of the one before.
    pub async fn keep_audit_head(&self, kind: HeadKind, head: KeptHead) -> Result<(), StoreFault> {
        self.call(move |session| keep(session.connection(), kind, &head)).await
    }

    /// The last of the oldest blocks that may go: all whose records are older than `before`, and as many as are over
    /// `max_bytes`. Never the newest block. Looks at so many blocks at most.
    pub async fn audit_to_remove(
        &self,
        before: i64,
        max_bytes: u64,
        blocks: u32,
    ) -> Result<Option<AuditEnd>, StoreFault> {
        self.call(move |session| {
            let connection = session.connection();
            let total: i64 = connection
                .prepare_cached("SELECT coalesce(sum(size), 0) FROM audit_blocks")?
                .query_row([], |row| row.get(0))?;
            let mut over = unsigned(total).saturating_sub(max_bytes);
            let mut select = connection.prepare_cached(
                "SELECT first, count, last_time, size, head FROM audit_blocks
                 WHERE first < (SELECT max(first) FROM audit_blocks) ORDER BY first LIMIT ?1",
            )?;
            let mut rows = select.query([blocks])?;
            let mut found = None;
            while let Some(row) = rows.next()? {
                let (time, size): (i64, i64) = (row.get(2)?, row.get(3)?);
                if time >= before && over == 0 {
                    break;
                }
                over = over.saturating_sub(unsigned(size));
                let number = unsigned(row.get::<_, i64>(0)?) + unsigned(row.get::<_, i64>(1)?) - 1;
                found = Some(AuditEnd { number, head: ChainHead(row.get(4)?), time });
            }
            Ok(found)
        })
        .await
    }

    /// Removes the blocks up to a record, and keeps the checkpoint that stands for them: both or neither.
    pub async fn remove_audit(&self, checkpoint: KeptHead) -> Result<(), StoreFault> {
        self.call(move |session| {
            let connection = session.connection();
            keep(connection, HeadKind::Checkpoint, &checkpoint)?;
            connection.execute(
                "DELETE FROM audit_blocks WHERE first + count - 1 <= ?1",
                [signed(checkpoint.signed.number)],
            )?;
            Ok(())
        })
        .await
    }
}

fn end(connection: &Connection) -> Result<AuditEnd, StoreFault> {
    let block = connection
        .query_row(
            "SELECT first + count - 1, head, last_time FROM audit_blocks ORDER BY first DESC LIMIT 1",
            [],
            |row| {
                let (number, head) = (unsigned(row.get(0)?), ChainHead(row.get(1)?));
                Ok(AuditEnd { number, head, time: row.get(2)? })
            },
        )
        .optional()?;
    if let Some(end) = block {
        return Ok(end);
    }
    let checkpoint = head(connection, HeadKind::Checkpoint)?.map(|kept| kept.signed);
    Ok(checkpoint.map_or_else(AuditEnd::default, |signed| AuditEnd {
        number: signed.number,
        head: signed.head,
        time: i64::try_from(signed.time).unwrap_or(i64::MAX),
    }))
}

fn read(row: &Row<'_>) -> Result<AuditBlock, StoreFault> {
    Ok(AuditBlock {
        first: unsigned(row.get(0)?),
        count: unsigned(row.get(1)?),
        first_time: row.get(2)?,
        last_time: row.get(3)?,
        bytes: unpack(row.get(4)?),
        marks: row.get(5)?,
        head: ChainHead(row.get(6)?),
    })
}

/// Compressed (LZ4) behind [`PACKED`], where that makes it smaller.
fn pack(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut packed = vec![PACKED];
    packed.extend_from_slice(&lz4_flex::block::compress_prepend_size(bytes));
    if packed.len() < bytes.len() { Cow::Owned(packed) } else { Cow::Borrowed(bytes) }
}

/// What does not unpack is given as it is: then no record of it is as it was written, and `audit verify` says so.
fn unpack(bytes: Vec<u8>) -> Vec<u8> {
    let unpacked = bytes.split_first().filter(|(mark, _)| **mark == PACKED).and_then(|(_, packed)| {
        let (length, rest) = lz4_flex::block::uncompressed_size(packed).ok()?;
        (length <= UNPACKED_AT_MOST).then(|| lz4_flex::block::decompress(rest, length).ok())?
    });
    unpacked.unwrap_or(bytes)
}

fn head(connection: &Connection, kind: HeadKind) -> Result<Option<KeptHead>, StoreFault> {
    let found = connection
        .prepare_cached(
            "SELECT number, head, time, agent, public_key, signature FROM audit_heads WHERE kind = ?1",
        )?
        .query_row([kind.as_str()], |row| {
            let signed = SignedHead {
                number: unsigned(row.get(0)?),
                head: ChainHead(row.get(1)?),
                time: unsigned(row.get(2)?),
                signature: Encoded(row.get(5)?),
            };
            let key: [u8; 32] = row.get(4)?;
            Ok((signed, AgentId::from_bytes(row.get(3)?), key))
        })
        .optional()?;
    let Some((signed, agent, key)) = found else { return Ok(None) };
    let key = PublicKey::from_slice(&key).map_err(|_| StoreFault::Corrupt("a key of the audit's"))?;
    Ok(Some(KeptHead { signed, agent, key }))
}

fn keep(connection: &Connection, kind: HeadKind, kept: &KeptHead) -> Result<(), StoreFault> {
    connection
        .prepare_cached(
            "INSERT INTO audit_heads (kind, number, head, time, agent, public_key, signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (kind) DO UPDATE SET
                 number = excluded.number, head = excluded.head, time = excluded.time, agent = excluded.agent,
                 public_key = excluded.public_key, signature = excluded.signature",
        )?
        .execute(params![
            kind.as_str(),
            signed(kept.signed.number),
            kept.signed.head.0,
            signed(kept.signed.time),
            kept.agent.as_bytes(),
            kept.key.as_bytes(),
            kept.signed.signature.0
        ])?;
    Ok(())
}

impl HeadKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Anchor => "anchor",
        }
    }
}

/// Begins what is compressed. A record begins with a brace.
const PACKED: u8 = 1;
/// A block is some 64 KB, or one record.
const UNPACKED_AT_MOST: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_smaller_and_comes_back() {
        let record =
            br#"{"n":1,"time":"2026-01-01T00:00:00.000Z","event":"call","method":"GET","path":"/rest"}"#;
        let block = record.repeat(100);
        let packed = pack(&block);
        assert!(packed.len() * 8 < block.len(), "{}", packed.len());
        assert_eq!(unpack(packed.into_owned()), block);
        for small in [&b""[..], b"{", b"{}\n{}"] {
            assert_eq!(pack(small), small);
            assert_eq!(unpack(small.to_vec()), small);
        }
    }

    #[test]
    fn what_is_damaged_is_given_as_it_is() {
        let packed = pack(&[b'x'; 1000]).into_owned();
        let mut longer = packed.clone();
        longer[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut other = packed.clone();
        other[1] ^= 8;
        for damaged in [longer, other, packed[..4].to_vec(), vec![PACKED]] {
            assert_eq!(unpack(damaged.clone()), damaged);
        }
    }
}
