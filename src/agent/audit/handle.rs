//! The handle that the rest of the agent records by.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::crowd::Crowd;
use super::encode::milliseconds;
use super::fault::AuditFault;
use super::gather::{Gathered, gap, more};
use super::record::{Ended, Event, Prepared, Record};
use super::settings::{Settings, WhenUnavailable};
use super::under_way::UnderWay;
use crate::agent::store::tables::audit::AuditEnd;
use crate::agent::store::{Store, StoreFault};
use crate::common::clock::Clock;
use crate::identity::audit_head::SignedHead;

/// Where records go. Cheap to clone.
#[derive(Clone)]
pub struct Audit(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) shared: Mutex<Shared>,
    /// Copies of what `shared` says, for a look without its lock.
    unavailable: AtomicBool,
    refuses_all: AtomicBool,
    /// There is something to write, within a while.
    pub(super) dirty: Notify,
    /// There is something to write now.
    pub(super) urgent: Notify,
}

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) gathered: Gathered,
    pub(super) crowd: Crowd,
    pub(super) waiting: Vec<oneshot::Sender<Result<(), AuditFault>>>,
    /// Bytes that the writer holds and could not write yet.
    pub(super) unwritten: usize,
    pub(super) failed: Option<AuditFault>,
    pub(super) lost: Option<Lost>,
    pub(super) written: AuditEnd,
    pub(super) anchor: Option<SignedHead>,
}

/// What could not be recorded: how much, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    pub(super) count: u64,
    from: i64,
    to: i64,
}

/// How the audit is, for `status` and `doctor`.
#[derive(Debug, Clone)]
pub struct AuditState {
    /// The number of the last record on disk.
    pub number: u64,
    /// Bytes of records that wait to be written.
    pub waiting_bytes: usize,
    /// Why none can be written now.
    pub failed: Option<AuditFault>,
    /// How many were lost since it failed.
    pub lost: u64,
    /// The head that was shown outside last.
    pub anchor: Option<SignedHead>,
}

impl Audit {
    /// Goes on after the last record in the store. Nothing is written until the writer runs
    /// ([`super::Writer::start`]).
    pub async fn open(store: Store, clock: Clock, settings: Settings) -> Result<Self, StoreFault> {
        let written = store.audit_end().await?;
        let shared = Shared {
            settings,
            gathered: Gathered::after(written.number, written.time),
            crowd: Crowd::default(),
            waiting: Vec::new(),
            unwritten: 0,
            failed: None,
            lost: None,
            written,
            anchor: None,
        };
        let audit = Self(Arc::new(Inner {
            store,
            clock,
            shared: Mutex::new(shared),
            unavailable: AtomicBool::new(false),
            refuses_all: AtomicBool::new(false),
            dirty: Notify::new(),
            urgent: Notify::new(),
        }));
        audit.configure(settings);
        Ok(audit)
    }

    /// The store that the records lie in.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Other settings, from now on.
    pub fn configure(&self, settings: Settings) {
        self.shared().settings = settings;
        let all = settings.when_unavailable == WhenUnavailable::Refuse;
        self.0.refuses_all.store(all, Ordering::Relaxed);
    }

    /// Whether a call may be made as far as the audit goes. To be asked before a safe call; an unsafe one has its
    /// [`Audit::intent`].
    pub fn check(&self, safe: bool) -> Result<(), AuditFault> {
        if !self.0.unavailable.load(Ordering::Relaxed)
            || (safe && !self.0.refuses_all.load(Ordering::Relaxed))
        {
            return Ok(());
        }
        self.shared().failed.clone().map_or(Ok(()), Err)
    }

    /// Follows a call: its result is recorded when what this gives is dropped.
    pub fn begin(&self, facts: Prepared) -> UnderWay {
        UnderWay::new(self.clone(), facts)
    }

    /// Records what must be on disk before it happens. Many that wait share one flush.
    pub async fn intent(&self, record: &Record<'_>) -> Result<(), AuditFault> {
        let now = self.now();
        self.durable(|gathered| gathered.add(now, record)).await
    }

    /// Records what has happened; on disk within a second. While none can be written, it is kept as long as there is
    /// room, then counted.
    pub fn note(&self, record: &Record<'_>) {
        let now = self.now();
        if self.admits(now, record.event, record.facts.caller.unwrap_or("")) {
            self.gather(now, |gathered| gathered.add(now, record));
        }
    }

    /// Whether it gets a record of its own: of refusals, a caller has so many in a minute.
    fn admits(&self, now: i64, event: Event, caller: &str) -> bool {
        if !matches!(event, Event::Refused | Event::LinkRefused) || caller.is_empty() {
            return true;
        }
        // What was counted before is told first.
        self.tell_crowd(Some(now));
        self.shared().crowd.admits(event, caller, now)
    }

    /// Records how many refusals had no record of their own in minutes that are over by then; or in all.
    pub(super) fn tell_crowd(&self, by: Option<i64>) {
        let over = self.shared().crowd.over(by);
        let now = self.now();
        for some in over {
            self.gather(now, |gathered| gathered.add(now, &more(&some)));
        }
    }

    /// How it is.
    pub fn state(&self) -> AuditState {
        let shared = self.shared();
        AuditState {
            number: shared.written.number,
            waiting_bytes: shared.gathered.len() + shared.unwritten,
            failed: shared.failed.clone(),
            lost: shared.lost.map_or(0, |lost| lost.count),
            anchor: shared.anchor,
        }
    }

