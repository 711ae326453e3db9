//! What one site uses of the relay's way out.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{Network, Settings};
use crate::common::host::HostPort;
use crate::common::pace::{Day, Pace};

/// One site's account.
pub(super) struct Account {
    at_once: u32,
    bytes_a_day: u64,
    open: AtomicU32,
    opening: Mutex<Pace>,
    lookups: Arc<Semaphore>,
    bytes: Mutex<Pace>,
    day: Mutex<Day>,
    words: Mutex<Words>,
    live: Mutex<Live>,
    /// To hosts, and from them, since the start.
    out: AtomicU64,
    back: AtomicU64,
}

/// Lines in the log, and how many were left out since the last one.
struct Words {
    pace: Pace,
    left_out: u64,
}

/// Connections by number, with what ends them.
#[derive(Default)]
struct Live {
    next: u64,
    streams: HashMap<u64, (HostPort, CancellationToken)>,
}

/// One more connection, as long as it lives.
pub(super) struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    /// One of `at_most`.
    pub(super) fn take(open: &'a AtomicU32, at_most: u32) -> Option<Self> {
        let place = Self(open);
        // The guard counts even where there is no room: its drop takes the same one off again.
        (open.fetch_add(1, Ordering::AcqRel) < at_most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A connection in the list of those that a change of the operator's list may end.
pub(super) struct Listed<'a> {
    account: &'a Account,
    number: u64,
    /// Cancelled once the host is no longer allowed.
    pub(super) denied: CancellationToken,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        lock(&self.account.live).streams.remove(&self.number);
    }
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the host.
    Out,
    /// From it.
    Back,
}

impl Account {
    pub(super) fn new(settings: &Settings) -> Self {
        let at_once = settings.site_connections;
        // Whoever has no connection may open all of them, or a second's worth.
        let a_second = settings.site_connections_a_second;
        let opening = Pace::new(a_second.into(), a_second.max(at_once).into());
        let rate = settings.site_bytes_a_second.0;
        Self {
            at_once,
            bytes_a_day: settings.site_bytes_a_day.0,
            open: AtomicU32::new(0),
            opening: Mutex::new(opening),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            bytes: Mutex::new(Pace::new(rate, rate)),
            day: Mutex::default(),
            words: Mutex::new(Words { pace: Pace::new(1, LINES), left_out: 0 }),
            live: Mutex::default(),
            out: AtomicU64::new(0),
            back: AtomicU64::new(0),
        }
    }

    /// A place for one more connection, if there is one and they don't come too fast.
    pub(super) fn admit(&self, now: Instant) -> Option<Place<'_>> {
        if !lock(&self.opening).try_take(now) {
            return None;
        }
        Place::take(&self.open, self.at_once)
    }

    /// The addresses of a name, once this site has a lookup to spare.
    pub(super) async fn resolve(&self, network: &dyn Network, name: &str) -> io::Result<Vec<IpAddr>> {
        let place = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        network.lookup(name, place).await
    }

    /// Whether the day's bytes are used up.
    pub(super) fn is_used_up(&self, unix_seconds: u64) -> bool {
        lock(&self.day).used(unix_seconds) >= self.bytes_a_day
    }

    /// Counts bytes that pass: how long to wait before more may, or `None` if the day's are used up.
    pub(super) fn count(&self, way: Way, amount: u64, now: Instant, unix_seconds: u64) -> Option<Duration> {
        let total = match way {
            Way::Out => &self.out,
            Way::Back => &self.back,
        };
        total.fetch_add(amount, Ordering::Relaxed);
        if !lock(&self.day).add(amount, self.bytes_a_day, unix_seconds) {
            return None;
        }
        Some(lock(&self.bytes).take(amount, now))
    }

    /// Whether the log may have a line now, and how many were left out before it.
    pub(super) fn may_say(&self, now: Instant) -> Option<u64> {
        let mut words = lock(&self.words);
        if words.pace.try_take(now) {
            return Some(std::mem::take(&mut words.left_out));
        }
        words.left_out += 1;
        None
    }

    /// Puts a connection where a change of the list finds it.
    pub(super) fn list(&self, target: &HostPort) -> Listed<'_> {
        let denied = CancellationToken::new();
        let mut live = lock(&self.live);
        live.next += 1;
        let number = live.next;
        live.streams.insert(number, (target.clone(), denied.clone()));
        Listed { account: self, number, denied }
    }

    /// Ends the connections to hosts that are no longer allowed.
    pub(super) fn judge_again(&self, allowed: impl Fn(&HostPort) -> bool) {
        for (target, denied) in lock(&self.live).streams.values() {
            if !allowed(target) {
                denied.cancel();
            }
        }
    }

    pub(super) fn usage(&self, unix_seconds: u64) -> Usage {
        Usage {
            connections: self.open.load(Ordering::Acquire),
            bytes_out: self.out.load(Ordering::Relaxed),
            bytes_back: self.back.load(Ordering::Relaxed),
            bytes_today: lock(&self.day).used(unix_seconds),
        }
    }
}

/// What a site has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Connections open now, or being opened.
    pub connections: u32,
    /// Bytes to hosts since the relay's start.
    pub bytes_out: u64,
    /// Bytes from hosts since the relay's start.
    pub bytes_back: u64,
    /// Bytes both ways since midnight (UTC).
    pub bytes_today: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lookups of a site that may be under way: names that nobody answers for must not take those of all sites.
const LOOKUPS: usize = 8;
/// Lines of the log that a site may cause at once; then one a second.
const LINES: u64 = 10;
