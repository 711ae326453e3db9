//! The bounds of everything a stranger can do at the public port.

use std::time::Duration;

use crate::common::limits::ByteSize;
use crate::net::http_server;

/// What `[limits]` says of connections, heads and bodies.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one IPv4 address or one IPv6 /64.
    pub connections_per_address: u32,
    /// Time for a TLS handshake.
    pub tls_handshake_time: Duration,
    /// Agents in their handshake at once.
    pub agent_handshakes: usize,
    /// Time for an agent's handshake.
    pub agent_handshake_time: Duration,
    /// Bounds of a connection, and of the heads that come over it.
    pub http: http_server::Limits,
    /// Bytes of a request's body.
    pub body_size: ByteSize,
    /// Time without a byte of a request's body.
    pub body_idle_time: Duration,
    /// Time without a byte either way of a connection that passes unopened.
    pub pass_through_idle_time: Duration,
    /// Time to an answer's head.
    pub first_byte_time: Duration,
}
