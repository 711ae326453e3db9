//! One tunnel's life: connect, serve, and connect anew, for as long as the agent runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::calls::Calls;
use super::open::{Opener, greet, send_confirm};
use super::status::{Binding, Live, Shared};
use super::{ConnectFault, SOFTWARE};
use crate::agent::store::Store;
use crate::agent::store::tables::identity::Enrolment;
use crate::common::backoff::Backoff;
use crate::common::clock::Clock;
use crate::common::ids::BootId;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::identity::handshake::agent::{Intent, Start};
use crate::identity::handshake::transcript::Layer;
use crate::identity::keys::SigningKey;
use crate::net::tunnel::{Acceptor, Closed, Role, Settings, Tunnel};
use crate::net::websocket::FrameError;
use crate::tunnel::code::{CloseCode, DrainCode};

pub(super) struct Slot {
    pub(super) number: u8,
    pub(super) boot: BootId,
    pub(super) opener: Arc<Opener>,
    pub(super) enrolment: Arc<Enrolment>,
    pub(super) key: Arc<SigningKey>,
    pub(super) store: Store,
    /// How the last tunnel of any slot was bound: only what is new is worth a line.
    pub(super) noted: Arc<Mutex<Option<Binding>>>,
    pub(super) told: Arc<Mutex<Option<Bytes>>>,
    pub(super) status: Arc<Shared>,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
}

/// A tunnel that is up.
struct Up {
    tunnel: Tunnel,
    draining: Arc<Notify>,
    since: Instant,
    retry_hint: Option<Duration>,
}

/// How a tunnel that was up ends for this slot.
enum Ended {
    Lost(Closed),
    Draining,
    Stop,
}