    /// Why no record can be written now, if so.
    pub fn failure(&self) -> Option<AuditFault> {
        self.shared().failed.clone()
    }

    /// The head to show outside.
    pub fn anchor(&self) -> Option<SignedHead> {
        self.shared().anchor
    }

    /// Waits until all that was noted so far is on disk.
    pub async fn flush(&self) -> Result<(), AuditFault> {
        let waits = {
            let mut shared = self.shared();
            if let Some(fault) = &shared.failed {
                return Err(fault.clone());
            }
            let (sender, receiver) = oneshot::channel();
            shared.waiting.push(sender);
            receiver
        };
        self.wait(waits).await
    }

    pub(super) async fn intent_prepared(&self, facts: &Prepared) -> Result<(), AuditFault> {
        let now = self.now();
        self.durable(|gathered| gathered.add_prepared(now, Event::CallIntent, facts, &Ended::default())).await
    }

    pub(super) fn note_prepared(&self, event: Event, facts: &Prepared, ended: &Ended) {
        let now = self.now();
        if self.admits(now, event, facts.caller()) {
            self.gather(now, |gathered| gathered.add_prepared(now, event, facts, ended));
        }
    }

    async fn durable(&self, add: impl FnOnce(&mut Gathered)) -> Result<(), AuditFault> {
        let waits = {
            let mut shared = self.shared();
            if let Some(fault) = &shared.failed {
                return Err(fault.clone());
            }
            if shared.is_full() {
                return Err(AuditFault::Full);
            }
            add(&mut shared.gathered);
            let (sender, receiver) = oneshot::channel();
            shared.waiting.push(sender);
            receiver
        };
        self.wait(waits).await
    }

    async fn wait(&self, waits: oneshot::Receiver<Result<(), AuditFault>>) -> Result<(), AuditFault> {
        self.0.urgent.notify_one();
        match tokio::time::timeout(PATIENCE, waits).await {
            Ok(written) => written.map_err(|_| AuditFault::Closed)?,
            Err(_) => Err(AuditFault::TooSlow),
        }
    }

    fn gather(&self, now: i64, add: impl FnOnce(&mut Gathered)) {
        let mut shared = self.shared();
        if shared.is_full() {
            shared.lose(now);
            if shared.failed.is_none() {
                shared.failed = Some(AuditFault::Full);
                self.0.unavailable.store(true, Ordering::Relaxed);
                tracing::error!("records come faster than the audit can be written: some are lost");
            }
            return;
        }
        let empty = shared.gathered.is_empty();
        add(&mut shared.gathered);
        let much = shared.gathered.len() >= MUCH;
        drop(shared);
        if much {
            self.0.urgent.notify_one();
        } else if empty {
            self.0.dirty.notify_one();
        }
    }

    /// The writer has written up to here.
    pub(super) fn wrote(&self, end: AuditEnd) {
        let now = self.now();
        let mut shared = self.shared();
        shared.written = end;
        shared.unwritten = 0;
        if let Some(fault) = shared.failed.take() {
            tracing::info!(%fault, "the audit can be written again");
            self.0.unavailable.store(false, Ordering::Relaxed);
        }
        if let Some(lost) = shared.lost.take() {
            tracing::error!(records = lost.count, "records were lost while the audit could not be written");
            shared.gathered.add(now, &gap(lost.count, lost.from, lost.to));
            self.0.dirty.notify_one();
        }
    }

    /// The writer could not write so many bytes, and keeps them.
    pub(super) fn failed(&self, fault: &StoreFault, unwritten: usize) {
        let mut shared = self.shared();
        shared.unwritten = unwritten;
        if !matches!(shared.failed, Some(AuditFault::Store(_))) {
            tracing::error!(%fault, "the audit can't be written; calls are refused as `when-unavailable` says");
        }
        shared.failed = Some(AuditFault::Store(fault.clone()));
        self.0.unavailable.store(true, Ordering::Relaxed);
    }

    /// The writer has ended: nobody waits for it any more.
    pub(super) fn close(&self) {
        let mut shared = self.shared();
        shared.failed = Some(AuditFault::Closed);
        shared.waiting.clear();
        self.0.unavailable.store(true, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> i64 {
        milliseconds(self.0.clock.wall())
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn is_full(&self) -> bool {
        self.gathered.len() + self.unwritten >= MOST
    }

    fn lose(&mut self, now: i64) {
        let lost = self.lost.get_or_insert(Lost { count: 0, from: now, to: now });
        lost.count += 1;
        lost.to = now;
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Audit")
    }
}

/// Writes one record where no daemon runs, and waits for it.
pub async fn record_alone(store: &Store, clock: &Clock, record: &Record<'_>) -> Result<(), StoreFault> {
    let end = store.audit_end().await?;
    let mut gathered = Gathered::after(end.number, end.time);
    gathered.add(milliseconds(clock.wall()), record);
    let batch = gathered.take();
    store.append_audit(move || batch.blocks(end.head)).await.map(|_| ())
}

/// An intent waits so long at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many bytes are written at once, without waiting for more.
const MUCH: usize = 1 << 20;
/// So many bytes of records wait at most.
const MOST: usize = 32 << 20;
