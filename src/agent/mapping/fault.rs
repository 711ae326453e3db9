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

    /// What the caller is told, for a call that was not sent. The reason stays here: it may name a node, or hold the
    /// words of whatever answered, and what a caller is told passes the relay.
    pub fn problem(&self) -> Problem {
        match self {
            Self::LinkRequired => Problem::new(
                Code::LinkRequired,
                "The rule makes this call as the person it is for, and this person has no account linked here. \
                 POST /link/start with the same Outhaul-Act-As gives an address where they link it; or the site's \
                 administrator does it with `outhaul-agent link create`.",
            ),
            Self::NeedsReauth(_) => Problem::new(
                Code::NeedsReauth,
                "The person's credential is no longer valid, so the call was not made. Let them link their account \
                 again, from POST /link/start on; no other account is used instead. At the site, `outhaul-agent link \
                 list` says why.",
            )
            .with_status(StatusCode::FORBIDDEN)
            .with_outcome(Outcome::NotSent),
            Self::Suspended(_) => Problem::new(
                Code::UserSuspended,
                "The person's account at the application can't be used, so the call was not made. If it is active \
                 again, let them link it again. At the site, `outhaul-agent link list` says why.",
            ),
            Self::Unavailable { retry_after, .. } => Problem::new(
                Code::CredentialUnavailable,
                "The person's access token can't be renewed for now, so the call was not made. Try again. At the \
                 site, the agent's log says why, and `outhaul-agent status` shows how the application is.",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_reason_leaves_the_site() {
        let reason: Arc<str> = "no connection to jira-node-2.corp.example:8443: refused".into();
        for fault in [
            MappingFault::LinkRequired,
            MappingFault::NeedsReauth(Arc::clone(&reason)),
            MappingFault::Suspended(Arc::clone(&reason)),
            MappingFault::unavailable(reason, 7),
            MappingFault::Store(StoreFault::Disk("/var/lib/jira-node-2".to_owned())),
        ] {
            let problem = fault.problem();
            assert!(!format!("{problem:?}").contains("jira-node-2"), "{problem:?}");
        }
    }
}
