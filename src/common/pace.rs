//! How fast, and how much a day. Time is an argument.

use std::time::{Duration, Instant};

/// So much a second, and so much at once: a bucket that fills by itself.
///
/// Kept is only the time at which it will be full again (generic cell rate algorithm).
#[derive(Debug)]
pub struct Pace {
    a_second: u64,
    burst: u64,
    full_at: Option<Instant>,
}

impl Pace {
    /// Full: `burst` may be taken at once, and `a_second` more each second.
    pub fn new(a_second: u64, burst: u64) -> Self {
        Self { a_second: a_second.max(1), burst: burst.max(1), full_at: None }
    }

    /// Takes so much whatever is left, and says how long to wait before more is taken.
    pub fn take(&mut self, amount: u64, now: Instant) -> Duration {
        let full_at = self.full_at.unwrap_or(now).max(now) + self.time(amount);
        self.full_at = Some(full_at);
        full_at.saturating_duration_since(now).saturating_sub(self.time(self.burst))
    }

    /// Takes one if there is one.
    pub fn try_take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.unwrap_or(now).max(now) + self.time(1);
        let there = full_at.saturating_duration_since(now) <= self.time(self.burst);
        if there {
            self.full_at = Some(full_at);
        }
        there
    }

    fn time(&self, amount: u64) -> Duration {
        let nanoseconds = u128::from(amount) * 1_000_000_000 / u128::from(self.a_second);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX / 4).min(u64::MAX / 4))
    }
}

/// What was used since midnight (UTC). A restart of the program begins anew.
#[derive(Debug, Default)]
pub struct Day {
    number: u64,
    used: u64,
}

impl Day {
    /// Counts what has passed; `false` once that is more than the limit.
    pub fn add(&mut self, amount: u64, limit: u64, unix_seconds: u64) -> bool {
        self.turn(unix_seconds);
        self.used = self.used.saturating_add(amount);
        self.used <= limit
    }

    /// What was used today.
    pub fn used(&mut self, unix_seconds: u64) -> u64 {
        self.turn(unix_seconds);
        self.used
    }

    fn turn(&mut self, unix_seconds: u64) {
        let number = unix_seconds / 86_400;
        if number != self.number {
            *self = Self { number, used: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::clock::Clock;
    use proptest::prelude::*;

    #[test]
    fn a_burst_is_free_and_the_rest_is_paced() {
        let clock = Clock::manual();
        let mut pace = Pace::new(1000, 500);
        assert_eq!(pace.take(500, clock.now()), Duration::ZERO);
        assert_eq!(pace.take(100, clock.now()), Duration::from_millis(100));
        clock.advance(Duration::from_millis(600));
        assert_eq!(pace.take(500, clock.now()), Duration::ZERO, "full again");
        let mut pace = Pace::new(2, 2);
        assert!(pace.try_take(clock.now()) && pace.try_take(clock.now()) && !pace.try_take(clock.now()));
        clock.advance(Duration::from_millis(500));
        assert!(pace.try_take(clock.now()) && !pace.try_take(clock.now()));
    }

    #[test]
    fn a_day_ends_at_midnight() {
        let mut day = Day::default();
        let noon = 20_000 * 86_400 + 43_200;
        assert!(day.add(60, 100, noon) && day.add(40, 100, noon) && !day.add(1, 100, noon));
        assert_eq!(day.used(noon), 101);
        assert_eq!(day.used(noon + 43_200), 0);
        assert!(day.add(100, 100, noon + 43_200));
    }

    proptest! {
        #[test]
        fn nobody_gets_ahead_of_the_pace(takes in proptest::collection::vec((1_u64..100_000, 0_u64..50), 1..50)) {
            let clock = Clock::manual();
            let start = clock.now();
            let (rate, burst) = (100_000, 50_000);
            let mut pace = Pace::new(rate, burst);
            let mut taken = 0_u64;
            for (amount, idle) in takes {
                clock.advance(Duration::from_millis(idle));
                let wait = pace.take(amount, clock.now());
                taken += amount;
                clock.advance(wait);
                let passed = u64::try_from((clock.now() - start).as_micros()).unwrap();
                prop_assert!(taken <= burst + passed * rate / 1_000_000 + 1, "{taken} after {passed} µs");
            }
        }
    }
}
