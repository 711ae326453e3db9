//! What `[signed]` says.

use std::time::Duration;

use crate::common::limits::ByteSize;

/// How signed calls are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a signature may count, from `created` to `expires`.
    pub window: Duration,
    /// How far the caller's clock and the agent's may be apart.
    pub clock_skew: Duration,
    /// A request's body up to this size is held whole and judged before any of the call leaves.
    pub hold: ByteSize,
    /// An answer's body up to this size is held whole and signed in its head.
    pub hold_answer: ByteSize,
    /// How many nonces of one caller are remembered at once.
    pub max_nonces: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(300),
            clock_skew: Duration::from_secs(60),
            hold: ByteSize::mib(1),
            hold_answer: ByteSize::mib(1),
            max_nonces: 100_000,
        }
    }
}
