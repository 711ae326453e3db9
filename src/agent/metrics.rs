//! The metrics page: off unless `[metrics] listen` says where.
//!
//! Rooms count into the registry as things happen; what is a state and no event is read from the status at each
//! visit.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use serde_json::json;

use super::admin::House;
use super::admin::status::Status;
use crate::telemetry::metrics::Metrics;

/// The pages `/metrics` and `/health`.
pub fn router(metrics: Metrics, house: Arc<dyn House>) -> Router {
    let states = metrics.register("agent", States::register);
    Router::new().route("/metrics", get(page)).route("/health", get(health)).with_state(Pages {
        metrics,
        house,
        states: Arc::new(states),
    })
}

#[derive(Clone)]
struct Pages {
    metrics: Metrics,
    house: Arc<dyn House>,
    states: Arc<States>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Slot {
    slot: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upstream {
    upstream: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Issuer {
    issuer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    issuer: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: String,
}

#[derive(Default)]
struct States {
    issuer_usable: Family<Issuer, Gauge>,
    issuer_keys: Family<Issuer, Gauge>,
    issuer_age: Family<Issuer, Gauge>,
    issuer_fetches: Family<Tokens, Counter>,
    tokens: Family<Tokens, Counter>,
    paused: Gauge,
    callers: Gauge,
    config_bad: Gauge,
    remembered_keys: Gauge,
    remembered_bytes: Gauge,
    connected: Family<Slot, Gauge>,
    inspected: Family<Slot, Gauge>,
    round_trip: Family<Slot, Gauge<f64, AtomicU64>>,
    upstream_up: Family<Upstream, Gauge>,
    certificate_ends: Family<Name, Gauge>,
    certificate_failures: Family<Name, Gauge>,
}

impl States {
    fn register(registry: &mut prometheus_client::registry::Registry) -> Self {
        let states = Self::default();
        registry.register("build", "The program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register(
            "paused",
            "1 while every call is refused by the kill switch",
            states.paused.clone(),
        );
        registry.register("callers", "Callers that have a key", states.callers.clone());
        let help = "1 while the configuration file is wrong and an older state of it is in force";
        registry.register("config_bad", help, states.config_bad.clone());
        let help = "Calls that are remembered by their Idempotency-Key";
        registry.register("idempotency_keys", help, states.remembered_keys.clone());
        let help = "Bytes of their answers that are kept";
        registry.register("idempotency_answer_bytes", help, states.remembered_bytes.clone());
        registry.register("tunnel_connected", "1 while calls can come in", states.connected.clone());
        let help =
            "1 if something opens the TLS connection on the way and the tunnel runs in TLS inside, 0 if not";
        registry.register("tunnel_inspected", help, states.inspected.clone());
        registry.register("tunnel_round_trip_seconds", "Last measured", states.round_trip.clone());
        registry.register("upstream_up", "1 if any node answers", states.upstream_up.clone());
        let help = "1 while the issuer's tokens can be checked";
        registry.register("issuer_usable", help, states.issuer_usable.clone());
        registry.register("issuer_keys", "Keys of the issuer that are known", states.issuer_keys.clone());
        let help = "How long ago its keys were fetched";
        registry.register("issuer_key_set_age_seconds", help, states.issuer_age.clone());
        let help = "How often its keys were asked for";
        registry.register("issuer_fetches", help, states.issuer_fetches.clone());
        let help = "Tokens by what came of them: verified, remembered from before, refused";
        registry.register("issuer_tokens", help, states.tokens.clone());
        let help = "When the certificate ends, in seconds since 1970; 0 while there is none";
        registry.register("certificate_ends_seconds", help, states.certificate_ends.clone());
        let help = "Orders for a certificate that failed since the last one that did not";
        registry.register("certificate_failures", help, states.certificate_failures.clone());
        states
    }

    fn read(&self, status: &Status) {
        self.paused.set(status.paused.into());
        self.callers.set(i64::try_from(status.callers).unwrap_or(i64::MAX));
        self.config_bad.set(status.config.error.is_some().into());
        self.remembered_keys.set(i64::try_from(status.idempotency.keys).unwrap_or(i64::MAX));
        self.remembered_bytes.set(i64::try_from(status.idempotency.answer_bytes).unwrap_or(i64::MAX));
        self.inspected.clear();
        self.round_trip.clear();
        for tunnel in &status.relay.tunnels {
            let slot = Slot { slot: tunnel.slot };
            self.connected.get_or_create(&slot).set(tunnel.connected.into());
            if tunnel.connected {
                self.inspected.get_or_create(&slot).set(tunnel.is_inspected().into());
            }
            if let Some(milliseconds) = tunnel.round_trip_ms {
                self.round_trip.get_or_create(&slot).set(milliseconds / 1000.0);
            }
        }
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.issuer_usable.clear();
        self.issuer_keys.clear();
        self.issuer_age.clear();
        self.issuer_fetches.clear();
        self.tokens.clear();
        for issuer in &status.issuers {
            let name = Issuer { issuer: issuer.name.clone() };
            self.issuer_usable.get_or_create(&name).set(issuer.usable.into());
            self.issuer_keys.get_or_create(&name).set(count(issuer.keys as u64));
            if let Some(age) = issuer.age_seconds {
                self.issuer_age.get_or_create(&name).set(count(age));
            }
            let of = |result| Tokens { issuer: issuer.name.clone(), result };
            let fetched = issuer.fetches.saturating_sub(issuer.failed_fetches);
            self.issuer_fetches.get_or_create(&of("ok")).inc_by(fetched);
            self.issuer_fetches.get_or_create(&of("failed")).inc_by(issuer.failed_fetches);
            self.tokens.get_or_create(&of("verified")).inc_by(issuer.verified);
            self.tokens.get_or_create(&of("remembered")).inc_by(issuer.remembered);
            self.tokens.get_or_create(&of("refused")).inc_by(issuer.refused);
        }
        for line in status.certificates.iter().flat_map(|report| &report.certificates) {
            let name = Name { name: line.name.clone() };
            let ends = i64::try_from(line.ends_at.unwrap_or(0)).unwrap_or(i64::MAX);
            self.certificate_ends.get_or_create(&name).set(ends);
            self.certificate_failures.get_or_create(&name).set(line.failures.into());
        }
        // A reload may have taken some away.
        self.upstream_up.clear();
        for upstream in &status.upstreams {
            let name = Upstream { upstream: upstream.name.clone() };
            self.upstream_up.get_or_create(&name).set((upstream.health == "up").into());
        }
    }
}

async fn page(State(pages): State<Pages>) -> Response {
    pages.states.read(&pages.house.status());
    ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], pages.metrics.text()).into_response()
}

/// 200 while calls can come in, else 503.
async fn health(State(pages): State<Pages>) -> Response {
    let status = pages.house.status();
    let connected = status.relay.tunnels.iter().any(|tunnel| tunnel.connected);
    let code = if connected { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "connected": connected, "paused": status.paused }))).into_response()
}
