//! How many bytes a peer may send on a stream before it must wait: per-stream credit, and no window above it.
//!
//! Every stream begins with [`INITIAL_WINDOW`], usable at once. A window grows while the reader empties it so
//! fast that the line's delay, not the reader, is what limits the transfer; it shrinks when the reader is slow.
//! So a long line is filled, and a slow reader holds little.

use std::time::{Duration, Instant};

/// What every stream may send before any CREDIT, both ways. Part of protocol version 1.
pub const INITIAL_WINDOW: u32 = 256 * 1024;

/// What a line of this delay can have on its way at [`FASTEST`]. Beyond that, bytes would only wait at this end: a
/// program that passes them on looks fast until the buffers behind it are full.
fn most_in_flight(round_trip: Duration) -> u32 {
    let bytes = round_trip.as_micros().saturating_mul(FASTEST);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Bytes a microsecond that one stream is expected to move at most.
const FASTEST: u128 = 400;

/// The receiving side's account of one direction of one stream.
#[derive(Debug, Clone)]
pub struct ReceiveWindow {
    /// How many bytes should be on their way or waiting to be read at once.
    target: u32,
    /// What the peer may still send.
    outstanding: u32,
    /// Received, and not yet read by the program.
    unread: u32,
    last_grant: Option<Instant>,
}

/// What all windows of a tunnel may grow to together, beyond their initial size.
#[derive(Debug, Clone)]
pub struct GrowthBudget {
    /// The largest single window.
    pub max_window: u32,
    /// Bytes of growth still to be had.
    pub left: u64,
}

impl ReceiveWindow {
    /// A window that is open at once, or held shut until [`ReceiveWindow::open`].
    pub fn new(held: bool) -> Self {
        let outstanding = if held { 0 } else { INITIAL_WINDOW };
        Self { target: INITIAL_WINDOW, outstanding, unread: 0, last_grant: None }
    }

    /// Opens a held window: the bytes to grant.
    pub fn open(&mut self) -> u32 {
        let grant = self.target.saturating_sub(self.outstanding).saturating_sub(self.unread);
        self.outstanding += grant;
        grant
    }

    /// Counts arrived bytes. False if the peer sent more than it may.
    #[must_use]
    pub fn receive(&mut self, bytes: u32) -> bool {
        let Some(left) = self.outstanding.checked_sub(bytes) else { return false };
        self.outstanding = left;
        self.unread = self.unread.saturating_add(bytes);
        true
    }

    /// Counts bytes the program has read; gives the credit to return, 0 while it is not worth a frame.
    ///
    /// `round_trip` is the line's delay as far as it is known.
    pub fn read(
        &mut self,
        bytes: u32,
        now: Instant,
        round_trip: Option<Duration>,
        budget: &mut GrowthBudget,
    ) -> u32 {
        self.unread = self.unread.saturating_sub(bytes);
        let due = self.target.saturating_sub(self.outstanding).saturating_sub(self.unread);
        // A quarter early: so that on a long line the sender need not stop and wait for it.
        if due < self.target / 4 {
            return 0;
        }
        if let (Some(last), Some(round_trip)) = (self.last_grant, round_trip) {
            let since = now.saturating_duration_since(last);
            // A quarter of the window was read: at this rate the whole takes four times as long.
            if since * 4 < round_trip * 2 {
                // Far too small, it need not be doubled step by step: each step may cost a round trip.
                let times = if since * 4 < round_trip / 4 { 4 } else { 2 };
                self.grow(times, most_in_flight(round_trip), budget);
            } else if since > (round_trip * 16).max(Duration::from_millis(200)) {
                self.shrink(budget);
            }
        }
        self.last_grant = Some(now);
        let grant = self.target.saturating_sub(self.outstanding).saturating_sub(self.unread);
        self.outstanding += grant;
        grant
    }

    fn grow(&mut self, times: u32, most: u32, budget: &mut GrowthBudget) {
        let wish = self
            .target
            .saturating_mul(times - 1)
            .min(budget.max_window.min(most).saturating_sub(self.target));
        let growth = u32::try_from(budget.left).unwrap_or(u32::MAX).min(wish);
        self.target += growth;
        budget.left -= u64::from(growth);
    }

    fn shrink(&mut self, budget: &mut GrowthBudget) {
        let smaller = (self.target / 2).max(INITIAL_WINDOW);
        budget.left += u64::from(self.target - smaller);
        self.target = smaller;
    }

    /// Gives grown bytes back when the stream ends.
    pub fn release(&mut self, budget: &mut GrowthBudget) {
        budget.left += u64::from(self.target - INITIAL_WINDOW);
        self.target = INITIAL_WINDOW;
    }

    /// The window's present size.
    pub fn target(&self) -> u32 {
        self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start() -> Instant {
        crate::common::clock::Clock::system().now()
    }

    #[test]
    fn a_fast_reader_on_a_long_line_grows_to_the_maximum_and_gives_it_back() {
        let mut window = ReceiveWindow::new(false);
        let mut budget = GrowthBudget { max_window: 4 << 20, left: 8 << 20 };
        let mut now = start();
        for _ in 0..200 {
            let size = window.target() / 4;
            assert!(window.receive(size));
            window.read(size, now, Some(Duration::from_millis(50)), &mut budget);
            now += Duration::from_millis(1);
        }
        assert_eq!(window.target(), 4 << 20);
        window.release(&mut budget);
        assert_eq!(budget.left, 8 << 20);
    }

    #[test]
    fn a_near_line_grows_no_further_than_it_can_hold() {
        for (round_trip, most) in
            [(Duration::from_micros(300), INITIAL_WINDOW), (Duration::from_millis(5), 2_000_000)]
        {
            let mut window = ReceiveWindow::new(false);
            let mut budget = GrowthBudget { max_window: 16 << 20, left: 64 << 20 };
            let now = start();
            for _ in 0..200 {
                let size = window.target() / 4;
                assert!(window.receive(size));
                window.read(size, now, Some(round_trip), &mut budget);
            }
            assert_eq!(window.target(), most);
        }
    }

    #[test]
    fn a_slow_reader_never_grows_and_a_grown_one_shrinks() {
        let mut window = ReceiveWindow::new(false);
        let mut budget = GrowthBudget { max_window: 4 << 20, left: 8 << 20 };
        let mut now = start();
        for step in 0..60 {
            let size = window.target() / 4;
            if window.receive(size) {
                window.read(size, now, Some(Duration::from_millis(50)), &mut budget);
            }
            now += if step < 20 { Duration::from_millis(1) } else { Duration::from_secs(1) };
        }
        assert_eq!(window.target(), INITIAL_WINDOW);
        assert_eq!(budget.left, 8 << 20);
    }

    proptest! {
        #[test]
        fn what_is_on_its_way_never_passes_the_window(
            steps in proptest::collection::vec((0u32..400_000, 0u32..400_000, 0u64..300), 1..200),
            held in any::<bool>(),
        ) {
            let mut window = ReceiveWindow::new(held);
            if held { window.open(); }
            let mut budget = GrowthBudget { max_window: 1 << 20, left: 600_000 };
            let mut now = start();
            let mut allowed = u64::from(INITIAL_WINDOW);
            let (mut received, mut unread) = (0u64, 0u32);
            for (send, read, pause) in steps {
                let send = send.min(u32::try_from(allowed - received).unwrap());
                prop_assert!(window.receive(send));
                received += u64::from(send);
                unread += send;
                let read = read.min(unread);
                unread -= read;
                now += Duration::from_millis(pause);
                allowed += u64::from(window.read(read, now, Some(Duration::from_millis(20)), &mut budget));
                prop_assert!(allowed - received + u64::from(unread) <= 1 << 20);
            }
            prop_assert!(!window.receive(u32::try_from(allowed - received).unwrap() + 1));
        }

        #[test]
        fn a_reader_that_reads_all_is_never_left_without_credit(sizes in proptest::collection::vec(1u32..262_144, 1..100)) {
            let mut window = ReceiveWindow::new(false);
            let mut budget = GrowthBudget { max_window: 1 << 20, left: 0 };
            let mut credit = INITIAL_WINDOW;
            for size in sizes {
                let size = size.min(credit);
                prop_assert!(size > 0);
                prop_assert!(window.receive(size));
                credit = credit - size + window.read(size, start(), None, &mut budget);
                prop_assert!(credit >= INITIAL_WINDOW / 2);
            }
        }
    }
}
