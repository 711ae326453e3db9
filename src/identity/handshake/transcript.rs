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

/// The hash that is signed: label and parts, each behind its length (u32), then the mode: 1 and the exporter, or 0.
pub(super) fn digest(label: Label, parts: &[&[u8]], exporter: Option<&Exporter>) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(1024);
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    match exporter {
        Some(exporter) => {
            bytes.push(1);
            bytes.extend_from_slice(&exporter.0);
        }
        None => bytes.push(0),
    }
    Encoded::sha256(&[&bytes]).0
}

/// The relay's view of the TLS session, as CHALLENGE carries it: tells the agent whether both see the same one.
pub(super) fn binding(exporter: &Exporter, hello: &Hello, nonce: &Encoded<32>) -> Encoded<32> {
    Encoded::sha256(&[b"outhaul binding v1", &exporter.0, &hello.nonce.0, &nonce.0])
}

/// Whether the relay sees the same TLS session as the agent.
pub(super) fn same_session(challenge: &Challenge, hello: &Hello, exporter: Option<&Exporter>) -> bool {
    match (challenge.binding, exporter) {
        (Some(theirs), Some(exporter)) => theirs == binding(exporter, hello, &challenge.nonce),
        _ => false,
    }
}
