//! What goes wrong between the agent and an upstream, and what the upstream may have seen of the call.

use std::time::Duration;

use super::body::BodyFault;

/// Why an upstream can't be set up.
#[derive(Debug, thiserror::Error)]
#[error("upstream {upstream}: {reason}")]
pub struct SetupFault {
    /// Its name.
    pub upstream: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// Why a call got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendFault {
    /// No connection came about; nothing was sent.
    #[error("no connection to {node}: {reason}")]
    Connect {
        /// Host and port.
        node: String,
        /// The system's words.
        reason: String,
    },
    /// The TLS handshake failed; nothing was sent.
    #[error("TLS with {node} failed: {reason}")]
    Tls {
        /// Host and port.
        node: String,
        /// The library's words.
        reason: String,
    },
    /// The connection ended before anything was sent on it.
    #[error("the connection to {node} ended before the request was sent: {reason}")]
    Unsent {
        /// Host and port.
        node: String,
        /// The library's words.
        reason: String,
    },
    /// All connections are in use, and the wait was too long; nothing was sent.
    #[error("all {0} connections are in use")]
    Busy(u32),
    /// The request can't be written as HTTP/1.1; nothing was sent.
    #[error("the request can't be sent: {0}")]
    Unsendable(String),
    /// The connection broke after the request, or part of it, had left.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// What came back is no HTTP answer that can be passed on.
    #[error("the answer can't be read: {0}")]
    Answer(String),
    /// No answer within this time after the request was sent.
    #[error("no answer within {0:?}")]
    TooSlow(Duration),
    /// The caller's body stood still for this long.
    #[error("the caller sent nothing for {0:?}")]
    CallerTooSlow(Duration),
    /// The caller's body broke off, or was not what it should be.
    #[error(transparent)]
    Body(BodyFault),
}

impl SendFault {
    /// The upstream has certainly seen nothing: another node may be tried, or the same later.
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Tls { .. }
                | Self::Unsent { .. }
                | Self::Busy(_)
                | Self::Unsendable(_)
        )
    }
}

/// Why an answer's body breaks off.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AnswerFault {
    /// The upstream broke off.
    #[error("the upstream broke its answer off: {0}")]
    Broken(String),
    /// The upstream stood still for this long.
    #[error("the upstream's answer stood still for {0:?}")]
    Stalled(Duration),
}

/// An error with its causes, as one sentence.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
