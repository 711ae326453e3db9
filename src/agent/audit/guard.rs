//! Keeps a clock that jumped ahead from taking the whole audit with it: records go by age only while the wall clock
//! goes on as it should. Pure.

use std::time::{Duration, Instant};

/// Watches how the wall clock goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClockGuard {
    /// The wall clock (milliseconds since 1970) and the monotonic one when they were looked at last.
    seen: Option<(i64, Instant)>,
    /// Nothing goes by age until then.
    held: Option<Instant>,
}

impl ClockGuard {
    /// At the start: the last thing that is known of the clock is from this time, if anything is.
    pub(super) fn begin(last: Option<i64>, wall: i64, now: Instant) -> Self {
        let away = last.map_or(0, |last| wall.saturating_sub(last));
        let held = (away > milliseconds(AWAY)).then(|| now + HOLD);
        Self { seen: Some((wall, now)), held }
    }

    /// Whether records may be removed for their age now.
    pub(super) fn look(&mut self, wall: i64, now: Instant) -> bool {
        if let Some((before, at)) = self.seen.replace((wall, now)) {
            let ahead =
                wall.saturating_sub(before).saturating_sub(milliseconds(now.saturating_duration_since(at)));
            if ahead > milliseconds(JUMP) {
                self.held = Some(now + HOLD);
                tracing::warn!(
                    seconds = ahead / 1000,
                    "the clock was set ahead: no audit record is removed for its age within a day. Set it right"
                );
            }
        }
        if self.held.is_some_and(|until| now >= until) {
            self.held = None;
        }
        self.held.is_none()
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// An agent that was away for longer may have come back with a wrong clock.
const AWAY: Duration = Duration::from_secs(30 * 24 * 3600);
/// No clock that is kept right is corrected by more.
const JUMP: Duration = Duration::from_secs(24 * 3600);
/// Time for somebody to see it and set it right.
const HOLD: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::clock::Clock;

    const DAY: i64 = 24 * 3600 * 1000;

    #[test]
    fn a_clock_that_jumps_ahead_removes_nothing_for_a_day() {
        let start = Clock::system().now();
        let at = |hours: u64| start + Duration::from_secs(hours * 3600);
        let mut guard = ClockGuard::begin(Some(100 * DAY), 101 * DAY, start);
        assert!(guard.look(101 * DAY, start));
        assert!(guard.look(102 * DAY, at(24)), "it went on as it should");
        assert!(!guard.look(600 * DAY, at(25)), "a jump");
        assert!(!guard.look(600 * DAY + DAY / 2, at(37)), "still within a day");
        assert!(guard.look(601 * DAY + DAY / 12, at(50)), "nobody has set it right: it may be right");
        assert!(guard.look(300 * DAY, at(51)), "back is no danger");
    }

    #[test]
    fn an_agent_that_was_away_for_long_waits_too() {
        let start = Clock::system().now();
        let mut guard = ClockGuard::begin(Some(100 * DAY), 500 * DAY, start);
        assert!(!guard.look(500 * DAY, start));
        assert!(guard.look(501 * DAY, start + HOLD));
        assert!(
            ClockGuard::begin(None, 500 * DAY, start).look(500 * DAY, start),
            "a new one has nothing to lose"
        );
    }
}
