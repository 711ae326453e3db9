//! Why there is no answer.

use std::time::Duration;

use crate::common::limits::ByteSize;
use crate::net::dial::DialFault;
use crate::net::tls::HandshakeFault;

/// Why there is no stream to a host.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// TCP, or the proxy.
    #[error(transparent)]
    Dial(#[from] DialFault),
    /// The way is closed to it, or broken; the text says whose fault that is and what to do.
    #[error("{0}")]
    Closed(String),
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskFault {
    /// It was not sent: the URL.
    #[error("“{url}” can't be asked: {why}")]
    Url {
        /// Scheme, host and port of it.
        url: String,
        /// What to write instead.
        why: &'static str,
    },
    /// It was not sent: no way to the host.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// It was not sent: TLS.
    #[error(transparent)]
    Tls(#[from] HandshakeFault),
    /// Not in time; whether it was sent is not known.
    #[error("{host} did not answer in full within {within:?}")]
    TooSlow {
        /// Whom.
        host: String,
        /// The time it had.
        within: Duration,
    },
    /// The answer is larger than this question's answers are.
    #[error("{host} sent an answer of more than {limit}: it is not what was asked for")]
    TooLarge {
        /// Who.
        host: String,
        /// The bound.
        limit: ByteSize,
    },
    /// The answer is compressed, though that was not asked for.
    #[error("{host} sent an answer in the coding “{coding}”, which was not asked for")]
    Encoded {
        /// Who.
        host: String,
        /// Its `Content-Encoding`.
        coding: String,
    },
    /// The connection broke, or what came is no HTTP; whether the request was acted on is not known.
    #[error("{host} broke the exchange off, or does not speak HTTP/1.1")]
    Broken {
        /// Who.
        host: String,
        /// What the library says.
        source: hyper::Error,
    },
    /// The same within the answer's body.
    #[error("{host} broke its answer off")]
    Cut {
        /// Who.
        host: String,
        /// What the library says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl AskFault {
    /// Whether it is certain that nothing of the request left: then it may be sent again, whatever it is.
    pub fn not_sent(&self) -> bool {
        matches!(self, Self::Url { .. } | Self::Open(_) | Self::Tls(_))
    }
}
