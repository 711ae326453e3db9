//! The way out: holds the agent's tunnels to its relay, for ever.
//!
//! [`Connection::start`] is the entry point; it runs one [`slot`] for each tunnel. [`open`] makes the socket,
//! [`calls`] takes what the relay sends, [`enrol`] is the first contact. Imports no other room but `store`: calls go
//! to a tower service that the agent's `mod` brings.

pub mod calls;
pub mod enrol;
mod fault;
mod look;
pub mod open;
mod outer;
mod slot;
mod status;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::agent::store::Store;
use crate::agent::store::tables::identity::Identity;
use crate::common::clock::Clock;
use crate::common::ids::BootId;
use crate::common::tasks::Tasks;
use crate::config::values::WssUrl;
use crate::net::dial::Proxy;
use crate::net::tls::TlsFault;
use crate::net::tunnel::{Tunnel, TunnelBody};
use calls::Calls;
use open::Opener;
use slot::Slot;

pub use calls::{Arrivals, Streams};
pub use fault::ConnectFault;
pub use look::{Inspection, look};
pub use status::{Binding, Snapshot};

/// What the agent says it is.
pub const SOFTWARE: &str = concat!("outhaul-agent/", env!("CARGO_PKG_VERSION"));

/// How to reach the relay.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it is.
    pub url: WssUrl,
    /// The proxy on the way, if any.
    pub proxy: Option<Proxy>,
    /// Authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How many tunnels to hold.
    pub tunnels: u8,
}

/// The tunnels of this agent.
pub struct Connection {
    slots: Vec<Arc<status::Shared>>,
    told: Arc<Mutex<Option<Bytes>>>,
    clock: Clock,
}

impl Connection {
    /// Connects, and connects anew whenever a tunnel is lost, until the tasks are told to stop; then lets calls
    /// under way finish for a while.
    pub fn start<S, B>(
        config: &Config,
        identity: Identity,
        store: &Store,
        service: &S,
        arrivals: &Arrivals,
        clock: Clock,
        tasks: &Tasks,
    ) -> Result<Self, TlsFault>
    where
        S: Service<Request<TunnelBody>, Response = Response<B>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display,
    {
        let opener = Arc::new(Opener::new(config)?);
        let (enrolment, key) = (Arc::new(identity.enrolment), Arc::new(identity.key));
        let noted = Arc::new(Mutex::new(None));
        let told = Arc::new(Mutex::new(None));
        let boot = BootId::generate();
        let mut slots = Vec::new();
        for number in 0..config.tunnels.max(1) {
            let shared = Arc::new(status::Shared::new(number));
            let calls = Calls::new(service.clone(), arrivals.clone(), &enrolment.site, tasks.clone());
            let slot = Slot {
                number,
                boot,
                opener: Arc::clone(&opener),
                enrolment: Arc::clone(&enrolment),
                key: Arc::clone(&key),
                noted: Arc::clone(&noted),
                store: store.clone(),
                told: Arc::clone(&told),
                status: Arc::clone(&shared),
                clock: clock.clone(),
                tasks: tasks.clone(),
            };
            tasks.spawn("tunnel to the relay", slot.run(calls));
            slots.push(shared);
        }
        Ok(Self { slots, told, clock })
    }

    /// How each tunnel is.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.slots.iter().map(|slot| slot.snapshot(self.clock.now())).collect()
    }

    /// The tunnels on which streams can be opened, those with room first.
    pub fn tunnels(&self) -> Vec<Tunnel> {
        let mut usable: Vec<Tunnel> =
            self.slots.iter().filter_map(|slot| slot.tunnel()).filter(Tunnel::is_usable).collect();
        usable.sort_by_key(|tunnel| !tunnel.has_room());
        usable
    }

    /// Tells the relay about this agent (STATUS, at most 4 KB): now, and after each connect.
    pub fn tell(&self, status: &Bytes) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(status.clone());
        for slot in &self.slots {
            if let Some(tunnel) = slot.tunnel() {
                tunnel.send_status(status.clone());
            }
        }
    }
}
