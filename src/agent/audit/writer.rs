//! The task that writes records, signs heads and removes what is too old.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::encode::milliseconds;
use super::gather::{Batch, removed};
use super::guard::ClockGuard;
use super::handle::Audit;
use super::record::{Event, Record};
use crate::agent::store::tables::audit::{AuditEnd, HeadKind, KeptHead};
use crate::agent::store::{Store, StoreFault};
use crate::common::ids::AgentId;
use crate::common::tasks::Tasks;
use crate::identity::audit_head::SignedHead;
use crate::identity::keys::SigningKey;

/// Who signs.
#[derive(Debug)]
pub struct Signer {
    /// The agent.
    pub agent: AgentId,
    /// Its key.
    pub key: SigningKey,
}

impl Signer {
    fn sign(&self, end: AuditEnd, now: i64) -> KeptHead {
        let time = u64::try_from(now).unwrap_or_default();
        let signed = SignedHead::sign(self.agent, &self.key, end.number, end.head, time);
        KeptHead { signed, agent: self.agent, key: self.key.public() }
    }
}

/// The only one that writes.
pub struct Writer {
    audit: Audit,
    signer: Signer,
    end: AuditEnd,
    /// What could not be written yet.
    kept: Option<Arc<Batch>>,
    anchored: Option<(u64, Instant)>,
    guard: ClockGuard,
    tended: Option<Instant>,
    /// Bytes written since the oldest records were looked at.
    since_tended: usize,
}

impl Writer {
    /// Starts to write; goes on until the tasks are told to stop, and then writes what is left.
    pub fn start(audit: &Audit, signer: Signer, tasks: &Tasks) {
        let end = audit.shared().written;
        let writer = Self {
            audit: audit.clone(),
            signer,
            end,
            kept: None,
            anchored: None,
            guard: ClockGuard::begin((end.number > 0).then_some(end.time), audit.now(), audit.0.clock.now()),
            tended: None,
            since_tended: 0,
        };
        tasks.spawn("audit", writer.run(tasks.clone()));
    }

    async fn run(mut self, tasks: Tasks) {
        let audit = self.audit.clone();
        loop {
            let stop = tokio::select! {
                () = tasks.cancelled() => true,
                () = self.something(&audit) => false,
            };
            self.audit.tell_crowd((!stop).then(|| self.audit.now()));
            self.write().await;
            if stop {
                // What was noted while that was written.
                self.audit.tell_crowd(None);
                self.write().await;
                self.anchor(true).await;
                return audit.close();
            }
            self.anchor(false).await;
            self.tend().await;
        }
    }

    async fn something(&self, audit: &Audit) {
        if self.kept.is_some() {
            return tokio::time::sleep(RETRY).await;
        }
        let idle = if audit.shared().crowd.is_empty() { TEND } else { CROWD };
        tokio::select! {
            () = audit.0.urgent.notified() => {}
            () = audit.0.dirty.notified() => {
                tokio::select! {
                    () = audit.0.urgent.notified() => {}
                    () = tokio::time::sleep(GATHER) => {}
                }
            }
            () = tokio::time::sleep(idle) => {}
        }
    }

    /// Writes what there is, in one transaction.
    async fn write(&mut self) {
        let waiting = std::mem::take(&mut self.audit.shared().waiting);
        let written = self.write_batches().await;
        let failure = self.audit.failure();
        for waits in waiting {
            let answer = match (&written, &failure) {
                (Err(_), Some(fault)) => Err(fault.clone()),
                _ => Ok(()),
            };
            // Whoever waited may be gone; its record is written all the same.
            let _ = waits.send(answer);
        }
    }

    async fn write_batches(&mut self) -> Result<(), StoreFault> {
        if let Some(batch) = self.kept.take() {
            self.write_batch(batch).await?;
        }
        let batch = {
            let mut shared = self.audit.shared();
            if shared.gathered.is_empty() {
                return Ok(());
            }
            let batch = shared.gathered.take();
            shared.unwritten = batch.len();
            batch
        };
        self.write_batch(Arc::new(batch)).await
    }

