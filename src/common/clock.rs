//! The only reader of time. Pure code takes an [`Instant`] as an argument instead.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Where a room gets the time from: the system, or in tests a hand that moves it.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Manual>>>);

struct Manual {
    instant: Instant,
    wall: SystemTime,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn manual() -> Self {
        let system = Self::system();
        Self(Some(Arc::new(Mutex::new(Manual { instant: system.now(), wall: system.wall() }))))
    }

    /// Monotonic time: for delays and deadlines.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn now(&self) -> Instant {
        match self.0.as_ref().and_then(|manual| manual.lock().ok()) {
            Some(manual) => manual.instant,
            None => Instant::now(),
        }
    }

    /// Wall time: for what people and other machines read.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn wall(&self) -> SystemTime {
        match self.0.as_ref().and_then(|manual| manual.lock().ok()) {
            Some(manual) => manual.wall,
            None => SystemTime::now(),
        }
    }

    /// Wall time in whole seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.wall().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// Moves a manual clock; the system's clock does not obey.
    pub fn advance(&self, by: Duration) {
        if let Some(mut manual) = self.0.as_ref().and_then(|manual| manual.lock().ok()) {
            manual.instant += by;
            manual.wall += by;
        }
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.0.is_some() { "Clock(manual)" } else { "Clock(system)" })
    }
}
