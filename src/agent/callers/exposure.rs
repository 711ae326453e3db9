//! Whether a key was ever sent through the relay, which could have kept it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Callers;
use super::key::Key;
use crate::common::ids::CallerName;
use crate::identity::api_key::ApiKey;

/// What is known of one key. It only ever goes from unexposed to exposed.
#[derive(Debug, Default)]
pub(super) struct Exposure {
    exposed: AtomicBool,
    /// The store has it too: there is nothing left to do.
    stored: AtomicBool,
    /// After a store that did not take it: not before this second since 1970.
    again: AtomicU64,
}

impl Exposure {
    /// As the store has it.
    pub(super) fn stored(exposed: bool) -> Self {
        Self { exposed: exposed.into(), stored: exposed.into(), again: AtomicU64::new(0) }
    }

    pub(super) fn is_exposed(&self) -> bool {
        self.exposed.load(Ordering::SeqCst)
    }

    /// Whether the store has it.
    fn is_done(&self) -> bool {
        self.stored.load(Ordering::SeqCst)
    }

    /// Whether the store is to be told now.
    fn is_due(&self, now: u64) -> bool {
        !self.is_done() && self.again.load(Ordering::SeqCst) <= now
    }
}

impl Callers {
    /// Notes that this text was sent through the relay: if it is a key of a caller's, it is exposed from now on, and on return
    /// that is on the disk. Costs one look at a flag where that is known already.
    ///
    /// The key is out whether the store takes the mark or not, so a store that does not is told of in the log and tried again
    /// at a later call; the mark counts as long as this process runs.
    pub async fn sent_through_relay(&self, key: &str) {
        let Ok(key) = key.parse::<ApiKey>() else { return };
        let (caller, known) = {
            let table = self.table.load();
            let Some((caller, known)) = table.by_id.get(key.id()) else { return };
            // Whoever knows the id alone, which is no secret, marks nothing.
            if known.exposure.is_done() || !known.is_proved_by(&key) {
                return;
            }
            (caller.clone(), known.clone())
        };
        known.exposure.exposed.store(true, Ordering::SeqCst);
        Box::pin(self.write_down(&caller, &known)).await;
    }

    /// One at a time, and not between a change's look at the flag and its writing.
    async fn write_down(&self, caller: &CallerName, Key { id, exposure, .. }: &Key) {
        if !exposure.is_due(self.clock.unix_seconds()) {
            return;
        }
        let _one = self.change.lock().await;
        let now = self.clock.unix_seconds();
        if !exposure.is_due(now) {
            return;
        }
        match self.store.expose_caller_key(id).await {
            Ok(()) => exposure.stored.store(true, Ordering::SeqCst),
            Err(fault) => {
                exposure.again.store(now.saturating_add(AGAIN.as_secs()), Ordering::SeqCst);
                tracing::warn!(
                    %caller,
                    error = %fault,
                    "a caller's key was sent through the relay, and the store can't take that down: a restart would forget it"
                );
            }
        }
    }
}

/// Between two tries with a store that does not take it.
const AGAIN: Duration = Duration::from_secs(10);
