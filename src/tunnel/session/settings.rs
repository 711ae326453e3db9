//! What both ends agreed on, and how much a peer may ask for.

use std::time::{Duration, Instant};

/// Which end of the tunnel this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opens even streams.
    Relay,
    /// Opens odd streams.
    Agent,
}

/// What both ends agreed on in WELCOME, and this end's own bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many streams the peer may have open here at once; further ones are refused, not an error.
    pub max_streams_in: u32,
    /// How many streams this end may have open at the peer at once.
    pub max_streams_out: u32,
    /// The largest window a stream may grow to. Bytes.
    pub max_window: u32,
    /// What all windows may grow to together, beyond their initial size. Bytes.
    pub window_budget: u64,
    /// A PING this often.
    pub ping_every: Duration,
    /// Dead after so much silence.
    pub dead_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_streams_in: 512,
            max_streams_out: 512,
            max_window: 16 << 20,
            window_budget: 32 << 20,
            ping_every: Duration::from_secs(15),
            dead_after: Duration::from_secs(40),
        }
    }
}

/// How many control frames a peer may still send: a bucket that refills.
#[derive(Debug)]
pub(super) struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    const BURST: u32 = 100;
    const PER_SECOND: u32 = 20;

    pub(super) fn new(now: Instant) -> Self {
        Self { left: Self::BURST, since: now }
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            let refill = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_mul(Self::PER_SECOND);
            self.left = self.left.saturating_add(refill).min(Self::BURST);
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}
