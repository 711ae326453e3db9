//! How much is remembered, and how long.

use std::time::Duration;

use crate::common::limits::ByteSize;

/// What `[idempotency]` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a key is remembered, counted from the end of its call.
    pub keep: Duration,
    /// Keys of all callers, calls under way among them.
    pub max_keys: usize,
    /// Keys of one caller.
    pub max_keys_per_caller: usize,
    /// A larger answer is not kept; its key is.
    pub max_answer: ByteSize,
    /// All kept answers together, those still arriving among them.
    pub max_answers: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(24 * 3600),
            max_keys: 100_000,
            max_keys_per_caller: 50_000,
            max_answer: ByteSize::kib(256),
            max_answers: ByteSize::mib(64),
        }
    }
}
