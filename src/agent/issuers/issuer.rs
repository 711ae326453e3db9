//! One issuer: its keys, asked for in the background.
//!
//! One task an issuer asks for its keys: at the start, ahead of their end, and when a token names a key that is not
//! known. Calls only read what it found; the few that must wait for it all wait for the same question.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::config::Config;
use super::fault::IssuerFault;
use super::{fetch, plan};
use crate::common::clock::Clock;
use crate::common::tasks::Tasks;
use crate::identity::jwks::KeySet;
use crate::net::http_client::HttpClient;

/// An issuer whose tokens are taken. When the last holder lets go, nothing is asked any more.
pub(super) struct Issuer {
    pub(super) shared: Arc<Shared>,
    _stop: DropGuard,
}

/// What its task and the calls share.
pub(super) struct Shared {
    pub(super) config: Config,
    clock: Clock,
    state: ArcSwap<State>,
    /// A question is under way.
    busy: AtomicBool,
    /// Somebody has a token with an unknown key.
    wanted: Notify,
    /// How many questions have ended.
    ended: watch::Sender<u64>,
    pub(super) counts: Counts,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) verified: AtomicU64,
    pub(super) remembered: AtomicU64,
    pub(super) refused: AtomicU64,
    fetches: AtomicU64,
    failures: AtomicU64,
}

/// What is known of its keys.
#[derive(Clone, Default)]
struct State {
    keys: Option<Arc<Keys>>,
    /// When it was asked last, and an answer or fault had come.
    tried: Option<Instant>,
    /// What was wrong then.
    fault: Option<String>,
    failures: u32,
}

/// The keys that were found.
pub(super) struct Keys {
    pub(super) set: KeySet,
    /// Another one for each set that differs from the one before.
    pub(super) generation: u64,
    fetched: Instant,
    fetched_wall: SystemTime,
    lifetime: Duration,
}

/// An issuer, for status pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerReport {
    /// Its name here.
    pub name: String,
    /// Its `iss`.
    pub issuer: String,
    /// Whether its tokens can be checked now.
    pub usable: bool,
    /// How many keys it has.
    pub keys: usize,
    /// Keys of its set that are not used, and why.
    pub ignored: Vec<String>,
    /// When they were fetched.
    pub fetched: Option<SystemTime>,
    /// How long ago that is.
    pub age: Option<Duration>,
    /// Why they could not be fetched the last time.
    pub fault: Option<String>,
    /// Tokens verified by their signature.
    pub verified: u64,
    /// Tokens known from before.
    pub remembered: u64,
    /// Tokens refused.
    pub refused: u64,
    /// How often its keys were asked for.
    pub fetches: u64,
    /// How often that failed.
    pub failures: u64,
}

impl Issuer {
    pub(super) fn start(config: Config, client: HttpClient, clock: Clock, tasks: &Tasks) -> Self {
        let shared = Arc::new(Shared {
            config,
            clock,
            state: ArcSwap::default(),
            busy: AtomicBool::new(true),
            wanted: Notify::new(),
            ended: watch::Sender::new(0),
            counts: Counts::default(),
        });
        let stop = CancellationToken::new();
        let (all, own, watched) = (tasks.token(), stop.clone(), Arc::clone(&shared));
        tasks.spawn("keys of an issuer", async move {
            tokio::select! {
                () = all.cancelled() => {}
                () = own.cancelled() => {}
                () = watched.watch(&client) => {}
            }
        });
        Self { shared, _stop: stop.drop_guard() }
    }
}

impl Shared {
    /// Its keys; the newest ones, once they are there.
    pub(super) async fn keys(&self) -> Result<Arc<Keys>, IssuerFault> {
        if let Some(keys) = self.usable() {
            return Ok(keys);
        }
        // Not `newer`'s fault: without keys it can't be told whether the token's is unknown.
        let _ = self.newer(None).await;
        self.usable().ok_or_else(|| IssuerFault::Unavailable { issuer: self.config.name.clone() })
    }

    /// Its keys, if others than these can be had: a token names one that is not among them.
    pub(super) async fn newer(&self, than: Option<&Keys>) -> Result<Arc<Keys>, IssuerFault> {
        let found = |keys: &Arc<Keys>| than.is_none_or(|than| than.generation != keys.generation);
        let mut ended = self.ended.subscribe();
        // In this order: a question that ends in between has stored what it found before it counts as ended.
        let busy = self.busy.load(Ordering::SeqCst);
        if let Some(keys) = self.usable().filter(found) {
            return Ok(keys);
        }
        if !busy {
            let wait = self.until_next_question();
            if !wait.is_zero() {
                return Err(IssuerFault::KeyUnknown { wait });
            }
            self.wanted.notify_one();
        }
        // Whether it ended or not is seen in what there is then.
        let _ = tokio::time::timeout(PATIENCE, ended.changed()).await;
        let wait = self.config.limits.refetch_after;
        self.usable().filter(found).ok_or(IssuerFault::KeyUnknown { wait })
    }

