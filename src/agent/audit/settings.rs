//! `[audit]` of the configuration.

use std::time::Duration;

use crate::common::limits::ByteSize;

/// How long records are kept, and what happens while none can be written. It can't be turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// `keep`: older records are removed.
    pub keep: Duration,
    /// `max-size`: the oldest are removed beyond it, however young.
    pub max_size: ByteSize,
    /// `when-unavailable`.
    pub when_unavailable: WhenUnavailable,
}

/// Which calls are refused while no record can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenUnavailable {
    /// Calls that may change something.
    #[default]
    RefuseWrites,
    /// All.
    Refuse,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(400 * 24 * 3600),
            max_size: ByteSize::mib(10 << 10),
            when_unavailable: WhenUnavailable::default(),
        }
    }
}
