//! The one public port: agents and callers come in here.
//!
//! Entry point: [`Ingress::serve`]. A connection takes a place ([`places`]). One for a name whose TLS
//! is not ended here goes to its site as it is ([`client_hello`], [`pass_through`]); of any other TLS is ended, and it is
//! served as HTTP/1.1 or HTTP/2 ([`connection`]); each request is either an agent's ([`agent`]) or a caller's ([`caller`]).
//! Everything a stranger can do here is bounded by [`Limits`], and nothing a stranger does is logged above DEBUG.

mod accept;
mod agent;
mod anchor;
mod caller;
mod client_hello;
mod connection;
mod limits;
mod pass_through;
mod places;
pub mod route;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::Semaphore;

use crate::common::clock::Clock;
use crate::common::tasks::Tasks;
use crate::relay::egress::Egress;
use crate::relay::enrolment::Gate;
use crate::relay::metrics::RelayMetrics;
use crate::relay::registry::Registry;

pub use limits::Limits;

use places::Places;
use route::Names;

/// What the port works with; cheap to clone.
#[derive(Clone)]
pub struct Ingress(Arc<Inner>);

struct Inner {
    names: Names,
    limits: Limits,
    registry: Registry,
    egress: Egress,
    gate: Gate,
    tls: Arc<ServerConfig>,
    metrics: RelayMetrics,
    clock: Clock,
    places: Arc<Places>,
    handshakes: Arc<Semaphore>,
    /// Connections, calls and tunnels. They outlive the listening, and are waited for at the stop.
    tasks: Tasks,
}

/// What an [`Ingress`] is made of.
pub struct Parts {
    /// What the relay is called.
    pub names: Names,
    /// The bounds.
    pub limits: Limits,
    /// Where agents are.
    pub registry: Registry,
    /// The agents' way out.
    pub egress: Egress,
    /// Who may come in as an agent.
    pub gate: Gate,
    /// How TLS is ended.
    pub tls: Arc<ServerConfig>,
    /// What is counted.
    pub metrics: RelayMetrics,
    /// The time.
    pub clock: Clock,
    /// The group of connections, calls and tunnels.
    pub tasks: Tasks,
}

impl Ingress {
    /// From its parts.
    pub fn new(parts: Parts) -> Self {
        let Parts { names, limits, registry, egress, gate, tls, metrics, clock, tasks } = parts;
        let places = Places::new(limits.connections, limits.connections_per_address);
        let handshakes = Arc::new(Semaphore::new(limits.agent_handshakes));
        Self(Arc::new(Inner {
            names,
            limits,
            registry,
            egress,
            gate,
            tls,
            metrics,
            clock,
            places,
            handshakes,
            tasks,
        }))
    }
}
