//! What a caller hears while no record can be written.

use crate::agent::store::StoreFault;
use crate::common::problem::{Code, Problem};

/// Why a call can't be recorded, so that it is not made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditFault {
    /// The store can't be written.
    #[error("the audit can't be written: {0}")]
    Store(StoreFault),
    /// More waits to be written than may.
    #[error("the audit can't be written as fast as records come")]
    Full,
    /// The disk does not answer.
    #[error("the audit was not written in time: look at the disk")]
    TooSlow,
    /// The agent stops.
    #[error("the audit is closed: the agent stops")]
    Closed,
}

impl AuditFault {
    /// The refusal. The disk's own words are for the administrator, not for callers.
    pub fn problem(&self) -> Problem {
        let detail = "The site's agent can't record calls now, so it makes none that could change something. \
                      Its administrator finds the reason in `outhaul-agent status`.";
        Problem::new(Code::AuditUnavailable, detail).with_retry_after(5)
    }
}
