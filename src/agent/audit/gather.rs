//! Gathers records until they are written, and makes blocks of them. Pure: time and numbers are given.

use super::crowd::More;
use super::encode::{Stamps, Writer};
use super::record::{Ended, Event, Prepared, Record, Special};
use crate::agent::store::tables::audit::AuditBlock;
use crate::identity::audit_head::ChainHead;

/// Records that are not written yet, one a line.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The number of the next record.
    next: u64,
    bytes: Vec<u8>,
    lines: Vec<Line>,
    stamps: Stamps,
    /// The time of the last record.
    last: i64,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    end: usize,
    time: i64,
}

/// Records on their way to the store.
#[derive(Debug)]
pub(super) struct Batch {
    first: u64,
    bytes: Vec<u8>,
    lines: Vec<Line>,
}

impl Gathered {
    /// After so many records, the last of this time.
    pub(super) fn after(number: u64, last: i64) -> Self {
        Self { next: number + 1, bytes: Vec::new(), lines: Vec::new(), stamps: Stamps::default(), last }
    }

    /// Bytes that are not written yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn add(&mut self, time: i64, record: &Record<'_>) {
        self.line(time, record.event, |writer| {
            let _ = record.facts.write(writer);
            record.ended.write(writer);
            if let Some(detail) = record.detail {
                writer.text(",\"detail\":", detail);
            }
            if let Some(special) = record.special {
                special.write(writer);
            }
        });
    }

    pub(super) fn add_prepared(&mut self, time: i64, event: Event, facts: &Prepared, ended: &Ended) {
        self.line(time, event, |writer| {
            writer.raw(facts.bytes());
            ended.write(writer);
        });
    }

    fn line(&mut self, time: i64, event: Event, rest: impl FnOnce(&mut Writer<'_>)) {
        let mut writer = Writer::new(&mut self.bytes);
        writer.number("{\"n\":", self.next);
        writer.raw(b",\"time\":\"");
        writer.time(&mut self.stamps, time);
        writer.raw(b"\"");
        writer.plain(",\"event\":", event.as_str());
        rest(&mut writer);
        // Not by how records happened to overtake each other, but by a hand on the clock.
        let back = self.last.saturating_sub(time);
        if back > CLOCK_BACK {
            writer.number(",\"clock_back_ms\":", back.unsigned_abs());
        }
        writer.raw(b"}\n");
        self.next += 1;
        self.last = time;
        self.lines.push(Line { end: self.bytes.len(), time });
    }

    /// All there is; nothing is left.
    pub(super) fn take(&mut self) -> Batch {
        let first = self.next - self.lines.len() as u64;
        // As much is likely to come again.
        let bytes = Vec::with_capacity(self.bytes.len().min(LIKELY_BYTES));
        let lines = Vec::with_capacity(self.lines.len().min(LIKELY_LINES));
        Batch {
            first,
            bytes: std::mem::replace(&mut self.bytes, bytes),
            lines: std::mem::replace(&mut self.lines, lines),
        }
    }
}

impl Batch {
    /// The number of its last record.
    pub(super) fn last(&self) -> u64 {
        self.first + self.lines.len() as u64 - 1
    }

    /// The time of its last record.
    pub(super) fn last_time(&self) -> i64 {
        self.lines.last().map_or(0, |line| line.time)
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Its blocks, chained to the head before; and the head after.
    pub(super) fn blocks(&self, mut head: ChainHead) -> (Vec<AuditBlock>, ChainHead) {
        let mut blocks = Vec::new();
        let (mut from, mut first, mut lines) = (0, self.first, self.lines.as_slice());
        while !lines.is_empty() {
            let fits = |line: &&Line| line.end - from <= BLOCK_BYTES;
            let count = lines.iter().take(BLOCK_RECORDS).take_while(fits).count().max(1);
            let (these, rest) = lines.split_at(count);
            let start = from;
            let mut marks = Vec::with_capacity(count * MARK);
            for line in these {
                let record = self.bytes.get(from..line.end.saturating_sub(1)).unwrap_or_default();
                head = head.then(record);
                marks.extend_from_slice(mark(&head));
                from = line.end;
            }
            let times = these.iter().map(|line| line.time);
            blocks.push(AuditBlock {
                first,
                count: count as u64,
                first_time: times.clone().min().unwrap_or_default(),
                last_time: times.max().unwrap_or_default(),
                // The last line's end is the block's.
                bytes: self.bytes.get(start..from.saturating_sub(1)).unwrap_or_default().to_vec(),
                marks,
                head,
            });
            first += count as u64;
            lines = rest;
        }
        (blocks, head)
    }
}

/// The beginning of a record's head: enough to tell which record of a block is not as it was.
pub(super) fn mark(head: &ChainHead) -> &[u8] {
    head.0.first_chunk::<MARK>().map_or(&[], |mark| mark)
}

/// A record that says how much was lost.
pub(super) fn gap(count: u64, from: i64, to: i64) -> Record<'static> {
    Record { special: Some(Special::Lost { count, from, to }), ..Record::new(Event::Gap) }
}

/// A record that stands for refusals which have none of their own.
pub(super) fn more(more: &More) -> Record<'_> {
    let &More { event, ref caller, count, from, to } = more;
    Record { special: Some(Special::More { count, from, to }), ..Record::new(event).caller(caller) }
}

/// A record that says how much was removed.
pub(super) fn removed(number: u64, head: ChainHead) -> Record<'static> {
    Record { special: Some(Special::Removed { number, head }), ..Record::new(Event::Checkpoint) }
}

/// Bytes of a head that are kept for each record.
pub(super) const MARK: usize = 8;
/// So many records share a block at most.
const BLOCK_RECORDS: usize = 256;
/// And so many bytes, unless one record alone is longer.
const BLOCK_BYTES: usize = 64 * 1024;
/// Records written by several tasks may differ by less, in milliseconds.
const CLOCK_BACK: i64 = 1000;
const LIKELY_BYTES: usize = 1 << 20;
const LIKELY_LINES: usize = 4096;
