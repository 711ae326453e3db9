//! Outhaul: reach Jira Data Center from the cloud without opening a port.
//!
//! Two programs over one library. The **agent** stands beside Jira, holds an outbound WebSocket to the
//! **relay** and decides which calls may pass; the relay is a pipe with a public address.
//!
//! The house, floor by floor (an upper floor may use a lower one, never the reverse; `tests/architecture.rs`
//! holds the table):
//!
//! - [`common`]: identifiers, secrets, time, limits, problem documents. No input or output.
//! - [`config`], [`telemetry`], [`terminal`], [`tunnel`]: reading files into values; logs and metrics; what both
//!   command lines share; the protocol as a pure state machine.
//! - [`hardening`]: what keeps both programs' memory to themselves.
//! - [`sqlite`]: the thread that both programs' stores stand on.
//! - [`net`], [`identity`]: the only room that opens sockets; keys, enrolment and proofs.
//! - [`agent`] and [`relay`]: the two programs. They never import each other.

pub mod common;
pub mod config;
pub mod hardening;
pub mod identity;
pub mod net;
#[cfg(any(feature = "agent", feature = "relay"))]
pub mod sqlite;
pub mod telemetry;
pub mod terminal;
pub mod tunnel;

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "relay")]
pub mod relay;
