//! Is the peer there, and how far away? PING each interval both ways; dead after a silence.

use std::time::{Duration, Instant};

/// The liveness of one session.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    every: Duration,
    dead_after: Duration,
    last_heard: Instant,
    next_ping: Instant,
    last_ping: Option<Instant>,
    in_flight: Option<(u64, Instant)>,
    sequence: u64,
    round_trip: Option<Duration>,
    answer: Option<[u8; 8]>,
}

/// What the time demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing yet.
    Quiet,
    /// A PING with these bytes.
    Ping([u8; 8]),
    /// The peer has been silent for too long.
    Dead,
}

impl Heartbeat {
    /// The first PING is due at once: it measures the line.
    pub fn new(every: Duration, dead_after: Duration, now: Instant) -> Self {
        Self {
            every,
            dead_after,
            last_heard: now,
            next_ping: now,
            last_ping: None,
            in_flight: None,
            sequence: 0,
            round_trip: None,
            answer: None,
        }
    }

    /// Anything that arrives is a sign of life.
    pub fn heard(&mut self, now: Instant) {
        self.last_heard = now;
    }

    /// A PING arrived. Only the newest is answered, so that a flood costs nothing.
    pub fn on_ping(&mut self, payload: [u8; 8]) {
        self.answer = Some(payload);
    }

    /// A PONG arrived.
    pub fn on_pong(&mut self, payload: [u8; 8], now: Instant) {
        if let Some((sequence, sent)) = self.in_flight
            && sequence == u64::from_be_bytes(payload)
        {
            self.in_flight = None;
            let sample = now.saturating_duration_since(sent);
            // The shortest recent way: what is longer is queueing, which a window must not feed.
            self.round_trip = Some(self.round_trip.map_or(sample, |known| sample.min(known + known / 4)));
        }
    }

    /// The PONG to send, once.
    pub fn take_pong(&mut self) -> Option<[u8; 8]> {
        self.answer.take()
    }

    /// Whether a PONG waits to be sent.
    pub fn owes_pong(&self) -> bool {
        self.answer.is_some()
    }

    /// Looks at the time.
    pub fn tick(&mut self, now: Instant) -> Beat {
        if now.saturating_duration_since(self.last_heard) >= self.dead_after {
            return Beat::Dead;
        }
        if now < self.next_ping {
            return Beat::Quiet;
        }
        self.next_ping = now + self.every;
        self.last_ping = Some(now);
        self.sequence += 1;
        self.in_flight = Some((self.sequence, now));
        Beat::Ping(self.sequence.to_be_bytes())
    }

    /// Brings the next PING forward while a transfer runs, to keep the measure fresh; at most one a second.
    pub fn refresh(&mut self, now: Instant) {
        // An unanswered PING measures nothing until its PONG comes, or is given up.
        let pause = if self.in_flight.is_some() { Duration::from_secs(5) } else { Duration::from_secs(1) };
        let soon = self.last_ping.map_or(now, |last| last + pause);
        self.next_ping = self.next_ping.min(soon);
    }

    /// When to look again.
    pub fn deadline(&self) -> Instant {
        self.next_ping.min(self.last_heard + self.dead_after)
    }

    /// The measured round trip, as far as known.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(15);
    const DEAD: Duration = Duration::from_secs(40);

    fn start() -> Instant {
        crate::common::clock::Clock::system().now()
    }

    #[test]
    fn pings_each_interval_and_dies_of_silence() {
        let begin = start();
        let mut beat = Heartbeat::new(EVERY, DEAD, begin);
        assert!(matches!(beat.tick(begin), Beat::Ping(_)));
        assert_eq!(beat.tick(begin + Duration::from_secs(14)), Beat::Quiet);
        assert!(matches!(beat.tick(begin + Duration::from_secs(15)), Beat::Ping(_)));
        assert!(matches!(beat.tick(begin + Duration::from_secs(30)), Beat::Ping(_)));
        assert_eq!(beat.deadline(), begin + DEAD);
        assert_eq!(beat.tick(begin + DEAD), Beat::Dead);
        beat.heard(begin + Duration::from_secs(39));
        assert_ne!(beat.tick(begin + DEAD), Beat::Dead);
    }

    #[test]
    fn a_pong_measures_only_the_ping_it_answers() {
        let begin = start();
        let mut beat = Heartbeat::new(EVERY, DEAD, begin);
        let Beat::Ping(payload) = beat.tick(begin) else { panic!("no ping") };
        beat.on_pong([9; 8], begin + Duration::from_millis(1));
        assert_eq!(beat.round_trip(), None);
        beat.on_pong(payload, begin + Duration::from_millis(7));
        assert_eq!(beat.round_trip(), Some(Duration::from_millis(7)));
        beat.on_pong(payload, begin + Duration::from_millis(1));
        assert_eq!(beat.round_trip(), Some(Duration::from_millis(7)));
    }

    #[test]
    fn refreshing_pings_at_most_once_a_second() {
        let begin = start();
        let mut beat = Heartbeat::new(EVERY, DEAD, begin);
        let Beat::Ping(payload) = beat.tick(begin) else { panic!("no ping") };
        beat.on_pong(payload, begin);
        let mut pings = 0;
        for step in 1..=40 {
            let now = begin + Duration::from_millis(100 * step);
            beat.refresh(now);
            if let Beat::Ping(payload) = beat.tick(now) {
                beat.on_pong(payload, now);
                pings += 1;
            }
        }
        assert!((3..=4).contains(&pings), "{pings}");
    }
}