impl Slot {
    pub(super) async fn run<S>(self, calls: Calls<S>)
    where
        Calls<S>: Acceptor,
        S: Clone,
    {
        let stop = self.tasks.token();
        let mut retry = Retry::new(self.clock.now());
        let mut retired = VecDeque::new();
        loop {
            let attempt = tokio::select! {
                () = stop.cancelled() => return,
                attempt = tokio::time::timeout(ATTEMPT, self.attempt(&calls)) => attempt,
            };
            let delay = match attempt.unwrap_or(Err(ConnectFault::TooSlow(ATTEMPT))) {
                Ok(up) => match self.serve(&up).await {
                    Ended::Stop => return self.finish(&up.tunnel).await,
                    // The old tunnel finishes what it has; the new one is dialled beside it: at once, but for a relay that
                    // sends away what has hardly come, which would have us dial in a circle.
                    Ended::Draining => {
                        let now = self.clock.now();
                        let lasted = self.lasted(&up);
                        retry.lost(lasted, now);
                        self.retire(up.tunnel, &mut retired);
                        if lasted { Duration::ZERO } else { retry.eager(now, rand::random()) }
                    }
                    Ended::Lost(closed) => {
                        let now = self.clock.now();
                        let lasted = now.saturating_duration_since(up.since).as_secs();
                        let why =
                            format!("lost after {lasted} s: {closed}{}", self.opener.suspicion(&closed));
                        tracing::warn!(slot = self.number, %why, "the tunnel to the relay was lost");
                        self.status.lost(why, self.clock.wall());
                        retry.lost(self.proved(&up), now);
                        retry.after_loss(closed.code, up.retry_hint, now, rand::random())
                    }
                },
                Err(fault) => {
                    let now = self.clock.now();
                    let delay = retry.after_fault(&fault, now, rand::random());
                    let error = Report::from_error(Exit::Unavailable, &fault).to_string();
                    // An outage may last for days: only what is new is worth a line.
                    if self.status.failed(error.clone(), now + delay) {
                        tracing::warn!(slot = self.number, %error, "no tunnel to the relay; trying again");
                    }
                    delay
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    async fn attempt<S>(&self, calls: &Calls<S>) -> Result<Up, ConnectFault>
    where
        Calls<S>: Acceptor,
        S: Clone,
    {
        let enrolment = &self.enrolment;
        let agent = enrolment.agent;
        let mut opened = self.opener.open().await?;
        let join = self.store.join(agent, self.number).await?;
        let start = Start {
            intent: Intent::Connect { agent, relay: enrolment.relay_key, join },
            site: enrolment.site.clone(),
            slot: self.number,
            boot: self.boot,
            software: SOFTWARE.to_owned(),
        };
        let welcomed = greet(&mut opened, start, &self.key).await?;
        self.store.store_join(agent, self.number, welcomed.welcome.join).await?;
        send_confirm(&mut opened.line).await?;

        let welcome = welcomed.welcome;
        let ping_every = Duration::from_secs(u64::from(welcome.ping_seconds).clamp(5, 60));
        let settings = Settings {
            max_streams_in: welcome.limits.max_streams.min(MAX_STREAMS),
            max_streams_out: welcome.limits.max_agent_streams.min(MAX_STREAMS),
            ping_every,
            ..Settings::default()
        };
        let calls = calls.another();
        let draining = calls.draining_signal();
        let clock = self.clock.clone();
        let tunnel = opened.line.start(Role::Agent, settings, clock, &self.tasks, Arc::new(calls));
        let tunnel = tunnel.ok_or(FrameError::Closed { reason: None })?;
        if let Some(told) = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            tunnel.send_status(told);
        }
        let binding = Binding { layer: welcomed.layer, outer: opened.outer };
        self.note(&binding);
        self.status.connected(Live {
            tunnel: tunnel.clone(),
            since: self.clock.wall(),
            standing: welcome.standing,
            binding,
        });
        let binding = welcomed.layer.as_str();
        tracing::info!(slot = self.number, site = %welcome.site, binding, "connected to the relay");
        let retry_hint = welcome.retry_hint.map(|seconds| Duration::from_secs(seconds.into()));
        Ok(Up { tunnel, draining, since: self.clock.now(), retry_hint })
    }

    /// Tells when TLS is opened on the way, by whom, and when that ends: once per change.
    fn note(&self, binding: &Binding) {
        let before = self.noted.lock().unwrap_or_else(PoisonError::into_inner).replace(binding.clone());
        let inspected = |binding: &Binding| binding.layer == Layer::Inner;
        if inspected(binding) && before.as_ref() != Some(binding) {
            let (subject, issuer, sha256) = binding.outer.as_ref().map_or(("", "", ""), |outer| {
                (outer.subject.as_str(), outer.issuer.as_str(), outer.sha256.as_str())
            });
            tracing::warn!(
                subject,
                issuer,
                sha256,
                "something in between opens TLS to the relay; all goes through a TLS session inside, which it can't open"
            );
        } else if !inspected(binding) && before.as_ref().is_some_and(inspected) {
            tracing::info!("TLS to the relay is no longer opened on the way");
        }
    }

    async fn serve(&self, up: &Up) -> Ended {
        tokio::select! {
            () = self.tasks.cancelled() => Ended::Stop,
            closed = up.tunnel.closed() => Ended::Lost(closed),
            () = up.draining.notified() => {
                tracing::info!(slot = self.number, "the relay asks for a new connection");
                Ended::Draining
            }
        }
    }

    /// Whether a tunnel was good for something: it lasted, or carried a call.
    fn proved(&self, up: &Up) -> bool {
        self.lasted(up) || up.tunnel.stats().opened > 0
    }

    fn lasted(&self, up: &Up) -> bool {
        self.clock.now().saturating_duration_since(up.since) >= PROVED_AFTER
    }

    /// The agent stops: no new calls, those under way may finish.
    async fn finish(&self, tunnel: &Tunnel) {
        tunnel.drain(DrainCode::Stopping, "the agent stops");
        let finished = async {
            while tunnel.stats().streams > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(GRACE_AT_STOP, finished) => {}
            _ = tunnel.closed() => {}
        }
        tunnel.close(CloseCode::Stopping, "the agent stops");
        let _ = tokio::time::timeout(Duration::from_secs(1), tunnel.closed()).await;
    }

    /// A drained tunnel lives on beside its successor, for a while; of several, the newest.
    fn retire(&self, tunnel: Tunnel, retired: &mut VecDeque<Tunnel>) {
        retired.retain(|old| !old.is_closed());
        retired.push_back(tunnel.clone());
        if retired.len() > RETIRED
            && let Some(oldest) = retired.pop_front()
        {
            oldest.close(CloseCode::Drained, "drained");
        }
        let stop = self.tasks.token();
        self.tasks.spawn_detached(async move {
            tokio::select! {
                _ = tunnel.closed() => {}
                () = stop.cancelled() => {}
                () = tokio::time::sleep(GRACE_AT_DRAIN) => {}
            }
            tunnel.close(CloseCode::Drained, "drained");
        });
    }
}

/// When to try again. Pure: time and chance are given.
pub(super) struct Retry {
    backoff: Backoff,
    outage: Instant,
    refusals: u32,
}

impl Retry {
    pub(super) fn new(now: Instant) -> Self {
        Self { backoff: Backoff::default(), outage: now, refusals: 0 }
    }

    /// A tunnel that was up is gone. Only one that has proved itself ends the outage before it: otherwise a relay
    /// that lets in and throws out would be hammered.
    pub(super) fn lost(&mut self, proved: bool, now: Instant) {
        self.refusals = 0;
        if proved {
            self.backoff.reset();
            self.outage = now;
        }
    }

    pub(super) fn after_loss(
        &mut self,
        code: CloseCode,
        hint: Option<Duration>,
        now: Instant,
        chance: f64,
    ) -> Duration {
        if matches!(code, CloseCode::Revoked | CloseCode::Version) {
            return self.slow(chance);
        }
        match hint {
            Some(hint) => hint.min(LONGEST).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0),
            None => self.eager(now, chance),
        }
    }

    pub(super) fn after_fault(&mut self, fault: &ConnectFault, now: Instant, chance: f64) -> Duration {
        let delay = if fault.needs_a_person() { self.slow(chance) } else { self.eager(now, chance) };
        delay.max(fault.retry_after().unwrap_or_default().min(LONGEST))
    }

    fn eager(&mut self, now: Instant, chance: f64) -> Duration {
        self.backoff.next(now.saturating_duration_since(self.outage), chance)
    }

    /// From about 5 s, doubling up to 5 minutes: quick enough for whoever repairs it and watches.
    fn slow(&mut self, chance: f64) -> Duration {
        let cap = Duration::from_secs(5 << self.refusals.min(6)).min(LONGEST);
        self.refusals = self.refusals.saturating_add(1);
        cap.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// One connect may take so long altogether.
const ATTEMPT: Duration = Duration::from_secs(45);
/// No delay is longer, whatever the relay says.
const LONGEST: Duration = Duration::from_secs(300);
/// A tunnel that lasted so long has proved itself.
const PROVED_AFTER: Duration = Duration::from_secs(5);
const GRACE_AT_STOP: Duration = Duration::from_secs(10);
const GRACE_AT_DRAIN: Duration = Duration::from_secs(120);
/// So many drained tunnels of a slot may finish what they have, whatever the relay asks for.
const RETIRED: usize = 4;
/// Whatever the relay allows.
const MAX_STREAMS: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::handshake::messages::{Refuse, RefuseCode};

    #[test]
    fn refusals_slow_down_to_five_minutes_and_hints_are_kept() {
        let now = Clock::system().now();
        let mut retry = Retry::new(now);
        let revoked = ConnectFault::Refused(Refuse::new(RefuseCode::Revoked, "x"));
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            let delay = retry.after_fault(&revoked, now, 1.0);
            assert!(delay >= last && delay <= Duration::from_secs(300), "{delay:?}");
            last = delay;
        }
        assert_eq!(last, Duration::from_secs(300));
        let busy = Refuse { retry_after: Some(20), ..Refuse::new(RefuseCode::Busy, "x") };
        assert_eq!(retry.after_fault(&ConnectFault::Refused(busy), now, 0.0), Duration::from_secs(20));
        let absurd = Refuse { retry_after: Some(u32::MAX), ..Refuse::new(RefuseCode::Busy, "x") };
        assert_eq!(retry.after_fault(&ConnectFault::Refused(absurd), now, 0.0), LONGEST);
        let slow = ConnectFault::TooSlow(ATTEMPT);
        assert!(retry.after_fault(&slow, now, 1.0) <= Duration::from_secs(1));
    }

    #[test]
    fn a_tunnel_that_proved_nothing_does_not_end_the_outage() {
        let start = Clock::system().now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut retry = Retry::new(start);
        retry.lost(false, at(1001));
        let mut longest = Duration::ZERO;
        for _ in 0..8 {
            longest = longest.max(retry.after_loss(CloseCode::Broken, None, at(1001), 1.0));
        }
        assert_eq!(longest, Backoff::CAP);
        retry.lost(true, at(2011));
        assert!(retry.after_loss(CloseCode::Broken, None, at(2011), 1.0) <= Duration::from_secs(1));
        let hint = Some(Duration::from_secs(8));
        let hinted = retry.after_loss(CloseCode::Stopping, hint, at(2011), 0.5);
        assert!(hinted >= Duration::from_secs(4) && hinted <= Duration::from_secs(8), "{hinted:?}");
        assert!(retry.after_loss(CloseCode::Revoked, None, at(2011), 0.0) >= Duration::from_secs(2));
    }
}
