//! What is told of the certificates: one definition for the agent that fills it and the commands that print it.

use serde::{Deserialize, Serialize};

use super::caa::{self, Wanted};
use super::certificate::pin_of_key;
use super::config::Config;
use super::renewal::{Hold, Next, Why};
use super::state::{Entry, State};
use crate::agent::store::tables::acme::TriesRow;

/// All certificates that come by ACME. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesReport {
    /// The authority's directory.
    pub directory: String,
    /// What the authority calls this agent's account.
    pub account: Option<String>,
    /// What the authority calls itself in CAA records; empty where it does not say.
    pub caa_identities: Vec<String>,
    /// Why there is no account yet, and what to do.
    pub account_error: Option<Failure>,
    /// One for each name.
    pub certificates: Vec<CertificateLine>,
}

/// One name's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateLine {
    /// The name.
    pub name: String,
    /// Whether the name is the customer's own; else it is the operator's.
    pub customer: bool,
    /// Who issued it; nothing while there is none.
    pub issuer: Option<String>,
    /// Its serial number, in hexadecimal digits.
    pub serial: Option<String>,
    /// Valid from.
    pub begins: Option<String>,
    /// Valid until.
    pub ends: Option<String>,
    /// The same in seconds since 1970, for the metrics.
    #[serde(default)]
    pub ends_at: Option<u64>,
    /// It has ended, or ends within a twelfth of its time: renewal has failed for long.
    #[serde(default)]
    pub ends_soon: bool,
    /// The pin of its key, which stays at renewal.
    pub pin: Option<String>,
    /// The pin of the key that the next certificate will be for, after `rotate-key`.
    pub next_pin: Option<String>,
    /// The CAA lines to set. For a customer's name only.
    pub caa: Vec<String>,
    /// When an order is made next.
    pub next: Option<String>,
    /// Why then: `renewal`, `retry`, `authority`, `limit`, or why at once: `first`, …
    pub next_why: String,
    /// An order is under way.
    pub under_way: bool,
    /// How many tries failed since the last success.
    pub failures: u32,
    /// Why the last one failed, and what to do.
    pub error: Option<Failure>,
    /// Orders made in the last 24 hours.
    pub orders_today: usize,
    /// How many tries have ended since the agent's start: whoever asked for one waits until this grows.
    pub ended: u64,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: String,
    /// What.
    pub text: String,
    /// What to do.
    pub action: Option<String>,
}

/// The whole, as it stands.
pub(super) fn report(state: &State, config: &Config, now: u64) -> CertificatesReport {
    let account = state.account.as_ref();
    let identities = identities(state, config);
    let wanted = account.map(|account| Wanted { identities: &identities, account: &account.uri });
    let certificates =
        state.names.iter().map(|(name, entry)| line(name, entry, config, wanted.as_ref(), now)).collect();
    CertificatesReport {
        directory: config.directory.clone(),
        account: account.map(|account| account.uri.clone()),
        account_error: account.is_none().then(|| failure(&state.account_tries)).flatten(),
        certificates,
        caa_identities: identities,
    }
}

/// What the configuration says, else what the authority said.
fn identities(state: &State, config: &Config) -> Vec<String> {
    match (&config.caa_identity, &state.account) {
        (Some(identity), _) => vec![identity.clone()],
        (None, Some(account)) => account.identities.clone(),
        (None, None) => Vec::new(),
    }
}

fn line(
    name: &str,
    entry: &Entry,
    config: &Config,
    wanted: Option<&Wanted<'_>>,
    now: u64,
) -> CertificateLine {
    let leaf = entry.leaf.as_ref();
    let kept = entry.kept.as_ref().ok();
    let (next, why) = match entry.next(now, &config.directory) {
        _ if kept.is_none() => (None, "never"),
        Next::Order(why) => (
            Some(now),
            match why {
                Why::First => "first",
                Why::Age => "renewal",
                Why::Ended => "ended",
                Why::Authority => "another-authority",
                Why::Asked => "asked",
            },
        ),
        Next::Wait { until, hold } => (
            Some(until),
            match hold {
                Hold::NotDue => "renewal",
                Hold::BackOff => "retry",
                Hold::Authority => "authority",
                Hold::Limit => "limit",
            },
        ),
    };
    let broken = entry.kept.as_ref().err().map(|text| Failure {
        at: stamp(now),
        text: text.clone(),
        action: Some("Look at `outhaul-agent store verify`; restore a backup of the store.".to_owned()),
    });
    CertificateLine {
        name: name.to_owned(),
        customer: entry.customer,
        issuer: leaf.map(|leaf| leaf.issuer.clone()),
        serial: leaf.map(|leaf| leaf.serial.clone()),
        begins: leaf.map(|leaf| stamp(leaf.begins)),
        ends: leaf.map(|leaf| stamp(leaf.ends)),
        ends_at: leaf.map(|leaf| leaf.ends),
        ends_soon: leaf.is_some_and(|leaf| leaf.ends.saturating_sub((leaf.ends - leaf.begins) / 12) <= now),
        pin: kept.and_then(|kept| pin_of_key(&kept.key).ok()),
        next_pin: kept.and_then(|kept| kept.next_key.as_ref()).and_then(|key| pin_of_key(key).ok()),
        caa: wanted.filter(|_| entry.customer).map(|wanted| caa::lines(name, wanted)).unwrap_or_default(),
        next: next.map(stamp),
        next_why: why.to_owned(),
        under_way: entry.under_way,
        failures: entry.tries.failures,
        error: broken.or_else(|| failure(&entry.tries)),
        orders_today: entry.orders_today(now),
        ended: entry.ended,
    }
}

/// What and what to do are kept as two lines.
fn failure(tries: &TriesRow) -> Option<Failure> {
    let error = tries.error.as_deref()?;
    let (text, action) = error.split_once('\n').map_or((error, None), |(text, action)| (text, Some(action)));
    Some(Failure { at: stamp(tries.tried), text: text.to_owned(), action: action.map(str::to_owned) })
}

/// RFC 3339.
pub(super) fn stamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|stamp| stamp.to_string()).unwrap_or_default()
}
