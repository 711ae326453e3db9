//! Why a link can't be asked for or finished, and what the caller is told.

use super::attempt::{LIFE, Refusal};
use crate::agent::audit::AuditFault;
use crate::agent::mapping::CreateFault;
use crate::agent::store::StoreFault;
use crate::agent::store::tables::links::{LinkEnd, LinkStage};
use crate::common::ids::UpstreamName;
use crate::common::problem::{Code, Outcome, Problem};

/// Why there is no address to link at.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartFault {
    /// No pages.
    #[error("people can't link accounts here: the agent has no pages")]
    Off,
    /// Only the relay vouches for the caller.
    #[error("only the relay vouches for this caller")]
    Unproved,
    /// There is no such application.
    #[error("there is no application “{0}”")]
    NoUpstream(UpstreamName),
    /// There are several.
    #[error("there is not one application, so it must be named")]
    WhichUpstream,
    /// Too many are open.
    #[error("too many links are open")]
    Full,
    /// No random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// Why a code does not make a link active.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FinishFault {
    /// No pages.
    #[error("people can't link accounts here: the agent has no pages")]
    Off,
    /// Only the relay vouches for the caller.
    #[error("only the relay vouches for this caller")]
    Unproved,
    /// It can't be a code.
    #[error("a code is eight letters and digits")]
    Unreadable,
    /// There is none that waits, and why, if it is this caller's.
    #[error("no link of this person waits for a code")]
    NotOpen(Option<LinkEnd>),
    /// The person has not confirmed.
    #[error("the person has not confirmed the link")]
    NotConfirmed,
    /// The code is wrong.
    #[error("the code is wrong")]
    Wrong {
        /// So many tries are left.
        left: u32,
    },
    /// The mapping can't be made.
    #[error(transparent)]
    Create(CreateFault),
    /// It can't be recorded.
    #[error(transparent)]
    Audit(AuditFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
}

impl StartFault {
    /// What the caller is told.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Off => off(),
            Self::Unproved => unproved(),
            Self::NoUpstream(name) => Problem::new(
                Code::NotFound,
                format!("There is no application “{name}” at this site; “upstream” must name one as in [upstream.NAME]."),
            ),
            Self::WhichUpstream => Problem::new(
                Code::BadRequest,
                "This site has several applications. Name one in “upstream”, as in {\"upstream\":\"jira\"}.",
            ),
            Self::Full => Problem::new(
                Code::RateLimited,
                "Too many links wait for their people at this site. Ask again when some are finished or have run out.",
            )
            .with_retry_after(60),
            Self::Random => Problem::new(Code::Internal, self.to_string()).with_outcome(Outcome::NotSent),
            Self::Store(fault) => store(fault),
        }
    }
}

impl FinishFault {
    pub(super) fn of(refusal: Refusal) -> Self {
        match refusal {
            Refusal::WrongCode { left } => Self::Wrong { left },
            Refusal::Ended(ending) | Refusal::NotNow(LinkStage::Ended(ending)) => Self::NotOpen(Some(ending)),
            Refusal::OtherCaller | Refusal::OtherBrowser => Self::NotOpen(None),
            Refusal::NotNow(_) => Self::NotConfirmed,
        }
    }

    /// What the caller is told.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Off => off(),
            Self::Unproved => unproved(),
            Self::Unreadable => {
                Problem::new(Code::LinkCodeWrong, "A code is eight letters and digits, as in 7KQM-2X9D. It counts as no try.")
            }
            Self::NotOpen(ending) => {
                let why = match ending {
                    None => "No link that you began waits for a code of this person",
                    Some(LinkEnd::Finished) => "This link was finished before",
                    Some(LinkEnd::Replaced) => "A newer link of this person has taken its place",
                    Some(LinkEnd::Expired) => "The link has run out",
                    Some(LinkEnd::Cancelled) => "The person has cancelled the link",
                    Some(LinkEnd::OtherBrowser) => "The link was stopped, since another browser came back from the application",
                    Some(LinkEnd::TooManyRounds) => "The link was stopped after too many tries to prove an account",
                    Some(LinkEnd::TooManyTries) => "The link was stopped after too many wrong codes",
                };
                let text = format!("{why}. Begin with POST /link/start; a link is open for {} minutes.", LIFE.as_secs() / 60);
                let ending = ending.map(LinkEnd::as_str);
                Problem::new(Code::LinkNotOpen, text).with_extra("ending", ending)
            }
            Self::NotConfirmed => Problem::new(
                Code::LinkNotConfirmed,
                "The person has not come to the end of the pages yet; the last one shows the code.",
            ),
            Self::Wrong { left } => Problem::new(
                Code::LinkCodeWrong,
                format!("The code is not the one that the person was shown. Tries left: {left}; then the link is stopped."),
            )
            .with_extra("tries_left", *left),
            Self::Create(CreateFault::Taken { name, .. }) => Problem::new(
                Code::LinkTaken,
                format!(
                    "The account {name} is linked to another person of this site already, and one account is one \
                     person's. The site's administrator can remove that link, or allow both."
                ),
            ),
            Self::Audit(fault) => fault.problem(),
            Self::Create(fault @ CreateFault::OtherAccount { .. }) => {
                Problem::new(Code::LinkTaken, format!("The link was not made: {fault}."))
            }
            Self::Create(CreateFault::Store(fault)) | Self::Store(fault) => store(fault),
            Self::Create(fault @ CreateFault::NoUpstream(_)) => Problem::new(Code::NotFound, fault.to_string()),
            Self::Create(CreateFault::Stopping) | Self::Stopping => Problem::new(
                Code::CredentialUnavailable,
                "The agent is stopping. If the code is not taken any more, let the person begin again.",
            )
            .with_retry_after(10),
        }
    }
}

fn off() -> Problem {
    Problem::new(
        Code::NotFound,
        "People can't link accounts themselves at this site: its agent serves no pages. Its administrator sets them up \
         with [pages], or links the account with `outhaul-agent link create`.",
    )
}

fn unproved() -> Problem {
    Problem::new(
        Code::TrustRequired,
        "Whoever vouches for this caller could link other people's accounts, and here that is the relay alone. Sign \
         the request or come by pass-through; or the site's administrator sets accept-relay-trust = true in [pages].",
    )
}

fn store(fault: &StoreFault) -> Problem {
    tracing::error!(%fault, "a link can't be read or stored");
    Problem::new(
        Code::CredentialUnavailable,
        "The agent can't use its store, so nothing was linked. At the site, its log says why.",
    )
    .with_retry_after(10)
}
