//! What operators can look at and change, as JSON routes for the admin socket.
//!
//! Entry point: [`routes`]. Each route is one action on store and registry, in that order: what is durable first,
//! then what is live. Whoever may only read is turned away by `net::local` ([`MayChange`]).

mod agents;
mod egress;
mod sites;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;

use crate::common::clock::Clock;
use crate::config::values::WssUrl;
use crate::identity::keys::Fingerprint;
use crate::net::local::Refused;
use crate::relay::egress::Egress;
use crate::relay::registry::Registry;
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
    changing_egress: tokio::sync::Mutex<()>,
    clock: Clock,
    public_url: WssUrl,
    fingerprint: Fingerprint,
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
    ) -> Self {
        let changing_egress = tokio::sync::Mutex::default();
        Self(Arc::new(Inner { store, registry, egress, changing_egress, clock, public_url, fingerprint }))
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
