//! Callers that show a token of an issuer (JWT): who calls, and for whom.
//!
//! [`Issuers::identify`] tells the front, from memory: keys are fetched in the background, and a call waits for that
//! only where none are there yet or a token names one that is not known. Which issuers there are is the
//! configuration's affair, what a caller may do the policy's; signatures and claims are judged by `identity`.

pub mod config;

mod cache;
mod fault;
mod fetch;
mod issuer;
mod plan;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::agent::egress::Clients;
use crate::common::act_as::ActAs;
use crate::common::clock::Clock;
use crate::common::host::HostPort;
use crate::common::ids::{CallerName, IssuerName};
use crate::common::tasks::Tasks;
use crate::identity::encoded::Encoded;
use crate::identity::jws::{MAX_TOKEN, Token, TokenFault, Verified};
use crate::net::http_client::HttpClient;
use crate::net::tls::TlsFault;

use cache::{Cache, Entry};
pub use config::Config;
use config::KeysAt;
pub use fault::IssuerFault;
pub use fetch::FetchFault;
use issuer::Issuer;
pub use issuer::IssuerReport;

/// The issuers whose tokens are taken, as one configuration has them.
pub struct Issuers {
    clock: Clock,
    by_claim: HashMap<String, Arc<Issuer>>,
    cache: Mutex<Cache>,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Whose it is.
    pub issuer: IssuerName,
    /// Who calls.
    pub caller: CallerName,
    /// For whom, where the token itself says so.
    pub person: Option<ActAs>,
}

/// What was found at an issuer that was asked by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How many keys can be used.
    pub keys: usize,
    /// Those that can't, and why.
    pub ignored: Vec<String>,
}

impl Issuers {
    /// None at all.
    pub fn none(clock: Clock) -> Self {
        Self { clock, by_claim: HashMap::new(), cache: Mutex::default() }
    }

    /// Those of a configuration; what did not change is taken over from before, with its keys. Each is reached by
    /// the client that `client` makes. If it fails, nothing has been started.
    pub fn configure(
        configs: &[Config],
        before: Option<&Self>,
        clock: &Clock,
        tasks: &Tasks,
        client: impl Fn(&Config) -> Result<HttpClient, TlsFault>,
    ) -> Result<Self, TlsFault> {
        let kept = |config: &Config| {
            let issuer = before?.by_claim.get(&config.expected.issuer)?;
            (issuer.shared.config == *config).then(|| Arc::clone(issuer))
        };
        let made: Result<Vec<_>, TlsFault> = configs
            .iter()
            .map(|config| match kept(config) {
                Some(issuer) => Ok(Err(issuer)),
                None => client(config).map(|client| Ok((config.clone(), client))),
            })
            .collect();
        let start = |one: Result<(Config, HttpClient), Arc<Issuer>>| {
            let issuer = one.map_or_else(
                |kept| kept,
                |(config, client)| Arc::new(Issuer::start(config, client, clock.clone(), tasks)),
            );
            (issuer.shared.config.expected.issuer.clone(), issuer)
        };
        let by_claim = made?.into_iter().map(start).collect();
        Ok(Self { clock: clock.clone(), by_claim, cache: Mutex::default() })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_claim.is_empty()
    }

    /// Who calls with this token.
    pub async fn identify(&self, text: &str) -> Result<Arc<Known>, IssuerFault> {
        if text.len() > MAX_TOKEN {
            return Err(TokenFault::Size.into());
        }
        let hash = Encoded::sha256(&[text.as_bytes()]);
        let now = self.clock.unix_seconds();
        let remembered = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&hash);
        if let Some(entry) = remembered
            && entry.issuer.shared.generation() == Some(entry.generation)
        {
            let shared = &entry.issuer.shared;
            let checked = entry.window.check(now, shared.config.expected.skew);
            count(if checked.is_ok() { &shared.counts.remembered } else { &shared.counts.refused });
            return checked.map(|()| entry.known).map_err(IssuerFault::from);
        }
        let token = Token::read(text)?;
        let issuer = token.claimed_issuer().and_then(|issuer| self.by_claim.get(issuer));
        let issuer = issuer.ok_or(IssuerFault::Issuer)?;
        let judged = judge(issuer, token, now).await;
        let counts = &issuer.shared.counts;
        count(if judged.is_ok() { &counts.verified } else { &counts.refused });
        let entry = judged?;
        let known = Arc::clone(&entry.known);
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(hash, entry);
        Ok(known)
    }

    /// How they are, by name.
    pub fn reports(&self) -> Vec<IssuerReport> {
        let mut reports: Vec<_> = self.by_claim.values().map(|issuer| issuer.shared.report()).collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        reports
    }

    /// How many verified tokens are remembered.
    pub fn remembered(&self) -> usize {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A client that goes the way to this issuer. It reaches the host that the configuration names; that of a key set to
/// which a discovery document leads must be the same, or be listed under `[egress] allow`.
pub fn client(config: &Config, egress: &Clients) -> Result<HttpClient, TlsFault> {
    let (KeysAt::Set(url) | KeysAt::Discovery(url)) = &config.keys;
    let named = HostPort::of_url(&url.uri().to_string()).into_iter().collect();
    egress.client(config.egress, config.ca_file.as_deref(), named)
}

/// Asks an issuer for its keys once, as the agent itself would, for people who look for what is wrong.
pub async fn probe(config: &Config, client: &HttpClient) -> Result<Probe, FetchFault> {
    let fetched = fetch::fetch(config, client).await?;
    Ok(Probe { keys: fetched.set.len(), ignored: fetched.set.ignored().to_vec() })
}

/// Signature, claims, caller, person: in this order, so that nothing is believed that is not signed.
async fn judge(issuer: &Arc<Issuer>, token: Token<'_>, now: u64) -> Result<Entry, IssuerFault> {
    let config = &issuer.shared.config;
    let mut keys = issuer.shared.keys().await?;
    let verified = match token.clone().verify(&keys.set, &config.algorithms) {
        Err(TokenFault::KeyUnknown) => {
            keys = issuer.shared.newer(Some(&keys)).await?;
            token.verify(&keys.set, &config.algorithms)?
        }
        verified => verified?,
    };
    let window = config.expected.check(&verified, now)?;
    let known = Arc::new(known(config, &verified)?);
    Ok(Entry { issuer: Arc::clone(issuer), generation: keys.generation, window, known })
}

fn known(config: &Config, token: &Verified) -> Result<Known, IssuerFault> {
    let fitting = config.callers.iter().find(|one| token.text(&one.claim) == Some(&one.value));
    let caller = fitting.ok_or_else(|| IssuerFault::Caller(config.name.clone()))?.caller.clone();
    let person = match &config.person {
        Some(person) if person.conditions.iter().all(|condition| condition.holds(token)) => {
            match token.claim(&person.claim) {
                None => None,
                // One that is there and can't be read must not turn into nobody, whom the caller could then choose.
                Some(claim) => {
                    let fault = || IssuerFault::Person(person.claim.clone());
                    let subject = claim.as_str().ok_or_else(fault)?;
                    Some(ActAs::new(&person.provider, subject).map_err(|_| fault())?)
                }
            }
        }
        _ => None,
    };
    Ok(Known { issuer: config.name.clone(), caller, person })
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
