//! How often a rule may be used, by each caller. Time is an argument.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::common::ids::CallerName;

/// So many calls in so long, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    unit: Unit,
    burst: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no rate: write a number from 1 to {MAX_COUNT} and s, m or h, as in \"60/m\"")]
pub struct RateFault(String);

/// How much of their rates the callers have used. One for each site; it outlives a reload, so that an unchanged
/// rule goes on counting.
#[derive(Debug, Default)]
pub struct Meters(Mutex<HashMap<Key, Instant>>);

/// A rule's fingerprint, and the caller.
type Key = (u64, Option<CallerName>);

impl Rate {
    /// With another number of calls that may come at once; the whole count may unless this says otherwise.
    #[must_use]
    pub fn with_burst(mut self, burst: u32) -> Self {
        self.burst = burst.clamp(1, MAX_COUNT);
        self
    }

    fn interval(self) -> Duration {
        self.unit.duration() / self.count
    }
}

impl Meters {
    /// Takes one call, or says how long to wait for the next one.
    ///
    /// Generic cell rate algorithm: kept is only the time at which all calls so far would have been earned.
    pub(super) fn take(
        &self,
        rule: u64,
        rate: Rate,
        caller: Option<&CallerName>,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (rule, caller.cloned());
        if meters.len() >= MAX_METERS && !meters.contains_key(&key) {
            // One whose time has come says no more than none.
            meters.retain(|_, earned| *earned > now);
            if meters.len() >= MAX_METERS {
                return Err(Duration::from_secs(1));
            }
        }
        let earned = meters.entry(key).or_insert(now);
        let from = (*earned).max(now);
        let ahead = rate.interval() * (rate.burst - 1);
        let wait = from.saturating_duration_since(now).saturating_sub(ahead);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        *earned = from + rate.interval();
        Ok(())
    }
}

impl FromStr for Rate {
    type Err = RateFault;
    fn from_str(text: &str) -> Result<Self, RateFault> {
        let fault = || RateFault(text.chars().take(40).collect());
        let (count, unit) = text.split_once('/').ok_or_else(fault)?;
        let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| is_number && (1..=MAX_COUNT).contains(count));
        let unit = match unit {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            _ => return Err(fault()),
        };
        let count = count.ok_or_else(fault)?;
        Ok(Self { count, unit, burst: count })
    }
}

impl Unit {
    fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => 's',
            Unit::Minute => 'm',
            Unit::Hour => 'h',
        };
        write!(formatter, "{}/{unit}", self.count)?;
        if self.burst != self.count {
            write!(formatter, ", {} at once", self.burst)?;
        }
        Ok(())
    }
}

/// No rate has a larger number.
pub const MAX_COUNT: u32 = 1_000_000;
/// Rules with a rate times their callers, at most; beyond, calls of such rules are refused.
const MAX_METERS: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::clock::Clock;
    use proptest::prelude::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_passes_and_then_one_by_one() {
        let (meters, start) = (Meters::default(), Clock::system().now());
        let take =
            |millis| meters.take(1, rate("60/m").with_burst(3), None, start + Duration::from_millis(millis));
        for _ in 0..3 {
            assert_eq!(take(0), Ok(()));
        }
        assert_eq!(take(0), Err(Duration::from_secs(1)));
        assert_eq!(take(400), Err(Duration::from_millis(600)), "what was refused costs nothing");
        assert_eq!(take(1000), Ok(()));
        assert!(take(1000).is_err());
        for _ in 0..3 {
            assert_eq!(take(100_000), Ok(()));
        }
        assert!(take(100_000).is_err(), "no more is saved up than the burst");
    }

    #[test]
    fn callers_and_rules_count_apart() {
        let (meters, now) = (Meters::default(), Clock::system().now());
        let (one, two): (CallerName, CallerName) = ("one".parse().unwrap(), "two".parse().unwrap());
        for (rule, caller) in [(1, Some(&one)), (1, Some(&two)), (2, Some(&one)), (1, None)] {
            assert_eq!(meters.take(rule, rate("1/h"), caller, now), Ok(()));
            assert_eq!(meters.take(rule, rate("1/h"), caller, now), Err(Duration::from_secs(3600)));
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_forgets_what_says_nothing() {
        let (meters, now) = (Meters::default(), Clock::system().now());
        for rule in 0..MAX_METERS as u64 {
            assert_eq!(meters.take(rule, rate("1/s"), None, now), Ok(()));
        }
        assert!(meters.take(u64::MAX, rate("1/s"), None, now).is_err());
        assert!(meters.take(0, rate("1/s"), None, now + Duration::from_secs(1)).is_ok());
        assert!(meters.take(u64::MAX, rate("1/s"), None, now + Duration::from_secs(2)).is_ok());
        assert_eq!(meters.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn rates_read_as_they_show() {
        assert_eq!(rate("60/m").to_string(), "60/m");
        assert_eq!(rate("5/s").with_burst(1).to_string(), "5/s, 1 at once");
        for bad in ["", "60", "0/m", "-1/m", "+1/m", "1/d", "1 /m", "9999999/s", "60/ m", "/m"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(count in 1_u32..20, burst in 1_u32..20, steps in proptest::collection::vec(0_u64..3000, 1..80)) {
            let (meters, start) = (Meters::default(), Clock::system().now());
            let rate = rate(&format!("{count}/s")).with_burst(burst);
            let (mut at, mut passed) = (0, 0_u64);
            for step in steps {
                at += step;
                if meters.take(1, rate, None, start + Duration::from_millis(at)).is_ok() { passed += 1; }
                prop_assert!(passed <= u64::from(burst) + at * u64::from(count) / 1000 + 1);
            }
        }
    }
}
