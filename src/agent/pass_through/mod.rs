//! Callers whose TLS passes the relay unopened and ends here.
//!
//! The relay opens a `bytes` stream for a name and copies; this room ends TLS with the name's certificate and serves
//! HTTP/1.1 or HTTP/2 in the bounds of [`crate::net::http_server`]. Each request goes to the front by the same steps as
//! one that the relay opened; what the relay checks and strips then, is checked and stripped here ([`request`]). Which
//! names there are, and how far each is trusted, only the agent's own file says. Entry point: [`PassThrough`].

mod config;
mod counters;
mod request;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;

use crate::agent::connection::Streams;
use crate::agent::front::Front;
use crate::agent::policy::Channel;
use crate::common::clock::Clock;
use crate::common::host_name::HostName;
use crate::common::tasks::Tasks;
use crate::net::tls::TlsFault;
use crate::net::tls::by_name::{ByName, CertificateSource};
use crate::net::tunnel::ByteStream;
use crate::tunnel::code::ResetCode;
use crate::tunnel::head::{BytesHead, PASS_THROUGH};
use tokio_util::sync::CancellationToken;

pub use config::{Config, Files};
pub use counters::Counters;

/// Takes the connections of names that pass; cheap to clone.
#[derive(Clone)]
pub struct PassThrough(Arc<Inner>);

struct Inner {
    names: ArcSwap<BTreeMap<HostName, Channel>>,
    connections: AtomicU32,
    tls: ByName,
    source: Arc<dyn CertificateSource>,
    front: Front,
    counters: Counters,
    clock: Clock,
    tasks: Tasks,
}

/// One name, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameState {
    /// The name.
    pub name: HostName,
    /// How far a connection for it is trusted.
    pub channel: Channel,
    /// When its certificate ends, in seconds since 1970; nothing while there is none.
    pub certificate_ends: Option<i64>,
}

impl PassThrough {
    /// Requests go to `front`. Connections run among `tasks`.
    pub fn new(
        config: &Config,
        source: Arc<dyn CertificateSource>,
        front: Front,
        clock: Clock,
        tasks: Tasks,
    ) -> Result<Self, TlsFault> {
        let tls = ByName::new(Arc::clone(&source))?;
        let names = ArcSwap::from_pointee(config.names.clone());
        let connections = AtomicU32::new(config.connections);
        let counters = Counters::default();
        Ok(Self(Arc::new(Inner { names, connections, tls, source, front, counters, clock, tasks })))
    }

    /// Other names count from the next connection on, and from the next request on those that are open; another bound
    /// from the next connection on. Without the table there are no names.
    pub fn configure(&self, config: Option<&Config>) {
        let names = config.map(|config| config.names.clone()).unwrap_or_default();
        self.0.names.store(Arc::new(names));
        if let Some(config) = config {
            self.0.connections.store(config.connections, Ordering::Relaxed);
        }
    }

    /// The names, with what there is to say about each.
    pub fn names(&self) -> Vec<NameState> {
        let state = |(name, channel): (&HostName, &Channel)| NameState {
            name: name.clone(),
            channel: *channel,
            certificate_ends: self
                .0
                .source
                .certificate(name.as_str())
                .and_then(|certified| crate::net::tls::about(&certified))
                .map(|about| about.ends),
        };
        self.0.names.load().iter().map(state).collect()
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }
}

impl Streams for PassThrough {
    fn take(&self, head: BytesHead, stream: ByteStream, draining: CancellationToken) {
        if head.purpose != PASS_THROUGH {
            tracing::debug!(purpose = %head.purpose, "a byte stream that this agent does not take");
            stream.reset(ResetCode::Unsupported);
            return;
        }
        self.0.tasks.spawn_detached(server::serve(Arc::clone(&self.0), head, stream, draining));
    }
}
