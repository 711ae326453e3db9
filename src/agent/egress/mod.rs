//! The agent's way to the internet: one gate for all that asks something there.
//!
//! Entry point: [`Clients::client`]. Whatever a client is for, its connections pass the gate: the host must be on the
//! administrator's list, the bounds of `[egress]` hold, and the way is the one that the configuration names: by TCP from here,
//! through the proxy, or through the relay, whose operator then has a list too. The other direction does not exist: no
//! stream that a relay opens ends here.

mod book;
mod gate;
mod metered;
mod through;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use crate::common::clock::Clock;
use crate::common::host::{HostPattern, HostPort};
use crate::common::limits::ByteSize;
use crate::common::pace::Day;
use crate::net::dial::Proxy;
use crate::net::http_client::{self, HttpClient};
use crate::net::tls::TlsFault;
use crate::net::tunnel::Tunnel;
use book::Book;
use gate::Gate;

pub use book::Unreached;

/// How hosts are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// By TCP from this machine.
    #[default]
    Direct,
    /// Through the relay, inside the tunnel.
    Relay,
    /// Through the proxy of `[relay] proxy`.
    Proxy,
}

/// A text that is no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no way out: write \"direct\", \"relay\" or \"proxy\"")]
pub struct WayFault(String);

/// `[egress]` of the agent's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The way of clients that name none of their own.
    pub way: Way,
    /// The hosts that may be reached. Where the list is empty, each client reaches the hosts that its own configuration
    /// names, and no other.
    pub allow: Vec<HostPattern>,
    /// Authorities to trust beside the system's, for clients that name none of their own.
    pub ca_file: Option<PathBuf>,
    /// Connections at once.
    pub connections: u32,
    /// Bytes in a day (UTC), both ways together; no bound where absent.
    pub bytes_a_day: Option<ByteSize>,
}

/// Makes the clients; cheap to clone.
#[derive(Clone)]
pub struct Clients(Arc<Inner>);

struct Inner {
    settings: ArcSwap<Settings>,
    proxy: Option<Proxy>,
    relay: OnceLock<Relay>,
    open: AtomicU32,
    day: Mutex<Day>,
    book: Mutex<Book>,
    /// What clients' own configurations have named so far.
    named: Mutex<Vec<HostPort>>,
    clock: Clock,
}

/// The way through the relay.
struct Relay {
    /// As the relay's operator calls this site.
    site: String,
    tunnels: Box<dyn Fn() -> Vec<Tunnel> + Send + Sync>,
}

/// How the way out is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The way of clients that name none of their own.
    pub way: Way,
    /// Connections open now, or being opened.
    pub connections: u32,
    /// Bytes both ways since midnight (UTC).
    pub bytes_today: u64,
    /// Hosts whose last connection did not come to be.
    pub unreached: Vec<Unreached>,
}

impl Clients {
    /// `proxy`: the one that the tunnels go through, if any.
    pub fn new(settings: Settings, proxy: Option<Proxy>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            settings: ArcSwap::from_pointee(settings),
            proxy,
            relay: OnceLock::new(),
            open: AtomicU32::new(0),
            day: Mutex::default(),
            book: Mutex::default(),
            named: Mutex::default(),
            clock,
        }))
    }

    /// From here on the relay can be used: `tunnels` gives those that are up, the best first.
    pub fn attach(&self, site: &str, tunnels: impl Fn() -> Vec<Tunnel> + Send + Sync + 'static) {
        let relay = Relay { site: site.to_owned(), tunnels: Box::new(tunnels) };
        // Tunnels are started once.
        let _ = self.0.relay.set(relay);
    }

    /// Puts other settings in force, for the next connection of every client and for clients made from here on; gives
    /// those before.
    pub fn configure(&self, settings: Settings) -> Arc<Settings> {
        self.0.settings.swap(Arc::new(settings))
    }

    /// A client. `way` and `ca_file`: its own, else those of `[egress]` count. `named`: the hosts that its own
    /// configuration names, such as that of an issuer's key set; they are all it reaches where `[egress] allow` is empty.
    pub fn client(
        &self,
        way: Option<Way>,
        ca_file: Option<&Path>,
        named: Vec<HostPort>,
    ) -> Result<HttpClient, TlsFault> {
        let mut known = lock(&self.0.named);
        for host in &named {
            if !known.contains(host) && known.len() < MAX_NAMED {
                known.push(host.clone());
            }
        }
        drop(known);
        self.make(way, ca_file, named)
    }

    /// A client for a trial by hand: it reaches what any other one may.
    pub fn for_trial(&self, way: Option<Way>) -> Result<HttpClient, TlsFault> {
        let named = lock(&self.0.named).clone();
        self.make(way, None, named)
    }

    fn make(
        &self,
        way: Option<Way>,
        ca_file: Option<&Path>,
        named: Vec<HostPort>,
    ) -> Result<HttpClient, TlsFault> {
        let settings = self.0.settings.load();
        let gate = Gate { inner: Arc::clone(&self.0), way, named };
        let through = http_client::Way::Through(Arc::new(gate));
        HttpClient::new(through, ca_file.or(settings.ca_file.as_deref()))
    }

    /// For `status`.
    pub fn state(&self) -> State {
        let inner = &self.0;
        State {
            way: inner.settings.load().way,
            connections: inner.open.load(Ordering::Acquire),
            bytes_today: lock(&inner.day).used(inner.clock.unix_seconds()),
            unreached: lock(&inner.book).list(),
        }
    }
}

impl Settings {
    /// Whether a client that names these hosts may reach this one.
    pub fn allows(&self, target: &HostPort, named: &[HostPort]) -> bool {
        if self.allow.is_empty() {
            return named.contains(target);
        }
        self.allow.iter().any(|entry| entry.matches(target))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { way: Way::Direct, allow: Vec::new(), ca_file: None, connections: 32, bytes_a_day: None }
    }
}

impl Way {
    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::Proxy => "proxy",
        }
    }
}

impl FromStr for Way {
    type Err = WayFault;
    fn from_str(text: &str) -> Result<Self, WayFault> {
        [Self::Direct, Self::Relay, Self::Proxy]
            .into_iter()
            .find(|way| way.as_str() == text)
            .ok_or_else(|| WayFault(text.chars().take(40).collect()))
    }
}

crate::read_as_text!(Way);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A configuration that changes often must not fill the memory.
const MAX_NAMED: usize = 1000;

#[cfg(test)]
mod tests;
