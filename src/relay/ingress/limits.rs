//! The bounds of everything a stranger can do at the public port.

use std::time::Duration;

use crate::common::limits::ByteSize;

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
    /// Time for a request's head; also how long an idle HTTP/1.1 connection is kept.
    pub head_time: Duration,
    /// Bytes of a request's head.
    pub head_size: usize,
    /// Fields of a request's head.
    pub head_fields: usize,
    /// Bytes of a request's body.
    pub body_size: ByteSize,
    /// Time without a byte of a request's body.
    pub body_idle_time: Duration,
    /// Time to an answer's head.
    pub first_byte_time: Duration,
    /// Time without a byte of an answer, from the agent or to the caller.
    pub answer_idle_time: Duration,
    /// How long an HTTP/2 connection without calls is kept.
    pub connection_idle_time: Duration,
    /// Calls at once on an HTTP/2 connection.
    pub http2_streams: u32,
    /// Resets of an HTTP/2 connection that were not yet looked at.
    pub http2_resets: usize,
}
