//! What makes a signed call the only one of its kind, and its answer the agent's: times, nonces, and the agent's key.
//!
//! [`Signing::admit`] is asked for each call whose signature is right. It takes the nonce for good before it says yes:
//! on return that is on disk, so neither a second copy nor a restart lets it pass again. What a signature covers is
//! `identity::signatures`'s affair.

mod memory;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::digest::{SHA256, digest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use settings::Settings;

use crate::agent::store::tables::nonces::NonceRow;
use crate::agent::store::{Store, StoreFault};
use crate::common::clock::Clock;
use crate::common::ids::{AgentId, CallerName};
use crate::common::problem::{Code, Problem};
use crate::identity::keys::SigningKey;
use crate::identity::signatures::{Claim, SignatureFault};
use memory::{Memory, Refused};

/// Cheap to clone.
#[derive(Clone)]
pub struct Signing(Arc<Inner>);

struct Inner {
    agent: AgentId,
    key: SigningKey,
    settings: ArcSwap<Settings>,
    store: Store,
    clock: Clock,
    memory: Mutex<Memory>,
    /// Places for bodies of calls that are held, and are more than a little.
    bodies: Arc<Semaphore>,
    /// The same for answers: no upload may cost another caller its answer's signature.
    answers: Arc<Semaphore>,
    /// When the store forgot what is over. Seconds since 1970.
    forgot: Mutex<u64>,
}

/// A place among those who hold more than [`LITTLE`]; given back when it is dropped.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "it is there to be dropped")] OwnedSemaphorePermit);

impl Signing {
    /// Knows the nonces that the store knows. `agent` and `key` are who answers.
    pub async fn load(
        store: Store,
        clock: Clock,
        (agent, key): (AgentId, SigningKey),
        settings: Settings,
    ) -> Result<Self, StoreFault> {
        let known = store.nonces().await?;
        let mut memory = Memory::new(known.floor);
        for row in known.rows {
            memory.put(row.caller, row.nonce, row.expires);
        }
        Ok(Self(Arc::new(Inner {
            agent,
            key,
            settings: ArcSwap::from_pointee(settings),
            store,
            clock,
            memory: Mutex::new(memory),
            bodies: Arc::new(Semaphore::new(PLACES)),
            answers: Arc::new(Semaphore::new(PLACES)),
            forgot: Mutex::new(0),
        })))
    }

    /// A place to hold up to `hold` bytes of a call; none where all are taken.
    pub fn room_for_body(&self) -> Option<Room> {
        Arc::clone(&self.0.bodies).try_acquire_owned().ok().map(Room)
    }

    /// A place to hold up to `hold-answer` bytes of an answer; none where all are taken, and stay so.
    pub async fn room_for_answer(&self, patience: Duration) -> Option<Room> {
        let place = Arc::clone(&self.0.answers).acquire_owned();
        tokio::time::timeout(patience, place).await.ok()?.ok().map(Room)
    }

    /// Other settings, from the next call on.
    pub fn configure(&self, settings: Settings) {
        self.0.settings.store(Arc::new(settings));
    }

    /// What is in force.
    pub fn settings(&self) -> Settings {
        **self.0.settings.load()
    }

    /// Whom a call must be meant for.
    pub fn agent(&self) -> AgentId {
        self.0.agent
    }

    /// Who answers, and with which key.
    pub fn signer(&self) -> (AgentId, &SigningKey) {
        (self.0.agent, &self.0.key)
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        self.0.clock.unix_seconds()
    }

    /// Lets a call pass whose signature is right, once. What is refused here must not be signed: another copy of the
    /// same call may have passed.
    pub async fn admit(&self, caller: &CallerName, claim: &Claim) -> Result<(), Problem> {
        let (now, settings) = (self.now(), self.settings());
        let nonce = hashed(&claim.nonce);
        let times = (claim.created, claim.expires);
        let taken = self
            .0
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(caller, nonce, times, now, &settings);
        taken.map_err(|refused| problem(refused, &settings))?;
        let row = NonceRow { caller: caller.clone(), nonce, expires: claim.expires };
        let forget = self.is_time_to_forget(now).then(|| Memory::over(now, settings.clock_skew));
        self.0.store.use_nonce(row, forget).await.map_err(|fault| {
            tracing::error!(%fault, "the nonce of a signed call can't be kept, so the call is not made");
            Problem::new(
                Code::StoreUnavailable,
                "The agent can't put on disk that this signature was used, so the call was not made. Sign it anew and \
                 send it again later. The agent's journal at the site says what is wrong with its store.",
            )
            .with_retry_after(STORE_DOWN)
        })
    }

    fn is_time_to_forget(&self, now: u64) -> bool {
        let mut forgot = self.0.forgot.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = now.abs_diff(*forgot) >= FORGET_EVERY;
        if is_time {
            *forgot = now;
        }
        is_time
    }
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Signing({})", self.0.agent)
    }
}

/// The refusal of a signature that is wrong.
pub fn wrong(fault: &SignatureFault) -> Problem {
    let sentence = fault.to_string();
    let mut letters = sentence.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let sentence: String = first.into_iter().chain(letters).collect();
    Problem::new(Code::SignatureInvalid, format!("{sentence}. docs/signed.md shows how a call is signed."))
}

fn problem(refused: Refused, settings: &Settings) -> Problem {
    let (window, skew) = (settings.window.as_secs(), settings.clock_skew.as_secs());
    let invalid = |detail: String| Problem::new(Code::SignatureInvalid, detail);
    match refused {
        Refused::Window => invalid(format!(
            "The signature must count for at most {window} s: set expires to created and no more than that."
        )),
        Refused::Early(by) => invalid(format!(
            "The signature was made {by} s in the future by the agent's clock, and {skew} s are allowed. Set the \
             caller's clock, or the agent's."
        )),
        Refused::Late(by) => invalid(format!(
            "The signature is over since {by} s by the agent's clock. Sign each call when it is sent; if it was, set \
             the caller's clock, or the agent's."
        )),
        Refused::Again => Problem::new(
            Code::SignatureReplayed,
            "A call with this signature came before, and was let pass once. What became of that one is not told here: \
             look at the state at the application. Give each call a nonce of its own.",
        ),
        Refused::Full(seconds) => Problem::new(
            Code::RateLimited,
            "This caller has as many signatures in use as `max-nonces` in [signed] at the site allows. Send fewer \
             calls, or let each signature count for a shorter time.",
        )
        .with_retry_after(u32::try_from(seconds).unwrap_or(600)),
        Refused::Crowded(seconds) => Problem::new(
            Code::SiteBusy,
            "The agent remembers as many signatures as it can, and forgets none early. The call was not made.",
        )
        .with_retry_after(u32::try_from(seconds).unwrap_or(600)),
    }
}

fn hashed(nonce: &str) -> memory::Hashed {
    let mut short = [0; 16];
    // SHA-256 gives 32 bytes.
    for (to, from) in short.iter_mut().zip(digest(&SHA256, nonce.as_bytes()).as_ref()) {
        *to = *from;
    }
    short
}

/// So many bytes any call may hold.
pub const LITTLE: usize = 64 << 10;
/// So many calls hold more at once.
const PLACES: usize = 64;
/// Seconds.
const FORGET_EVERY: u64 = 30;
/// Seconds after which to try again where the store fails: somebody must mend it first.
const STORE_DOWN: u32 = 30;
