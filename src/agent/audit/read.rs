//! Reading the audit: pages of records for people and exports, and the look at the whole chain. Works on the store,
//! so with a running agent and without one; each step is short, so that calls don't wait for it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::record::Event;
use super::verify::{Anchor, Verified, Verifier, beginning};
use crate::agent::store::tables::audit::{AuditBlock, AuditFrom, HeadKind};
use crate::agent::store::{Store, StoreFault};
use crate::identity::audit_head::ChainHead;

/// Which records. What is absent takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Of this time or later: milliseconds since 1970.
    pub since: Option<i64>,
    /// Before this time.
    pub until: Option<i64>,
    /// Of this caller.
    pub caller: Option<String>,
    /// For this person: `provider:subject`.
    pub act_as: Option<String>,
    /// As this account: its user name, or its key.
    pub user: Option<String>,
    /// Of these kinds, by their names.
    pub event: Option<String>,
    /// The newest first, so many at most; else the oldest first, all.
    pub newest: Option<usize>,
    /// Where a page before ended.
    pub next: Option<u64>,
}

/// Some records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The records, byte for byte.
    pub records: Vec<String>,
    /// Where the next page begins; absent after the last one.
    pub next: Option<u64>,
    /// The chain's head before the first record of the page, where the page has every record.
    pub before: Option<ChainHead>,
}

/// A record as far as filters look at it.
#[derive(Deserialize)]
struct Looked<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    caller: Option<Cow<'a, str>>,
    #[serde(borrow)]
    act_as: Option<Cow<'a, str>>,
    #[serde(borrow)]
    identity: Option<Cow<'a, str>>,
    #[serde(borrow)]
    jira_user: Option<Cow<'a, str>>,
}

impl Query {
    /// Whether every record of the time is asked for, so that the page is a piece of the chain.
    fn is_whole(&self) -> bool {
        let Self { until, caller, act_as, user, event, newest, .. } = self;
        until.is_none()
            && caller.is_none()
            && act_as.is_none()
            && user.is_none()
            && event.is_none()
            && newest.is_none()
    }

    fn takes(&self, line: &str) -> bool {
        let Ok(record) = serde_json::from_str::<Looked<'_>>(line) else {
            // One that can't be read is shown rather than hidden.
            return true;
        };
        let is = |wanted: &Option<String>, has: &Option<Cow<'_, str>>| {
            wanted.as_deref().is_none_or(|wanted| has.as_deref() == Some(wanted))
        };
        let user = self.user.as_deref().is_none_or(|user| {
            record.jira_user.as_deref() == Some(user)
                || record.identity.as_deref().and_then(|identity| identity.strip_prefix("user:"))
                    == Some(user)
        });
        let event = self.event.as_deref().is_none_or(|event| event == record.event);
        let in_time = || {
            let Some(time) = parse_time(&record.time) else { return true };
            self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
        };
        is(&self.caller, &record.caller) && is(&self.act_as, &record.act_as) && user && event && in_time()
    }

    /// What is wrong with it, for people.
    pub fn check(&self) -> Result<(), String> {
        self.event.as_deref().map_or(Ok(()), |event| event.parse::<Event>().map(|_| ()))?;
        match self.newest {
            Some(newest) if newest == 0 || newest > MOST_NEWEST => {
                Err(format!("a list has 1 to {MOST_NEWEST} records; `audit export` gives all"))
            }
            _ => Ok(()),
        }
    }
}

