//! Calls with an `Idempotency-Key`, kept in the store: [`Ledger`] decides, and this sees to it that the store knows.
//!
//! That a call is under way is on disk before it leaves, and what became of it before its caller hears the end. A
//! process that died in between leaves calls under way behind; the next one takes them for calls with an unknown
//! outcome, and never sends them again. Used by `agent::front`.

use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::idempotency::{
    Answer, BodyPrint, Earlier, HeadPrint, Ledger, Loss, Outcome, Scope, Ticket, out_of_sight, read_loss,
    read_problem, write_loss, write_problem,
};
use super::store::tables::idempotency::{EndRow, KeyRow, KeyState, KnownKey};
use super::store::{Store, StoreFault};
use crate::common::clock::Clock;
use crate::common::ids::RequestId;
use crate::common::tasks::Tasks;

/// The ledger and the store behind it; clones are the same one.
#[derive(Debug, Clone)]
pub struct Remembered {
    ledger: Ledger,
    store: Store,
    clock: Clock,
}

impl Remembered {
    /// Fills an empty ledger with what the processes before this one remembered.
    pub async fn load(store: Store, ledger: Ledger, clock: Clock) -> Result<Self, StoreFault> {
        let now = millis(&clock);
        let given_up = store.give_up_keys(now).await?;
        if given_up > 0 {
            tracing::warn!(
                calls = given_up,
                "calls with a key were under way when the agent ended; their outcome is unknown, and stays so"
            );
        }
        let mut after = (i64::MIN, i64::MIN);
        loop {
            let page = store.known_keys(after).await?;
            let Some(last) = page.last() else { return Ok(Self { ledger, store, clock }) };
            after = last.at;
            for known in page {
                // One that ended in the future did so before the clock was set back: it is remembered in full again.
                let age = Duration::from_millis(now.saturating_sub(known.ended));
                ledger.restore(earlier(known), age);
            }
        }
    }

    /// What decides.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Puts on disk that a call is under way: it may not leave before.
    pub async fn begin(&self, ticket: &Ticket) -> Result<(), StoreFault> {
        let begun = self.store.begin_key(row(ticket.scope(), ticket.first()), ticket.head_print().0).await;
        begun.inspect_err(|fault| {
            tracing::error!(%fault, request = %ticket.first(), "a call with a key can't be stored, so it is not made");
        })
    }

    /// Puts on disk what a call was told as its end, if it was; then it holds. Where the store does not take it, the
    /// key is remembered all the same, as long as this process lives; and the next one takes its outcome for unknown.
    pub async fn finish(&self, ticket: &mut Ticket) {
        let Some((body, outcome)) = ticket.end() else { return };
        let end = end_row(millis(&self.clock), *body, outcome);
        let stored = self.store.end_key(row(ticket.scope(), ticket.first()), end).await;
        if let Err(fault) = &stored {
            tracing::error!(%fault, request = %ticket.first(), "the end of a call with a key can't be stored");
        }
        ticket.settle(stored.is_ok());
    }

    /// A call was not sent, or not taken: its key is free. Where the store does not take that, the next process
    /// refuses the key.
    pub async fn free(&self, ticket: &mut Ticket) {
        let freed = self.store.remove_keys(vec![row(ticket.scope(), ticket.first())]).await;
        if let Err(fault) = freed {
            tracing::error!(%fault, request = %ticket.first(), "a key that is free again can't be removed");
        }
        ticket.free();
    }

    /// What became of a call that the store was told the end of.
    pub async fn recall(&self, scope: &Scope, first: RequestId) -> Result<Outcome, StoreFault> {
        // None: its time is over just now, or the row was damaged. It was made.
        let end = self.store.ended_key(row(scope, first)).await.inspect_err(|fault| {
            tracing::error!(%fault, request = %first, "the end of an earlier call with a key can't be read");
        })?;
        Ok(end.map_or_else(|| Outcome::Unknown(out_of_sight()), outcome))
    }

    /// Removes from the store what the ledger has forgotten; says how many.
    pub async fn sweep(&self) -> Result<usize, StoreFault> {
        let mut removed = 0;
        loop {
            let forgotten = self.ledger.take_forgotten(SWEPT);
            if forgotten.is_empty() {
                return Ok(removed);
            }
            let rows = forgotten.iter().map(|(scope, first)| row(scope, *first)).collect();
            if let Err(fault) = self.store.remove_keys(rows).await {
                self.ledger.put_back(forgotten);
                return Err(fault);
            }
            removed += forgotten.len();
        }
    }

    /// Sweeps from time to time.
    pub fn start(&self, tasks: &Tasks) {
        let (remembered, token) = (self.clone(), tasks.token());
        tasks.spawn("idempotency sweep", async move {
            while token.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
                if let Err(fault) = remembered.sweep().await {
                    tracing::error!(%fault, "keys whose time is over can't be removed from the store; tried again");
                }
            }
        });
    }
}

fn row(scope: &Scope, first: RequestId) -> KeyRow {
    KeyRow { caller: scope.caller.clone(), upstream: scope.upstream.clone(), key: scope.key, first }
}

fn earlier(known: KnownKey) -> Earlier {
    let KeyRow { caller, upstream, key, first } = known.row;
    // Nothing is known of the body where the process died under the call; then any is taken for the same.
    let body = known.body_digest.map_or_else(BodyPrint::nothing, |digest| BodyPrint {
        length: known.body_length,
        whole: known.body_whole,
        digest,
    });
    Earlier {
        scope: Scope { caller, upstream, key },
        first,
        head: HeadPrint(known.head),
        body,
        bytes: known.size,
    }
}

fn end_row(ended: u64, body: BodyPrint, outcome: &Outcome) -> EndRow {
    let mut end = EndRow {
        ended,
        body_length: body.length,
        body_whole: body.whole,
        body_digest: body.digest,
        state: KeyState::Unknown,
        status: None,
        note: None,
        fields: Vec::new(),
        content: Vec::new(),
    };
    match outcome {
        Outcome::Answered(answer) => {
            end.state = KeyState::Answered;
            end.status = Some(answer.status.as_u16());
            end.fields = answer.fields.to_vec();
            end.content = answer.body.to_vec();
        }
        Outcome::Gone { status, why } => {
            end.state = KeyState::Gone;
            end.status = Some(status.as_u16());
            end.note = Some(write_loss(*why).to_owned());
        }
        Outcome::Unknown(problem) => end.note = Some(write_problem(problem)),
    }
    end
}

fn outcome(end: EndRow) -> Outcome {
    let status = end.status.and_then(|status| StatusCode::from_u16(status).ok());
    match (end.state, status) {
        (KeyState::Answered, Some(status)) => {
            Outcome::Answered(Answer { status, fields: end.fields.into(), body: end.content.into() })
        }
        (KeyState::Gone, Some(status)) => {
            Outcome::Gone { status, why: end.note.as_deref().and_then(read_loss).unwrap_or(Loss::NotStored) }
        }
        _ => Outcome::Unknown(end.note.as_deref().and_then(read_problem).unwrap_or_else(out_of_sight)),
    }
}

fn millis(clock: &Clock) -> u64 {
    let since = clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How often the store is rid of what is forgotten.
const EVERY: Duration = Duration::from_secs(60);
/// How many rows are removed at once: others wait for it.
const SWEPT: usize = 500;
