//! Which agent is where: site → agents → slots → tunnel.
//!
//! Entry points: [`Registry::join`] when an agent has connected, [`Site::find`] when a caller wants one. All in
//! memory and rebuilt from connects after a start; the store is only read by `relay::mod`, which says which sites
//! there are. Never looks into a call.

mod names;
mod site;
mod status;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use crate::common::clock::Clock;
use crate::common::ids::{AgentId, SiteName};
use crate::identity::handshake::messages::OuterCertificate;
use crate::identity::handshake::transcript::Layer;
use crate::net::tunnel::{Stats, Tunnel};
use crate::relay::store::Role;
use crate::relay::tenancy;
use crate::tunnel::code::{CloseCode, DrainCode};

pub use names::{NameLevel, NamedSite, PassThroughNames};
pub use site::{Found, Missing, Site};
pub use status::{AgentStatus, Health, UpstreamStatus};

/// What the registry needs of a tunnel.
pub trait Line: Clone + Send + Sync + 'static {
    /// New streams may be opened.
    fn is_usable(&self) -> bool;
    /// It is usable, and one more stream may be opened now.
    fn has_room(&self) -> bool;
    /// No new streams; the agent connects anew.
    fn drain(&self, code: DrainCode, text: &str);
    /// Ends at once.
    fn close(&self, code: CloseCode, text: &str);
    /// Figures.
    fn stats(&self) -> Stats;
}

impl Line for Tunnel {
    fn is_usable(&self) -> bool {
        Tunnel::is_usable(self)
    }
    fn has_room(&self) -> bool {
        Tunnel::has_room(self)
    }
    fn drain(&self, code: DrainCode, text: &str) {
        Tunnel::drain(self, code, text);
    }
    fn close(&self, code: CloseCode, text: &str) {
        Tunnel::close(self, code, text);
    }
    fn stats(&self) -> Stats {
        Tunnel::stats(self)
    }
}

/// How long calls wait for an agent that was just here.
#[derive(Debug, Clone, Copy)]
pub struct Waiting {
    /// A site counts as just seen for so long.
    pub seen_within: Duration,
    /// A call waits so long at most.
    pub at_most: Duration,
    /// So many calls may wait at the whole relay.
    pub callers: usize,
}

/// What is known of one live tunnel.
#[derive(Debug, Clone)]
pub struct Session {
    /// Whose.
    pub agent: AgentId,
    /// Active or standby, as the store says.
    pub role: Role,
    /// Which of the agent's tunnels.
    pub slot: u8,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What it said it runs.
    pub software: String,
    /// Which TLS session it is bound to.
    pub layer: Layer,
    /// Who opens the TLS under it, as the agent sees it.
    pub outer: Option<OuterCertificate>,
    /// Since when.
    pub since: SystemTime,
    /// What the agent tells about itself; filled by its STATUS frames.
    pub status: Arc<AgentStatus>,
}

/// One live tunnel in the list of [`Registry::sessions`].
#[derive(Debug, Clone)]
pub struct Live {
    /// Whose site.
    pub site: SiteName,
    /// What is known of it.
    pub session: Session,
    /// Whether calls may go there.
    pub usable: bool,
    /// Figures.
    pub stats: Stats,
}

/// The handle; cheap to clone.
pub struct Registry<L = Tunnel>(Arc<Inner<L>>);

struct Inner<L> {
    sites: RwLock<HashMap<SiteName, Arc<Site<L>>>>,
    clock: Clock,
    waiting: Waiting,
    waiters: Arc<Semaphore>,
    limits: tenancy::Limits,
    numbers: AtomicU64,
}

/// A tunnel's place in the registry; given back with [`Registry::leave`].
#[derive(Debug, Clone)]
pub struct Place {
    site: SiteName,
    agent: AgentId,
    slot: u8,
    number: u64,
}

