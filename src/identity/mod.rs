//! Keys, enrolment and proofs, for both ends.
//!
//! [`keys`] makes, stores and reads the Ed25519 keys of agents and relays; [`token`] is what an operator hands to
//! an administrator; [`api_key`] is what a caller carries; [`handshake`] is the pure half of how agent and relay
//! prove themselves to each other; [`oauth`] is the client's half of OAuth 2.0; [`signatures`] judges signed calls;
//! [`jws`], [`jwks`] and [`claims`] verify the tokens of issuers. Nothing here opens a socket.

pub mod api_key;
pub mod audit_head;
pub mod claims;
pub mod encoded;
pub mod handshake;
pub mod jwks;
pub mod jws;
pub mod keys;
pub mod oauth;
#[cfg(feature = "agent")]
pub mod signatures;
pub mod token;
