//! Why there is no tunnel, and how soon to try again.

use std::time::Duration;

use crate::agent::store::StoreFault;
use crate::identity::encoded::RandomFault;
use crate::identity::handshake::agent::Distrust;
use crate::identity::handshake::messages::{Refuse, RefuseCode};
use crate::net::dial::DialFault;
use crate::net::inner_tls::StartFault;
use crate::net::tls::HandshakeFault;
use crate::net::websocket::{FrameError, OpenFault};

/// Why a connect came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFault {
    /// No TCP connection.
    #[error(transparent)]
    Dial(#[from] DialFault),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] HandshakeFault),
    /// No WebSocket.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// The handshake broke off.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Something opens TLS on the way, and there is no session inside.
    #[error(
        "TLS between agent and relay is opened by something in between, and {0}; exempt the relay's host from \
         inspection"
    )]
    Inner(#[from] StartFault),
    /// The relay is not to be trusted.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// The relay refused.
    #[error("the relay refused this agent: {0}. {remedy}", remedy = .0.code.remedy())]
    Refused(Refuse),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] RandomFault),
    /// The TLS session gave no keying material.
    #[error("the TLS session gives no exporter")]
    Exporter(#[from] rustls::Error),
    /// It took too long altogether.
    #[error("no tunnel came to be within {0:?}")]
    TooSlow(Duration),
}

impl ConnectFault {
    /// Whether only a person can change the outcome, so that asking often helps nobody.
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Distrust(_) | Self::Store(_) => true,
            Self::Inner(StartFault::Tls(fault)) => fault.wrong_key,
            Self::Refused(refuse) => refuse.code.needs_a_person(),
            _ => false,
        }
    }

    /// What the relay says about when to come again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refuse) => refuse.retry_after.map(|seconds| Duration::from_secs(seconds.into())),
            _ => None,
        }
    }

    /// What to tell the relay before leaving, if it is worth telling.
    pub(super) fn farewell(&self) -> Option<Refuse> {
        let code = match self {
            Self::Distrust(Distrust::Intercepted) => RefuseCode::Unbound,
            Self::Distrust(Distrust::Version(_)) => RefuseCode::Version,
            Self::Distrust(_) => RefuseCode::BadProof,
            _ => return None,
        };
        Some(Refuse::new(code, "the agent will not go on"))
    }
}