    async fn write_batch(&mut self, batch: Arc<Batch>) -> Result<(), StoreFault> {
        let (records, head) = (batch.clone(), self.end.head);
        match self.audit.0.store.append_audit(move || records.blocks(head)).await {
            Ok(head) => {
                self.end = AuditEnd { number: batch.last(), head, time: batch.last_time() };
                self.since_tended += batch.len();
                self.audit.wrote(self.end);
                Ok(())
            }
            Err(fault) => {
                self.audit.failed(&fault, batch.len());
                self.kept = Some(batch);
                Err(fault)
            }
        }
    }

    /// Signs the head and shows it outside, when it is time.
    async fn anchor(&mut self, now: bool) {
        let clock = &self.audit.0.clock;
        let due = match self.anchored {
            None => true,
            Some((number, _)) if number == self.end.number => false,
            Some((number, at)) => {
                let passed = clock.now().saturating_duration_since(at);
                now || passed >= ANCHOR_EVERY
                    || (self.end.number - number >= ANCHOR_RECORDS && passed >= ANCHOR_PAUSE)
            }
        };
        if !due || self.kept.is_some() {
            return;
        }
        let kept = self.signer.sign(self.end, milliseconds(clock.wall()));
        let SignedHead { number, head, signature, .. } = kept.signed;
        tracing::info!(number, %head, %signature, "audit head");
        self.anchored = Some((number, clock.now()));
        self.audit.shared().anchor = Some(kept.signed);
        if let Err(fault) = self.audit.0.store.keep_audit_head(HeadKind::Anchor, kept).await {
            tracing::warn!(%fault, "the audit's signed head could not be kept; it is in this log");
        }
    }

    /// Removes what is too old or too much, a few blocks at a time; a signed checkpoint stands for it.
    async fn tend(&mut self) {
        let now = self.audit.0.clock.now();
        let recently = self.tended.is_some_and(|at| now.saturating_duration_since(at) < TEND);
        if self.kept.is_some() || (recently && self.since_tended < TEND_BYTES) {
            return;
        }
        (self.tended, self.since_tended) = (Some(now), 0);
        let by_age = self.guard.look(self.audit.now(), now);
        match prune(&self.audit.0.store, &self.audit, &self.signer, by_age).await {
            Ok(None) => {}
            Ok(Some(end)) => {
                tracing::info!(up_to = end.number, "old audit records were removed");
                self.audit.note(&removed(end.number, end.head));
            }
            Err(fault) => tracing::warn!(%fault, "old audit records could not be removed; tried again later"),
        }
    }
}

async fn prune(
    store: &Store,
    audit: &Audit,
    signer: &Signer,
    by_age: bool,
) -> Result<Option<AuditEnd>, StoreFault> {
    let settings = audit.shared().settings;
    let keep = i64::try_from(settings.keep.as_millis()).unwrap_or(i64::MAX);
    let mut last = None;
    loop {
        let now = audit.now();
        let before = if by_age { now.saturating_sub(keep) } else { i64::MIN };
        let Some(end) = store.audit_to_remove(before, settings.max_size.0, STEP).await? else {
            return Ok(last);
        };
        store.remove_audit(signer.sign(end, now)).await?;
        last = Some(end);
    }
}

/// Records of calls that the caller does not wait for gather so long.
const GATHER: Duration = Duration::from_millis(500);
/// So long until what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The head is shown at least so often, if there is something new.
const ANCHOR_EVERY: Duration = Duration::from_secs(3600);
/// And after so many records,
const ANCHOR_RECORDS: u64 = 10_000;
/// but not more often than this.
const ANCHOR_PAUSE: Duration = Duration::from_secs(60);
/// How often refusals that were only counted are told, at the latest.
const CROWD: Duration = Duration::from_secs(60);
/// How often the oldest records are looked at,
const TEND: Duration = Duration::from_secs(600);
/// or after so many bytes.
const TEND_BYTES: usize = 64 << 20;
/// So many blocks are removed at a time: others wait for it.
const STEP: u32 = 128;

/// That the agent runs, and stops.
impl Audit {
    /// The agent began to run; on disk when this returns.
    pub async fn started(&self, version: &str) -> Result<(), super::AuditFault> {
        self.intent(&Record::new(Event::Start).detail(version)).await
    }

    /// The agent stops.
    pub async fn stopped(&self) -> Result<(), super::AuditFault> {
        self.intent(&Record::new(Event::Stop)).await
    }
}
