//! When a token is renewed, and how long to wait after a failure. Pure: time and chance are arguments.

use std::time::{Duration, Instant};

/// The two moments in an access token's life that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// From here on it is renewed in the background, if its person is about.
    pub renew: Instant,
    /// From here on it is not used: a call takes time, and clocks differ.
    pub stop: Instant,
}

impl Ends {
    /// For a token with so much life left. `chance`, in `0.0..1.0`, spreads people whose tokens began together.
    pub fn of(now: Instant, left: Duration, chance: f64) -> Self {
        // Short lives keep their proportions.
        let lead = (LEAD + LEAD.mul_f64(chance.clamp(0.0, 1.0)))
            .min(left.mul_f64(0.25 + 0.25 * chance.clamp(0.0, 1.0)));
        let margin = MARGIN.min(left / 10);
        Self { renew: now + left.saturating_sub(lead), stop: now + left.saturating_sub(margin) }
    }
}

/// How long to wait after so many failures in a row.
pub fn pause(failures: u32, chance: f64) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    most.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

const LEAD: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::clock::Clock;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_renewed_a_minute_or_two_ahead_and_not_used_at_its_very_end() {
        let now = Clock::manual().now();
        let hour = Duration::from_secs(3600);
        for (left, chance, renew, stop) in [
            (hour, 0.0, 3540, 3595),
            (hour, 1.0, 3480, 3595),
            (Duration::from_secs(100), 0.0, 75, 95),
            (Duration::from_secs(20), 1.0, 10, 18),
            (Duration::ZERO, 0.5, 0, 0),
        ] {
            let ends = Ends::of(now, left, chance);
            assert_eq!((ends.renew - now).as_secs(), renew, "{left:?}");
            assert_eq!((ends.stop - now).as_secs(), stop, "{left:?}");
        }
    }

    proptest! {
        #[test]
        fn every_pause_is_bounded(failures in 0u32.., chance in -1.0f64..2.0) {
            let pause = pause(failures, chance);
            prop_assert!(pause >= Duration::from_secs(1) && pause <= LONGEST_PAUSE);
        }

        #[test]
        fn a_token_is_renewed_before_it_is_not_used(left in 0u64..400_000_000, chance in 0.0f64..1.0) {
            let now = Clock::manual().now();
            let left = Duration::from_secs(left);
            let ends = Ends::of(now, left, chance);
            prop_assert!(now <= ends.renew && ends.renew <= ends.stop && ends.stop <= now + left);
        }
    }
}