/// Milliseconds since 1970 of a time in RFC 3339.
pub fn parse_time(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// The next page of what is asked for.
pub async fn page(store: &Store, query: &Query) -> Result<Page, StoreFault> {
    match query.newest {
        Some(newest) => newest_page(store, query, newest).await,
        None => oldest_page(store, query).await,
    }
}

async fn newest_page(store: &Store, query: &Query, newest: usize) -> Result<Page, StoreFault> {
    let mut page = Page::default();
    let before = query.next.unwrap_or(u64::MAX);
    let blocks = store.audit_blocks_before(before, query.since, PAGE_BYTES).await?;
    for block in &blocks {
        page.next = Some(block.first);
        let found: Vec<&str> = lines(block).filter(|line| query.takes(line)).collect();
        page.records.extend(found.into_iter().rev().take(newest - page.records.len()).map(str::to_owned));
        if page.records.len() >= newest {
            page.next = None;
            break;
        }
    }
    Ok(page)
}

/// From the first record of the time on, in the chain's order: a clock that was set back hides nothing.
async fn oldest_page(store: &Store, query: &Query) -> Result<Page, StoreFault> {
    let mut page = Page::default();
    let number = match (query.next, query.since) {
        (Some(next), _) => next,
        (None, None) => 0,
        (None, since) => {
            let from = AuditFrom { since, ..AuditFrom::default() };
            let Some(block) = store.audit_blocks(from, 1).await?.into_iter().next() else { return Ok(page) };
            block.first
        }
    };
    let blocks = store.audit_blocks(AuditFrom { number, ..AuditFrom::default() }, PAGE_BYTES).await?;
    let Some(first) = blocks.first() else { return Ok(page) };
    let mut head = head_before(store, first.first).await?;
    let mut open = query.next.is_some();
    let (whole, later) = (query.is_whole(), Query { since: None, ..query.clone() });
    for line in blocks.iter().flat_map(lines) {
        open = open || !query.is_before(line);
        if open && (whole || later.takes(line)) {
            if whole && page.records.is_empty() {
                page.before = Some(head);
            }
            page.records.push(line.to_owned());
        }
        if page.records.is_empty() {
            head = head.then(line.as_bytes());
        }
    }
    page.next = blocks.last().map(|block| block.first + block.count);
    Ok(page)
}

impl Query {
    /// Whether a record is before the time asked for.
    fn is_before(&self, line: &str) -> bool {
        let time = beginning(line.as_bytes()).and_then(|(_, time)| parse_time(time));
        self.since.zip(time).is_some_and(|(since, time)| time < since)
    }
}

async fn head_before(store: &Store, first: u64) -> Result<ChainHead, StoreFault> {
    if let Some(block) = store.audit_blocks_before(first, None, 1).await?.into_iter().next() {
        return Ok(block.head);
    }
    let checkpoint = store.audit_head(HeadKind::Checkpoint).await?;
    Ok(checkpoint.map(|kept| kept.signed.head).unwrap_or_default())
}

/// A look at the whole chain, on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Look {
    /// What has been seen.
    pub verifier: Verifier,
    /// The checkpoint that it began with.
    checkpoint: Option<u64>,
    /// It has come to its end, or to something broken.
    pub done: bool,
    /// How often it began anew, because old records were removed meanwhile.
    again: u32,
}

/// Begins a look at the whole chain: it is compared with the checkpoint, with the head that was shown outside last,
/// and with these anchors.
pub async fn look(store: &Store, mut anchors: Vec<Anchor>) -> Result<Look, StoreFault> {
    if let Some(kept) = store.audit_head(HeadKind::Anchor).await? {
        let (number, head) = (kept.signed.number, kept.signed.head);
        anchors.push(Anchor { number, head, from: "the store's own anchor".to_owned() });
    }
    let checkpoint = store.audit_head(HeadKind::Checkpoint).await?;
    let verifier = Verifier::new(checkpoint.as_ref(), anchors);
    Ok(Look { verifier, checkpoint: checkpoint.map(|kept| kept.signed.number), done: false, again: 0 })
}

/// Goes on with it for some megabytes.
pub async fn look_on(store: &Store, look: Look, anchors: Vec<Anchor>) -> Result<Look, StoreFault> {
    let Look { mut verifier, checkpoint, again, .. } = look;
    let mut read = 0;
    while read < STEP_BYTES && !verifier.is_broken() {
        let from = AuditFrom { number: verifier.next(), ..AuditFrom::default() };
        let blocks = store.audit_blocks(from, PAGE_BYTES).await?;
        if blocks.is_empty() {
            return Ok(Look { verifier, checkpoint, done: true, again });
        }
        read += blocks.iter().map(|block| block.bytes.len()).sum::<usize>();
        // Hashing some megabytes takes longer than a task may.
        let joined = tokio::task::spawn_blocking(move || {
            for block in &blocks {
                verifier.block(block);
            }
            verifier
        });
        verifier = joined.await.map_err(|_| StoreFault::Closed)?;
    }
    let done = verifier.is_broken();
    if done && again < TRIES {
        let now = store.audit_head(HeadKind::Checkpoint).await?.map(|kept| kept.signed.number);
        if now != checkpoint {
            // Old records were removed since it began.
            return Ok(Look { again: again + 1, ..self::look(store, anchors).await? });
        }
    }
    Ok(Look { verifier, checkpoint, done, again })
}

/// The same at once.
pub async fn verify(store: &Store, anchors: Vec<Anchor>) -> Result<Verified, StoreFault> {
    let mut look = look(store, anchors.clone()).await?;
    while !look.done {
        look = look_on(store, look, anchors.clone()).await?;
    }
    Ok(look.verifier.finish())
}

fn lines(block: &AuditBlock) -> impl Iterator<Item = &str> {
    // What is no text is no record, and `verify` says so.
    std::str::from_utf8(&block.bytes).unwrap_or_default().lines()
}

/// A page reads so many bytes.
const PAGE_BYTES: usize = 2 << 20;
/// A list has so many records at most.
const MOST_NEWEST: usize = 10_000;
/// A step of a look reads so many bytes.
const STEP_BYTES: usize = 64 << 20;
const TRIES: u32 = 3;
