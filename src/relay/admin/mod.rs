//! What operators can look at and change, as JSON routes for the admin socket.
//!
//! Entry point: [`routes`]. Each route is one action on store and registry, in that order: what is durable first,
//! then what is live. Whoever may only read is turned away by `net::local` ([`MayChange`]).

mod agents;
mod egress;
mod names;
mod sites;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use tokio::sync::Mutex;

use crate::common::clock::Clock;
use crate::common::host_name::HostName;
use crate::common::ids::SiteName;
use crate::config::values::WssUrl;
use crate::identity::keys::Fingerprint;
use crate::net::local::Refused;
use crate::net::tls::Certificates;
use crate::relay::egress::Egress;
use crate::relay::registry::{PassThroughNames, Registry};
use crate::relay::store::{Store, StoreFault};

pub use agents::overview;

/// What the actions work on.
#[derive(Clone)]
pub struct Operations(Arc<Inner>);

struct Inner {
    store: Store,
    registry: Registry,
    egress: Egress,
    /// Held from the change of the store until it is in force, so that two changes come into force in their order.
    changing_egress: Mutex<()>,
    clock: Clock,
    public_url: WssUrl,
    fingerprint: Fingerprint,
    direct: Direct,
    /// One change of names at a time, in store and memory both.
    naming: Mutex<()>,
}

/// What there is to know about names that pass unopened.
#[derive(Clone)]
pub struct Direct {
    /// The names, as connections see them.
    pub names: PassThroughNames,
    /// The zone in which the relay itself answers.
    pub zone: String,
    /// The certificate with which it does.
    pub certificates: Arc<Certificates>,
}

impl Direct {
    /// The names of a site, the operator's first.
    fn names_of(&self, site: &SiteName) -> Vec<HostName> {
        let customers = self.names.customers();
        let mut own: Vec<HostName> =
            customers.iter().filter(|(_, of)| *of == site).map(|(name, _)| name.clone()).collect();
        own.sort();
        self.names.operator_name(site).into_iter().chain(own).collect()
    }
}

impl Operations {
    /// From the relay's parts.
    pub fn new(
        store: Store,
        registry: Registry,
        egress: Egress,
        clock: Clock,
        public_url: WssUrl,
        fingerprint: Fingerprint,
        direct: Direct,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            registry,
            egress,
            changing_egress: Mutex::default(),
            clock,
            public_url,
            fingerprint,
            direct,
            naming: Mutex::default(),
        }))
    }
}

/// The routes of the admin socket.
pub fn routes(operations: Operations) -> Router {
    Router::new()
        .route("/sites", get(sites::list).post(sites::add))
        .route("/sites/{name}/remove", post(sites::remove))
        .route("/sites/{name}/pause", post(sites::pause))
        .route("/sites/{name}/resume", post(sites::resume))
        .route("/sites/{name}/enrol", post(sites::enrol))
        .route("/sites/{name}/egress", get(egress::list))
        .route("/sites/{name}/egress/allow", post(egress::allow))
        .route("/sites/{name}/egress/deny", post(egress::deny))
        .route("/sites/{name}/names", post(names::add))
        .route("/sites/{name}/names/remove", post(names::remove))
        .route("/names", get(names::list))
        .route("/agents", get(agents::list))
        .route("/agents/{id}", get(agents::show))
        .route("/agents/{id}/drain", post(agents::drain))
        .route("/agents/{id}/revoke", post(agents::revoke))
        .route("/agents/{id}/activate", post(agents::activate))
        .route("/agents/{id}/clear", post(agents::clear))
        .with_state(operations)
}

fn store_failed(fault: &StoreFault) -> Refused {
    tracing::error!(error = %fault, "an operator's command failed");
    let status = match fault {
        StoreFault::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refused::new(status, fault.to_string())
        .with_remedy("Look at the disk of the state folder, and at the log.")
}

#[cfg(test)]
mod tests;
