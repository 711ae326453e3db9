//! What a signature covers.

use super::messages::{Challenge, Hello};
use crate::identity::encoded::Encoded;

/// The keying material that both ends of one TLS session share and nobody else has (RFC 9266).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Exporter(pub [u8; 32]);

impl std::fmt::Debug for Exporter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Exporter(…)")
    }
}

/// Which TLS session a handshake runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// The one under the WebSocket: nothing opens it on the way.
    Outer,
    /// One inside the WebSocket, whose own TLS is opened on the way.
    Inner,
}

impl Layer {
    /// As in what is signed.
    fn number(self) -> u8 {
        match self {
            Self::Outer => 1,
            Self::Inner => 2,
        }
    }

    /// For status pages and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Outer => "direct",
            Self::Inner => "inner-tls",
        }
    }
}

/// The TLS session that a handshake is bound to, as one end sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Which one.
    pub layer: Layer,
    /// Its exporter.
    pub exporter: Exporter,
}

impl Session {
    /// The session under the WebSocket.
    pub fn outer(exporter: [u8; 32]) -> Self {
        Self { layer: Layer::Outer, exporter: Exporter(exporter) }
    }

    /// The session inside.
    pub fn inner(exporter: [u8; 32]) -> Self {
        Self { layer: Layer::Inner, exporter: Exporter(exporter) }
    }
}

/// Which side and which step signs: a signature for one never fits another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    Relay,
    Agent,
    Welcome,
}

impl Label {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Relay => b"outhaul relay proof v1",
            Self::Agent => b"outhaul agent proof v1",
            Self::Welcome => b"outhaul relay welcome v1",
        }
    }
}

/// The hash that is signed: label and parts, each behind its length (u32), then the layer and its exporter.
pub(super) fn digest(label: Label, parts: &[&[u8]], session: &Session) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(1024);
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes.push(session.layer.number());
    bytes.extend_from_slice(&session.exporter.0);
    Encoded::sha256(&[&bytes]).0
}

/// The relay's view of the TLS session, as CHALLENGE carries it: tells the agent whether both see the same one.
pub(super) fn binding(exporter: &Exporter, hello: &Hello, nonce: &Encoded<32>) -> Encoded<32> {
    Encoded::sha256(&[b"outhaul binding v1", &exporter.0, &hello.nonce.0, &nonce.0])
}

/// Whether the relay sees the same TLS session as the agent.
pub(super) fn same_session(challenge: &Challenge, hello: &Hello, exporter: &Exporter) -> bool {
    challenge.binding == Some(binding(exporter, hello, &challenge.nonce))
}
