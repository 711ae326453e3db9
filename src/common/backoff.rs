//! How long to wait before the next attempt. Pure: the caller gives elapsed time and chance.

use std::time::Duration;

/// The shape of a retry that never gives up: quick while an outage is young, then spread out.
///
/// In the first [`Backoff::EAGER_FOR`] of an outage each delay is 0.25 to 1 s; afterwards it is drawn from the
/// whole range up to a cap that doubles from 1 s to [`Backoff::CAP`] ("full jitter"), so that many agents do
/// not return in step.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    late_attempts: u32,
}

impl Backoff {
    /// How long an outage counts as young.
    pub const EAGER_FOR: Duration = Duration::from_secs(60);
    /// No delay is longer, but for a peer's own hint.
    pub const CAP: Duration = Duration::from_secs(30);

    /// The delay before the next attempt, given how long the outage has lasted and a `chance` in `0.0..1.0`.
    pub fn next(&mut self, outage: Duration, chance: f64) -> Duration {
        let chance = chance.clamp(0.0, 1.0);
        if outage < Self::EAGER_FOR {
            return Duration::from_millis(250) + Duration::from_millis(750).mul_f64(chance);
        }
        self.late_attempts = self.late_attempts.saturating_add(1);
        let cap = Duration::from_secs(1 << self.late_attempts.min(5)).min(Self::CAP);
        // A floor keeps an unlucky draw from hammering a relay that is still down.
        Duration::from_millis(250) + cap.saturating_sub(Duration::from_millis(250)).mul_f64(chance)
    }

    /// Forgets the outage: call it once a connection has proved itself.
    pub fn reset(&mut self) {
        self.late_attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_young_outage_is_retried_within_a_second() {
        let mut backoff = Backoff::default();
        for second in 0..60 {
            let delay = backoff.next(Duration::from_secs(second), 0.999);
            assert!(delay >= Duration::from_millis(250) && delay <= Duration::from_secs(1), "{delay:?}");
        }
    }

    #[test]
    fn an_old_outage_spreads_up_to_the_cap_and_no_further() {
        let mut backoff = Backoff::default();
        let old = Duration::from_secs(3600);
        assert!(backoff.next(old, 1.0) <= Duration::from_secs(2));
        for _ in 0..100 {
            backoff.next(old, 0.5);
        }
        assert_eq!(backoff.next(old, 1.0), Backoff::CAP);
        backoff.reset();
        assert!(backoff.next(old, 1.0) <= Duration::from_secs(2));
    }

    proptest! {
        #[test]
        fn every_delay_is_bounded(outage in 0u64..1_000_000, chance in -1.0f64..2.0, attempts in 0usize..80) {
            let mut backoff = Backoff::default();
            for _ in 0..attempts { backoff.next(Duration::from_secs(outage), 0.5); }
            let delay = backoff.next(Duration::from_secs(outage), chance);
            prop_assert!(delay >= Duration::from_millis(250) && delay <= Backoff::CAP);
        }
    }
}
