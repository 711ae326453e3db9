//! What `status` shows of the issuers whose tokens are taken.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// About one issuer of tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What it calls itself.
    pub issuer: String,
    /// Whether its tokens can be checked now.
    pub usable: bool,
    /// How many of its keys are known.
    pub keys: usize,
    /// Keys of its set that are not used, and why.
    pub ignored: Vec<String>,
    /// When its keys were fetched, RFC 3339.
    pub fetched: Option<String>,
    /// How many seconds ago.
    pub age_seconds: Option<u64>,
    /// Why its keys could not be fetched the last time.
    pub error: Option<String>,
    /// Tokens whose signature was verified since the start.
    pub verified: u64,
    /// Tokens that were known from before.
    pub remembered: u64,
    /// Tokens that were refused.
    pub refused: u64,
    /// How often its keys were asked for.
    pub fetches: u64,
    /// How often that failed.
    pub failed_fetches: u64,
}

impl IssuerStatus {
    /// A line for people, and what is wrong with it.
    pub(super) fn text(&self) -> String {
        let Self { name, keys, age_seconds, error, .. } = self;
        let mut text = match (self.usable, age_seconds) {
            (true, Some(age)) => format!("Issuer   {name}  {keys} keys, fetched {} ago", spoken(*age)),
            _ => format!("Issuer   {name}  NO KEYS: calls with its tokens are refused"),
        };
        if let Some(error) = error {
            let _ = write!(text, "\n         they can't be fetched now: {error}");
        }
        for ignored in self.ignored.iter().take(MAX_IGNORED) {
            let _ = write!(text, "\n         not used: {ignored}");
        }
        text
    }
}

/// More keys that are not used than a person reads.
const MAX_IGNORED: usize = 3;

fn spoken(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} m", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}