    /// The generation of the keys that serve now.
    pub(super) fn generation(&self) -> Option<u64> {
        self.usable().map(|keys| keys.generation)
    }

    /// The keys, unless they are too old.
    fn usable(&self) -> Option<Arc<Keys>> {
        let state = self.state.load();
        let keys = state.keys.as_ref()?;
        let end = plan::serves_until(keys.fetched, keys.lifetime, &self.config.limits);
        (self.clock.now() < end).then(|| Arc::clone(keys))
    }

    /// How long until a token with an unknown key may have the issuer asked.
    fn until_next_question(&self) -> Duration {
        let Some(tried) = self.state.load().tried else { return Duration::ZERO };
        (tried + self.config.limits.refetch_after).saturating_duration_since(self.clock.now())
    }

    /// Asks for the keys for ever.
    async fn watch(&self, client: &HttpClient) {
        loop {
            let wait = self.ask(client).await;
            let mut pause = std::pin::pin!(tokio::time::sleep(wait));
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = self.wanted.notified() => {
                        // One may have been noted while the last question was under way.
                        if self.until_next_question().is_zero() {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Asks once; says how long to wait before the next time.
    async fn ask(&self, client: &HttpClient) -> Duration {
        self.busy.store(true, Ordering::SeqCst);
        let answer = fetch::fetch(&self.config, client).await;
        let before = self.state.load_full();
        let now = self.clock.now();
        let name = &self.config.name;
        self.counts.fetches.fetch_add(1, Ordering::Relaxed);
        let (state, wait) = match answer {
            Ok(fetched) => {
                let lifetime = plan::lifetime(fetched.max_age, &self.config.limits);
                let (same, generation) = match &before.keys {
                    Some(old) if old.set == fetched.set => (true, old.generation),
                    Some(old) => (false, old.generation + 1),
                    None => (false, 0),
                };
                if !same || before.fault.is_some() {
                    let (keys, unused) = (fetched.set.len(), fetched.set.ignored().len());
                    tracing::info!(issuer = %name, keys, unused, "the keys of an issuer are there");
                }
                let keys = Keys {
                    set: fetched.set,
                    generation,
                    fetched: now,
                    fetched_wall: self.clock.wall(),
                    lifetime,
                };
                let state = State { keys: Some(Arc::new(keys)), tried: Some(now), fault: None, failures: 0 };
                (state, plan::refresh_after(lifetime, rand::random()))
            }
            Err(fault) => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                let failures = before.failures.saturating_add(1);
                let text = fault.to_string();
                if before.fault.as_ref() != Some(&text) {
                    let serving = before.keys.is_some();
                    tracing::warn!(issuer = %name, fault = %text, serving, "the keys of an issuer can't be fetched");
                }
                let state =
                    State { keys: before.keys.clone(), tried: Some(now), fault: Some(text), failures };
                (state, plan::retry_after(failures, rand::random()))
            }
        };
        self.state.store(Arc::new(state));
        self.busy.store(false, Ordering::SeqCst);
        self.ended.send_modify(|count| *count += 1);
        wait
    }

    pub(super) fn report(&self) -> IssuerReport {
        let state = self.state.load();
        let keys = state.keys.as_deref();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        IssuerReport {
            name: self.config.name.to_string(),
            issuer: self.config.expected.issuer.clone(),
            usable: self.usable().is_some(),
            keys: keys.map_or(0, |keys| keys.set.len()),
            ignored: keys.map_or(Vec::new(), |keys| keys.set.ignored().to_vec()),
            fetched: keys.map(|keys| keys.fetched_wall),
            age: keys.map(|keys| self.clock.now().saturating_duration_since(keys.fetched)),
            fault: state.fault.clone(),
            verified: count(&self.counts.verified),
            remembered: count(&self.counts.remembered),
            refused: count(&self.counts.refused),
            fetches: count(&self.counts.fetches),
            failures: count(&self.counts.failures),
        }
    }
}

/// So long a call waits for an issuer's keys: two questions and a little.
const PATIENCE: Duration = Duration::from_secs(2 * fetch::WITHIN.as_secs() + 2);