impl<L: Line> Registry<L> {
    /// An empty one.
    pub fn new(waiting: Waiting, limits: tenancy::Limits, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            sites: RwLock::default(),
            clock,
            waiting,
            waiters: Arc::new(Semaphore::new(waiting.callers)),
            limits,
            numbers: AtomicU64::new(1),
        }))
    }

    /// Makes a site known, or changes whether it is paused. `expected`: it has agents that may be on their way,
    /// so its first calls wait for them as if they had just been here.
    pub fn set_site(&self, name: &SiteName, paused: bool, expected: bool) {
        let site = self.sites_mut(|sites| {
            let fresh = || Arc::new(self.fresh_site(name.clone(), expected));
            sites.entry(name.clone()).or_insert_with(fresh).clone()
        });
        site.set_paused(paused);
    }

    /// Forgets a site and closes its tunnels.
    pub fn remove_site(&self, name: &SiteName) {
        if let Some(site) = self.sites_mut(|sites| sites.remove(name)) {
            site.close_all(CloseCode::Revoked, "the operator removed this site");
        }
    }

    /// A site by name.
    pub fn site(&self, name: &str) -> Option<Arc<Site<L>>> {
        self.0.sites.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// How many sites there are.
    pub fn site_count(&self) -> usize {
        self.0.sites.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes a connected agent in. A tunnel that held the slot is closed: the newer connect has proved more. One
    /// that is being drained takes no new calls anyway; it finishes what it has, and the agent ends it.
    /// `None` when the site is gone, and the tunnel is closed then.
    pub fn join(&self, name: &SiteName, session: Session, line: L) -> Option<Place> {
        let Some(site) = self.site(name.as_str()) else {
            line.close(CloseCode::Revoked, "the operator removed this site");
            return None;
        };
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let place = Place { site: name.clone(), agent: session.agent, slot: session.slot, number };
        if let Some(old) = site.take_in(number, session, line).filter(Line::is_usable) {
            old.close(CloseCode::Replaced, "a newer connect of this agent took the slot");
        }
        Some(place)
    }

    /// A tunnel ended. Does nothing if another has its place already.
    pub fn leave(&self, place: &Place) {
        if let Some(site) = self.site(place.site.as_str()) {
            site.let_go(place.agent, place.slot, place.number);
        }
    }

    /// Closes all tunnels of an agent at once.
    pub fn close_agent(&self, agent: AgentId, code: CloseCode, text: &str) -> usize {
        self.lines(Some(agent)).iter().map(|line| line.close(code, text)).count()
    }

    /// Asks an agent to connect anew.
    pub fn drain_agent(&self, agent: AgentId, code: DrainCode, text: &str) -> usize {
        self.lines(Some(agent)).iter().map(|line| line.drain(code, text)).count()
    }

    /// Asks every agent to connect anew, elsewhere or later.
    pub fn drain_all(&self, code: DrainCode, text: &str) {
        for line in self.lines(None) {
            line.drain(code, text);
        }
    }

    /// Closes every tunnel.
    pub fn close_all(&self, code: CloseCode, text: &str) {
        for line in self.lines(None) {
            line.close(code, text);
        }
    }

    /// The store's roles have changed.
    pub fn set_roles(&self, name: &SiteName, role_of: impl Fn(AgentId) -> Role) {
        if let Some(site) = self.site(name.as_str()) {
            site.set_roles(role_of);
        }
    }

    /// One agent's role, as the store has it now.
    pub fn set_role(&self, name: &SiteName, agent: AgentId, role: Role) {
        if let Some(site) = self.site(name.as_str()) {
            site.set_role(agent, role);
        }
    }

    /// Every live tunnel, by site, agent and slot.
    pub fn sessions(&self) -> Vec<Live> {
        let mut sessions: Vec<_> = self.all_sites().iter().flat_map(|site| site.sessions()).collect();
        sessions.sort_by(|one, other| {
            let key = |live: &Live| (live.site.clone(), live.session.agent, live.session.slot);
            key(one).cmp(&key(other))
        });
        sessions
    }

    /// How many calls and passed connections are under way at the whole relay.
    pub fn calls_under_way(&self) -> u64 {
        let under_way =
            |quota: &tenancy::Quota| u64::from(quota.under_way()) + u64::from(quota.connections());
        self.all_sites().iter().map(|site| under_way(site.quota())).sum()
    }

    fn fresh_site(&self, name: SiteName, expected: bool) -> Site<L> {
        let inner = &self.0;
        let quota = tenancy::Quota::new(inner.limits, inner.clock.clone());
        let seen: Option<Instant> = expected.then(|| inner.clock.now());
        Site::new(name, quota, inner.clock.clone(), inner.waiting, inner.waiters.clone(), seen)
    }

    fn all_sites(&self) -> Vec<Arc<Site<L>>> {
        self.0.sites.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn lines(&self, agent: Option<AgentId>) -> Vec<L> {
        self.all_sites().iter().flat_map(|site| site.lines(agent)).collect()
    }

    fn sites_mut<T>(&self, change: impl FnOnce(&mut HashMap<SiteName, Arc<Site<L>>>) -> T) -> T {
        change(&mut self.0.sites.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<L> Clone for Registry<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L> std::fmt::Debug for Registry<L> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Registry")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
