//! The operators' local port: is it alive, is it ready, what does it count, who is connected.
//!
//! Entry point: [`routes`]. In the clear and without a check of who asks, so it shows no secret and changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use serde_json::json;

use crate::relay::admin::{Operations, overview};
use crate::relay::metrics::RelayMetrics;
use crate::relay::registry::Registry;
use crate::relay::store::Store;
use crate::telemetry::metrics::Metrics;

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// Whether the public port takes connections.
    pub listening: Arc<AtomicBool>,
    /// The store, asked whether it works.
    pub store: Store,
    /// Figures.
    pub metrics: RelayMetrics,
    /// Live tunnels.
    pub registry: Registry,
    /// Agents.
    pub operations: Operations,
}

/// `/health`, `/ready`, `/metrics`, `/agents`.
pub fn routes(pages: Pages) -> Router {
    Router::new()
        .route("/health", get(async || Json(json!({ "status": "alive" }))))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/agents", get(agents))
        .with_state(pages)
}

async fn ready(State(pages): State<Pages>) -> Response {
    let listening = pages.listening.load(Ordering::Acquire);
    let store = match tokio::time::timeout(STORE_TIME, pages.store.check()).await {
        Ok(Ok(())) => "ok".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the relay's store does not answer".to_owned(),
    };
    let ready = listening && store == "ok";
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "ready": ready, "listening": listening, "store": store });
    (status, Json(body)).into_response()
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let page = pages.metrics.page(&pages.registry);
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], page).into_response()
}

async fn agents(State(pages): State<Pages>) -> Response {
    match overview(&pages.operations).await {
        Ok(agents) => Json(agents).into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// How long the store may take before the relay counts as not ready.
const STORE_TIME: Duration = Duration::from_secs(2);
