//! Holds an agent to the audit heads that it has shown: keeps the highest, and raises an alarm when records that were
//! there are gone or changed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::common::clock::Clock;
use crate::common::ids::AgentId;
use crate::common::tasks::Tasks;
use crate::identity::audit_head::{SignedHead, Succession};
use crate::identity::keys::PublicKey;
use crate::relay::store::{AlarmKind, Anchor, Store, StoreFault};

/// Watches what one tunnel tells.
pub(super) struct Keeper {
    pub(super) agent: AgentId,
    pub(super) key: PublicKey,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) last: Mutex<Last>,
}

/// What this tunnel told last, and when.
#[derive(Default)]
pub(super) struct Last {
    head: Option<SignedHead>,
    at: Option<Instant>,
    waits: bool,
}

impl Keeper {
    /// The agent has told a head. However often it does, the store is written once in a while only.
    pub(super) fn take(self: &Arc<Self>, head: SignedHead) {
        let now = self.clock.now();
        let wait = {
            let mut last = self.last();
            if last.head == Some(head) || std::mem::replace(&mut last.waits, true) {
                // The one that waits takes the newest.
                last.head = Some(head);
                return;
            }
            last.head = Some(head);
            last.at.map_or(Duration::ZERO, |at| PAUSE.saturating_sub(now.saturating_duration_since(at)))
        };
        let keeper = Arc::clone(self);
        self.tasks.spawn_detached(async move {
            tokio::select! {
                () = keeper.tasks.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let head = {
                let mut last = keeper.last();
                last.waits = false;
                last.at = Some(keeper.clock.now());
                last.head
            };
            if let Some(head) = head
                && let Err(error) = keeper.keep(head).await
            {
                tracing::error!(%error, agent = %keeper.agent, "an agent's audit head could not be kept");
            }
        });
    }

    async fn keep(&self, head: SignedHead) -> Result<(), StoreFault> {
        let agent = self.agent;
        if !head.is_by(agent, &self.key) {
            tracing::warn!(%agent, "an agent showed an audit head that it did not sign");
            return Ok(());
        }
        let now = self.clock.unix_seconds();
        let (means, kept) = self.store.keep_anchor(agent, head, now).await?;
        let Some(Anchor { head: kept, seen }) = kept else { return Ok(()) };
        // An agent's tunnels don't overtake each other by design, only by chance: this one was signed before.
        let late = head.time < kept.time && now.saturating_sub(seen) < LATE;
        let (kind, detail) = match means {
            Succession::Newer | Succession::Same => return Ok(()),
            Succession::WentBack if late => return Ok(()),
            Succession::WentBack => (
                AlarmKind::AuditWentBack,
                format!("its audit had {} records and has {} now", kept.number, head.number),
            ),
            Succession::Rewritten => (
                AlarmKind::AuditRewritten,
                format!(
                    "record {} or one before it is not what it was: head {} then",
                    kept.number, kept.head
                ),
            ),
        };
        tracing::warn!(%agent, alarm = kind.as_str(), detail, "an agent's audit is not what it was");
        self.store.raise_alarm(agent, kind, detail, now).await
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tunnel's heads are looked at no more often.
const PAUSE: Duration = Duration::from_secs(5);
/// So many seconds after a newer head an older one may still be on its way in another tunnel.
const LATE: u64 = 120;
