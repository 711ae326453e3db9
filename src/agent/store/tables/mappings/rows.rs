//! What a mapping is, as the store takes and gives it.

use crate::common::act_as::ActAs;
use crate::common::ids::UpstreamName;
use crate::common::secret::Secret;

/// An account at an application, as its `myself` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its for good.
    pub key: String,
    /// What it logs in with; it may change.
    pub name: String,
    /// For people.
    pub display_name: String,
}

/// Whether a mapping can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MappingState {
    /// It has a credential.
    Active,
    /// Its credential is dead, or none came yet.
    NeedsReauth,
    /// The account was switched off.
    Suspended,
}

/// How a person's calls prove themselves.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// With a personal access token.
    Pat(Secret<String>),
    /// With tokens of an OAuth grant.
    OAuth(Pair),
}

/// The tokens of an OAuth grant.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The access token.
    pub access: Secret<String>,
    /// For the next pair; without it the grant ends with the access token.
    pub refresh: Option<Secret<String>>,
    /// When the access token ends, in seconds since 1970.
    pub expires: u64,
    /// What was granted, if known.
    pub scope: Option<String>,
}

/// A mapping, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingRow {
    /// The application.
    pub upstream: UpstreamName,
    /// The person.
    pub act_as: ActAs,
    /// Their account.
    pub account: Account,
    /// Whether it can be used.
    pub state: MappingState,
    /// Why it can't, for people.
    pub reason: Option<String>,
    /// An administrator let a second person use this account.
    pub shared: bool,
    /// `pat` or `oauth`, where it has a credential.
    pub kind: Option<String>,
    /// When the access token ends.
    pub expires: Option<u64>,
    /// What was granted.
    pub scope: Option<String>,
    /// When it was made. Seconds since 1970.
    pub created: u64,
    /// When it last changed.
    pub changed: u64,
}

/// What is to be stored.
#[derive(Debug, Clone)]
pub struct NewMapping {
    /// The application.
    pub upstream: UpstreamName,
    /// The person.
    pub act_as: ActAs,
    /// Their account.
    pub account: Account,
    /// Its credential; without one it is stored as `needs-reauth`.
    pub secrets: Option<Secrets>,
    /// Why there is no credential.
    pub reason: Option<String>,
    /// An administrator lets a second person use this account.
    pub shared: bool,
    /// Now.
    pub at: u64,
}

/// What came of storing one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is there.
    Done,
    /// Somebody else is linked to that account.
    Taken(ActAs),
}

impl MappingState {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::NeedsReauth => "needs-reauth",
            Self::Suspended => "suspended",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::NeedsReauth, Self::Suspended].into_iter().find(|state| state.as_str() == text)
    }
}
