//! How agent and relay prove themselves to each other: pure code for both ends.
//!
//! ```text
//! agent                          relay
//!   HELLO      ───────────────▶          who, for what, a nonce
//!              ◀───────────────  CHALLENGE  the relay's key, a nonce, its view of the TLS session, signed
//!   PROOF      ───────────────▶          join state or enrolment secret, signed
//!              ◀───────────────  WELCOME    limits and the next join state, signed
//!   CONFIRM    ───────────────▶          the join state is on disk
//! ```
//!
//! Either side may stop with REFUSE. Every signature covers all bytes before it ([`transcript`]) and the exporter
//! of the TLS session (RFC 9266), so that a proof can't be carried over to another session. Each step is a type
//! that gives the next: [`agent::Start`] and [`relay::Opened`] are where the two ends begin. The caller moves the
//! payloads in frames and looks things up; here nothing waits, nothing is stored, and no clock is read.

pub mod agent;
pub mod join;
pub mod messages;
pub mod relay;
pub mod transcript;

#[cfg(test)]
mod tests;
