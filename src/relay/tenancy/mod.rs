//! What one site may take of the relay: calls at once and calls a second, and the same of connections that pass
//! unopened.
//!
//! Entry points: [`Quota::admit`] and [`Quota::admit_connection`], asked by `ingress` before a call or a connection
//! looks for a tunnel. The bytes a site may have
//! in flight are bounded by the window budget of its tunnels. Holds no names and no addresses.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock as _;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Rate, RateLimiter};

use crate::common::clock::Clock;
use crate::common::problem::{Code, Problem};

/// The bounds of a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many calls may be under way.
    pub calls_at_once: u32,
    /// How many calls may begin in a second, on average.
    pub calls_a_second: NonZeroU32,
    /// How many may begin at the same moment.
    pub burst: NonZeroU32,
    /// How many passed connections there may be.
    pub connections_at_once: u32,
    /// How many may begin in a second, on average and at the same moment.
    pub connections_a_second: NonZeroU32,
}

/// One site's account.
pub struct Quota {
    under_way: Arc<AtomicU32>,
    calls_at_once: u32,
    rate: RateLimiter<NotKeyed, InMemoryState, Monotonic>,
    connections: Arc<AtomicU32>,
    connections_at_once: u32,
    connection_rate: RateLimiter<NotKeyed, InMemoryState, Monotonic>,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// Too many at once.
    AtOnce,
    /// Too many a second.
    Rate,
}

/// A call or connection that was let in. Dropped when it ends.
#[derive(Debug)]
pub struct Admitted(Arc<AtomicU32>);

impl Quota {
    /// A fresh account.
    pub fn new(limits: Limits, clock: Clock) -> Self {
        let rate = Rate::per_second(limits.calls_a_second).allow_burst(limits.burst);
        let connection_rate = Rate::per_second(limits.connections_a_second);
        Self {
            connections: Arc::default(),
            connections_at_once: limits.connections_at_once,
            connection_rate: RateLimiter::direct_with_clock(connection_rate, Monotonic(clock.clone())),
            under_way: Arc::default(),
            calls_at_once: limits.calls_at_once,
            rate: RateLimiter::direct_with_clock(rate, Monotonic(clock)),
        }
    }

    /// Lets a call in, or says when to come again.
    pub fn admit(&self) -> Result<Admitted, Problem> {
        if let Err(not_until) = self.rate.check() {
            let wait = not_until.wait_time_from(self.rate.clock().now());
            return Err(Problem::new(
                Code::RateLimited,
                "This site's calls come faster than the relay's operator allows. Wait as Retry-After says; if \
                 this is the normal load, ask the operator to raise `site-calls-a-second`.",
            )
            .with_retry_after(whole_seconds(wait)));
        }
        let admitted = Admitted(self.under_way.clone());
        // The guard counts even where it refuses: its drop takes the same one off again.
        if self.under_way.fetch_add(1, Ordering::AcqRel) >= self.calls_at_once {
            return Err(Problem::new(
                Code::RateLimited,
                "As many calls are under way for this site as the relay's operator allows at once. Send fewer in \
                 parallel; if this is the normal load, ask the operator to raise `site-calls-at-once`.",
            )
            .with_retry_after(1));
        }
        Ok(admitted)
    }

    /// Lets a connection in that passes unopened.
    pub fn admit_connection(&self) -> Result<Admitted, Crowded> {
        self.connection_rate.check().map_err(|_| Crowded::Rate)?;
        let admitted = Admitted(self.connections.clone());
        if self.connections.fetch_add(1, Ordering::AcqRel) >= self.connections_at_once {
            return Err(Crowded::AtOnce);
        }
        Ok(admitted)
    }

    /// How many passed connections there are.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Acquire)
    }

    /// How many calls are under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Quota {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Quota({} of {})", self.under_way(), self.calls_at_once)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The house's clock as the rate limiter wants it.
#[derive(Debug, Clone)]
struct Monotonic(Clock);

impl governor::clock::Clock for Monotonic {
    type Instant = Instant;
    fn now(&self) -> Instant {
        self.0.now()
    }
}

fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(calls_at_once: u32, a_second: u32, burst: u32) -> (Quota, Clock) {
        let clock = Clock::manual();
        let limits = Limits {
            calls_at_once,
            calls_a_second: NonZeroU32::new(a_second).unwrap(),
            burst: NonZeroU32::new(burst).unwrap(),
            connections_at_once: calls_at_once,
            connections_a_second: NonZeroU32::new(a_second).unwrap(),
        };
        (Quota::new(limits, clock.clone()), clock)
    }

    #[test]
    fn calls_at_once_are_bounded_and_given_back() {
        let (quota, _clock) = quota(2, 1000, 1000);
        let first = quota.admit().unwrap();
        let _second = quota.admit().unwrap();
        let refused = quota.admit().unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(1)));
        assert_eq!(quota.under_way(), 2);
        drop(first);
        let _third = quota.admit().unwrap();
        assert_eq!(quota.under_way(), 2);
    }

    #[test]
    fn connections_have_bounds_of_their_own() {
        let (quota, clock) = quota(2, 3, 3);
        let first = quota.admit_connection().unwrap();
        let _second = quota.admit_connection().unwrap();
        assert_eq!(quota.admit_connection().unwrap_err(), Crowded::AtOnce);
        assert_eq!(quota.admit_connection().unwrap_err(), Crowded::Rate);
        assert_eq!((quota.connections(), quota.under_way()), (2, 0));
        drop(first);
        clock.advance(Duration::from_secs(1));
        let _third = quota.admit_connection().unwrap();
        assert_eq!(quota.connections(), 2);
    }

    #[test]
    fn calls_a_second_are_bounded_and_come_back_with_time() {
        let (quota, clock) = quota(1000, 2, 4);
        for _ in 0..4 {
            quota.admit().unwrap();
        }
        let refused = quota.admit().unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(1)));
        clock.advance(Duration::from_millis(500));
        quota.admit().unwrap();
        assert!(quota.admit().is_err());
        assert_eq!(quota.under_way(), 0, "refused calls count for nothing");
    }
}
