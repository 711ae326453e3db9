//! One site's agents, and which tunnel a call takes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};

use super::{Line, Live, Session, Waiting, lock};
use crate::common::clock::Clock;
use crate::common::ids::{AgentId, SiteName};
use crate::relay::store::Role;
use crate::relay::tenancy::Quota;
use crate::tunnel::code::CloseCode;

/// A site as the relay knows it now.
pub struct Site<L> {
    name: SiteName,
    paused: AtomicBool,
    quota: Quota,
    clock: Clock,
    waiting: Waiting,
    waiters: Arc<Semaphore>,
    state: Mutex<State<L>>,
    joined: Notify,
    pausing: Notify,
}

struct State<L> {
    /// In order of slots for each agent: the lowest usable slot is taken.
    tunnels: BTreeMap<(AgentId, u8), Entry<L>>,
    seen: Option<Instant>,
}

struct Entry<L> {
    number: u64,
    session: Session,
    line: L,
}

/// The tunnel a call takes.
#[derive(Debug, Clone)]
pub struct Found<L> {
    /// The tunnel.
    pub line: L,
    /// Which agent is at its end.
    pub agent: AgentId,
}

/// Why a call finds no tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// No agent is connected, nor was one a moment ago.
    Offline,
    /// One was here a moment ago and did not come back in time.
    Waited,
    /// Only a standby is connected, and this upstream is not marked stateless.
    StandbyOnly,
    /// Too many calls are waiting already.
    Crowded,
}

impl<L: Line> Site<L> {
    pub(super) fn new(
        name: SiteName,
        quota: Quota,
        clock: Clock,
        waiting: Waiting,
        waiters: Arc<Semaphore>,
        seen: Option<Instant>,
    ) -> Self {
        let state = Mutex::new(State { tunnels: BTreeMap::new(), seen });
        let paused = AtomicBool::new(false);
        Self {
            name,
            paused,
            quota,
            clock,
            waiting,
            waiters,
            state,
            joined: Notify::new(),
            pausing: Notify::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &SiteName {
        &self.name
    }

    /// Whether the operator lets no call pass.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Resolves once the operator lets nothing pass.
    pub async fn until_paused(&self) {
        loop {
            let mut pausing = std::pin::pin!(self.pausing.notified());
            pausing.as_mut().enable();
            if self.is_paused() {
                return;
            }
            pausing.await;
        }
    }

    /// Its account.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// The tunnel for a call to `upstream`; waits for an agent that was just here.
    pub async fn find(&self, upstream: Option<&str>) -> Result<Found<L>, Missing> {
        let missing = match self.find_now(upstream) {
            Ok(found) => return Ok(found),
            Err(missing) => missing,
        };
        if !self.was_just_seen() {
            return Err(missing);
        }
        let Ok(_waiter) = self.waiters.try_acquire() else { return Err(Missing::Crowded) };
        let comes = async {
            loop {
                // Listening before looking: a join in between is not missed.
                let mut joined = std::pin::pin!(self.joined.notified());
                joined.as_mut().enable();
                if let Ok(found) = self.find_now(upstream) {
                    return found;
                }
                joined.await;
            }
        };
        tokio::time::timeout(self.waiting.at_most, comes).await.map_err(|_| match missing {
            Missing::Offline => Missing::Waited,
            other => other,
        })
    }

    /// The tunnel for a call, without waiting: the active agent's first usable slot, a later one while that is full;
    /// a standby's only for an upstream it calls stateless.
    fn find_now(&self, upstream: Option<&str>) -> Result<Found<L>, Missing> {
        let state = lock(&self.state);
        let usable = |role: Role| {
            state.tunnels.values().filter(move |entry| entry.session.role == role && entry.line.is_usable())
        };
        let found = |entry: &Entry<L>| Found { line: entry.line.clone(), agent: entry.session.agent };
        let active = state.tunnels.values().filter(|entry| entry.session.role == Role::Active);
        let with_room = active.into_iter().find(|entry| entry.line.has_room());
        // Where all are full, the first one says so to the caller.
        if let Some(entry) = with_room.or_else(|| usable(Role::Active).next()) {
            return Ok(found(entry));
        }
        let stateless =
            |entry: &&Entry<L>| upstream.is_some_and(|name| entry.session.status.is_stateless(name));
        if let Some(entry) = usable(Role::Standby).find(stateless) {
            return Ok(found(entry));
        }
        let standby = usable(Role::Standby).next().is_some();
        Err(if standby { Missing::StandbyOnly } else { Missing::Offline })
    }

    fn was_just_seen(&self) -> bool {
        let state = lock(&self.state);
        let now = self.clock.now();
        // A draining tunnel is a sign of life: its agent is dialling anew.
        !state.tunnels.is_empty()
            || state.seen.is_some_and(|seen| now.saturating_duration_since(seen) <= self.waiting.seen_within)
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Release);
        self.pausing.notify_waiters();
    }

    pub(super) fn take_in(&self, number: u64, session: Session, line: L) -> Option<L> {
        let key = (session.agent, session.slot);
        let old = lock(&self.state).tunnels.insert(key, Entry { number, session, line });
        self.joined.notify_waiters();
        old.map(|entry| entry.line)
    }

    pub(super) fn let_go(&self, agent: AgentId, slot: u8, number: u64) {
        let mut state = lock(&self.state);
        if state.tunnels.get(&(agent, slot)).is_some_and(|entry| entry.number == number) {
            state.tunnels.remove(&(agent, slot));
            state.seen = Some(self.clock.now());
        }
    }

    pub(super) fn set_roles(&self, role_of: impl Fn(AgentId) -> Role) {
        for entry in lock(&self.state).tunnels.values_mut() {
            entry.session.role = role_of(entry.session.agent);
        }
        self.joined.notify_waiters();
    }

    pub(super) fn set_role(&self, agent: AgentId, role: Role) {
        for entry in lock(&self.state).tunnels.values_mut().filter(|entry| entry.session.agent == agent) {
            entry.session.role = role;
        }
        self.joined.notify_waiters();
    }

    pub(super) fn close_all(&self, code: CloseCode, text: &str) {
        for line in self.lines(None) {
            line.close(code, text);
        }
    }

    pub(super) fn lines(&self, agent: Option<AgentId>) -> Vec<L> {
        let state = lock(&self.state);
        let wanted = |entry: &&Entry<L>| agent.is_none_or(|agent| entry.session.agent == agent);
        state.tunnels.values().filter(wanted).map(|entry| entry.line.clone()).collect()
    }

    pub(super) fn sessions(&self) -> Vec<Live> {
        let live = |entry: &Entry<L>| Live {
            site: self.name.clone(),
            session: entry.session.clone(),
            usable: entry.line.is_usable(),
            stats: entry.line.stats(),
        };
        lock(&self.state).tunnels.values().map(live).collect()
    }
}
