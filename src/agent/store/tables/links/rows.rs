//! An attempt to link an account, as the store takes and gives it.

use crate::agent::store::tables::mappings::{Account, Secrets};
use crate::common::act_as::ActAs;
use crate::common::ids::{CallerName, LinkId, UpstreamName};
use crate::common::secret::Secret;
use crate::identity::encoded::Encoded;

/// A SHA-256.
pub type Hash = Encoded<32>;

/// One attempt.
#[derive(Debug, Clone)]
pub struct LinkRow {
    /// Which one.
    pub id: LinkId,
    /// Who asked for it, and alone may finish it.
    pub caller: CallerName,
    /// The application.
    pub upstream: UpstreamName,
    /// The person, as the caller names them.
    pub act_as: ActAs,
    /// What the caller calls them; shown, and believed by nobody.
    pub display_name: Option<String>,
    /// How far it is.
    pub stage: LinkStage,
    /// When it was asked for. Seconds since 1970.
    pub created: u64,
    /// Of the last part of the address that the person opens.
    pub url: Hash,
    /// Of the cookie of the one browser that may go on.
    pub browser: Option<Hash>,
    /// How often somebody tried to prove an account.
    pub rounds: u32,
    /// Of the `state` that Jira sends back.
    pub consent: Option<Hash>,
    /// The proof key of that round.
    pub verifier: Option<Secret<String>>,
    /// What was proved, until the code came back.
    pub pending: Option<Pending>,
    /// Of the code.
    pub code: Option<Hash>,
    /// When the person confirmed.
    pub confirmed: Option<u64>,
    /// Wrong codes so far.
    pub tries: u32,
}

/// An account that was proved, and what with.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Whose it is.
    pub account: Account,
    /// Its credential.
    pub secrets: Secrets,
}

/// By what an attempt is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkKey {
    /// Its id.
    Id(LinkId),
    /// The address that the person opens.
    Url(Hash),
    /// The `state` that came back.
    Consent(Hash),
    /// The person: the open one, or else the last one.
    Person(ActAs),
}

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkLimits {
    /// Open ones of one caller's.
    pub of_caller: u64,
    /// Open ones in all.
    pub open: u64,
    /// With those that have ended and are kept for a while.
    pub kept: u64,
}

/// How far an attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkStage {
    /// Waits for the person.
    Open,
    /// The person is at the application's pages.
    Consenting,
    /// A code is being redeemed, or a token looked at.
    Proving,
    /// An account is proved, and waits for the person's yes.
    Proved,
    /// The person has the code; it waits for the caller to bring it.
    Confirmed,
    /// It is over.
    Ended(LinkEnd),
}

/// Why an attempt is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkEnd {
    /// The code came back.
    Finished,
    /// A newer one for the same person took its place.
    Replaced,
    /// Its time ran out.
    Expired,
    /// The person said no.
    Cancelled,
    /// The application's answer came to another browser.
    OtherBrowser,
    /// Too many tries to prove an account.
    TooManyRounds,
    /// Too many wrong codes.
    TooManyTries,
}

impl LinkStage {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Consenting => "consenting",
            Self::Proving => "proving",
            Self::Proved => "proved",
            Self::Confirmed => "confirmed",
            Self::Ended(_) => "ended",
        }
    }

    pub(super) fn parse(stage: &str, ending: Option<&str>) -> Option<Self> {
        let open = [Self::Open, Self::Consenting, Self::Proving, Self::Proved, Self::Confirmed];
        match ending {
            None => open.into_iter().find(|known| known.as_str() == stage),
            Some(ending) => LinkEnd::ALL.into_iter().find(|known| known.as_str() == ending).map(Self::Ended),
        }
    }

    /// Why it is over, if it is.
    pub fn ending(self) -> Option<LinkEnd> {
        match self {
            Self::Ended(ending) => Some(ending),
            _ => None,
        }
    }
}

impl LinkEnd {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Finished,
        Self::Replaced,
        Self::Expired,
        Self::Cancelled,
        Self::OtherBrowser,
        Self::TooManyRounds,
        Self::TooManyTries,
    ];

    /// As it is stored and logged.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Replaced => "replaced",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::OtherBrowser => "other-browser",
            Self::TooManyRounds => "too-many-rounds",
            Self::TooManyTries => "too-many-tries",
        }
    }
}

pub(super) fn hash(bytes: [u8; 32]) -> Hash {
    Encoded(bytes)
}
