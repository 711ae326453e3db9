//! How a tunnel is: written by its slot, read by the status page.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::identity::handshake::messages::{OuterCertificate, Standing};
use crate::identity::handshake::transcript::Layer;
use crate::net::tunnel::Tunnel;

/// How one tunnel is.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Which one, from 0.
    pub slot: u8,
    /// Since when it is connected; `None` if it is not.
    pub since: Option<SystemTime>,
    /// Active or standby, as the relay said last.
    pub standing: Option<Standing>,
    /// How it is bound to TLS, and who opens TLS on the way.
    pub binding: Option<Binding>,
    /// There and back.
    pub round_trip: Option<Duration>,
    /// Streams open now.
    pub streams: u32,
    /// Why it is not connected, or why it was lost last.
    pub error: Option<String>,
    /// How long until the next try.
    pub next_try: Option<Duration>,
    /// The losses of connections that were up, since the agent started.
    pub losses: Losses,
}

/// What became of earlier connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// How many were lost.
    pub count: u64,
    /// When the last one was, and why.
    pub last: Option<(SystemTime, String)>,
}

/// How a handshake was bound to TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// To which session.
    pub layer: Layer,
    /// The certificate of the session under the WebSocket: the relay's own, or that of whoever opens TLS.
    pub outer: Option<OuterCertificate>,
}

#[derive(Default)]
struct Inner {
    live: Option<Live>,
    error: Option<String>,
    next_try: Option<Instant>,
    losses: Losses,
}

pub(super) struct Live {
    pub(super) tunnel: Tunnel,
    pub(super) since: SystemTime,
    pub(super) standing: Standing,
    pub(super) binding: Binding,
}

/// One slot's.
pub(super) struct Shared {
    slot: u8,
    inner: Mutex<Inner>,
}

impl Shared {
    pub(super) fn new(slot: u8) -> Self {
        Self { slot, inner: Mutex::default() }
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let inner = self.lock();
        let live = inner.live.as_ref();
        let stats = live.map(|live| live.tunnel.stats()).unwrap_or_default();
        Snapshot {
            slot: self.slot,
            since: live.map(|live| live.since),
            standing: live.map(|live| live.standing),
            binding: live.map(|live| live.binding.clone()),
            round_trip: stats.round_trip,
            streams: stats.streams,
            error: inner.error.clone(),
            next_try: inner.next_try.map(|at| at.saturating_duration_since(now)),
            losses: inner.losses.clone(),
        }
    }

    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        self.lock().live.as_ref().map(|live| live.tunnel.clone())
    }

    pub(super) fn connected(&self, live: Live) {
        let mut inner = self.lock();
        (inner.live, inner.error, inner.next_try) = (Some(live), None, None);
    }

    /// The tunnel is gone. What it was lost by stays, as the last loss also after the next connect.
    pub(super) fn lost(&self, error: String, at: SystemTime) {
        let mut inner = self.lock();
        let losses = Losses { count: inner.losses.count.saturating_add(1), last: Some((at, error.clone())) };
        *inner = Inner { live: None, error: Some(error), next_try: None, losses };
    }

    /// Gives whether the error is another one than before.
    pub(super) fn failed(&self, error: String, next_try: Instant) -> bool {
        let mut inner = self.lock();
        // One that is drained takes no more calls.
        inner.live = inner.live.take().filter(|live| live.tunnel.is_usable());
        inner.next_try = Some(next_try);
        let news = inner.error.as_ref() != Some(&error);
        inner.error = Some(error);
        news
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
