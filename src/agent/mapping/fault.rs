//! Why a call can't be made as a person, and what its caller is told.

use std::sync::Arc;

use http::StatusCode;

use crate::agent::store::StoreFault;
use crate::common::problem::{Code, Outcome, Problem};

/// Why a call can't be made as a person.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MappingFault {
    /// The person has no account at this application.
    #[error("this person has not linked an account")]
    LinkRequired,
    /// Their credential is dead.
    #[error("this person's credential is no longer valid: {0}")]
    NeedsReauth(Arc<str>),
    /// Their account was switched off.
    #[error("this person's account is suspended: {0}")]
    Suspended(Arc<str>),
    /// Their credential can't be renewed for now.
    #[error("this person's credential can't be renewed for now: {reason}")]
    Unavailable {
        /// Why.
        reason: Arc<str>,
        /// When it may work, in seconds.
        retry_after: u32,
    },
    /// The store.
    #[error("the store of mappings can't be used: {0}")]
    Store(#[from] StoreFault),
}

impl MappingFault {
    pub(super) fn unavailable(reason: impl Into<Arc<str>>, retry_after: u32) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: retry_after.max(1) }
    }

    /// What the caller is told, for a call that was not sent.
    pub fn problem(&self) -> Problem {
        match self {
            Self::LinkRequired => Problem::new(
                Code::LinkRequired,
                "The rule makes this call as the person it is for, and this person has no account linked here. \
                 POST /link/start with the same Outhaul-Act-As gives an address where they link it; or the site's \
                 administrator does it with `outhaul-agent link create`.",
            ),
            Self::NeedsReauth(reason) => Problem::new(
                Code::NeedsReauth,
                format!(
                    "The person's credential is no longer valid ({reason}), so the call was not made. Let them link \
                     their account again, from POST /link/start on; no other account is used instead."
                ),
            )
            .with_status(StatusCode::FORBIDDEN)
            .with_outcome(Outcome::NotSent),
            Self::Suspended(reason) => Problem::new(
                Code::UserSuspended,
                format!(
                    "The person's account at the application can't be used ({reason}), so the call was not made. If \
                     it is active again, let them link it again."
                ),
            ),
            Self::Unavailable { reason, retry_after } => Problem::new(
                Code::CredentialUnavailable,
                format!(
                    "The person's access token can't be renewed for now ({reason}), so the call was not made. Try \
                     again. At the site, `outhaul-agent status` shows how the application is."
                ),
            )
            .with_retry_after(*retry_after),
            Self::Store(_) => Problem::new(
                Code::CredentialUnavailable,
                "The agent can't read its store of mappings, so nothing was sent. At the site, its log says why.",
            )
            .with_retry_after(10),
        }
    }
}
