//! What the relay counts. Labels: sites, which only an operator can add, and codes from closed lists.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::relay::registry::Registry;
use crate::telemetry::metrics::Metrics;

/// All of it; cheap to clone.
#[derive(Clone)]
pub struct RelayMetrics {
    registry: Metrics,
    connections: Gauge,
    turned_away: Family<Reason, Counter>,
    tls_failures: Counter,
    handshakes: Family<HandshakeResult, Counter>,
    handshakes_now: Gauge,
    calls: Family<CallResult, Counter>,
    calls_now: Gauge,
    first_byte: Histogram,
    egress_now: Gauge,
    egress: Family<EgressResult, Counter>,
    egress_bytes: Family<EgressWay, Counter>,
    passed: Family<CallResult, Counter>,
    passed_now: Gauge,
    passed_bytes: Family<Way, Counter>,
    sites: Gauge,
    tunnels: Family<OfSite, Gauge>,
    streams: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeResult {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallResult {
    site: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSite {
    site: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EgressResult {
    site: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EgressWay {
    site: String,
    way: &'static str,
}

/// Counts what one connection of a site's egress carries.
#[derive(Debug)]
pub struct EgressBytes {
    out: Counter,
    back: Counter,
}

impl EgressBytes {
    /// So many bytes more, to the host or from it.
    pub fn add(&self, out: bool, bytes: u64) {
        let counter = if out { &self.out } else { &self.back };
        counter.inc_by(bytes);
    }
}

/// Counts one more while it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RelayMetrics {
    /// Registers everything.
    pub fn new() -> Self {
        let registry = Metrics::new();
        let this = Self {
            registry: registry.clone(),
            connections: Gauge::default(),
            turned_away: Family::default(),
            tls_failures: Counter::default(),
            handshakes: Family::default(),
            handshakes_now: Gauge::default(),
            calls: Family::default(),
            calls_now: Gauge::default(),
            first_byte: Histogram::new(SECONDS),
            egress_now: Gauge::default(),
            egress: Family::default(),
            egress_bytes: Family::default(),
            passed: Family::default(),
            passed_now: Gauge::default(),
            passed_bytes: Family::default(),
            sites: Gauge::default(),
            tunnels: Family::default(),
            streams: Gauge::default(),
        };
        let all = this.clone();
        registry.register("ingress", |room| {
            room.register("connections", "Connections on the public port now", all.connections);
            room.register("turned_away", "Connections closed at once, by reason", all.turned_away);
            room.register("tls_failures", "TLS handshakes that failed", all.tls_failures);
            room.register("agent_handshakes", "Handshakes of agents, by result", all.handshakes);
            room.register("agent_handshakes_now", "Agents in their handshake now", all.handshakes_now);
            room.register("calls", "Calls, by site and result: a status class or a problem code", all.calls);
            room.register("calls_now", "Calls under way now", all.calls_now);
            room.register("first_byte_seconds", "Time from a call's head to its answer's", all.first_byte);
            let help = "Connections for names that pass unopened, by site and result";
            room.register("passed_connections", help, all.passed);
            room.register("passed_connections_now", "Those that are open now", all.passed_now);
            let help = "Bytes of those that have ended, from callers (in) and to them (out)";
            room.register("passed_bytes", help, all.passed_bytes);
        });
        registry.register("egress", |room| {
            room.register("connections_now", "Egress connections open now", all.egress_now);
            let help =
                "Egress connections, by site and what came of them: how they ended, or why there was none";
            room.register("connections", help, all.egress);
            room.register("bytes", "Bytes of egress, by site and way", all.egress_bytes);
        });
        registry.register("registry", |room| {
            room.register("sites", "Sites known", all.sites);
            room.register("tunnels", "Live tunnels, by site", all.tunnels);
            room.register("streams", "Streams open on all tunnels now", all.streams);
        });
        this
    }

    /// A connection on the public port.
    pub fn connection(&self) -> Counted {
        count(&self.connections)
    }

    /// A connection that was closed at once.
    pub fn turned_away(&self, reason: &'static str) {
        self.turned_away.get_or_create(&Reason { reason }).inc();
    }

    /// A TLS handshake that failed.
    pub fn tls_failed(&self) {
        self.tls_failures.inc();
    }

    /// An agent in its handshake.
    pub fn handshake(&self) -> Counted {
        count(&self.handshakes_now)
    }

    /// How a handshake ended.
    pub fn handshake_ended(&self, result: &'static str) {
        self.handshakes.get_or_create(&HandshakeResult { result }).inc();
    }

    /// A call under way.
    pub fn call(&self) -> Counted {
        count(&self.calls_now)
    }

    /// What a call came to; `site` is one the relay knows, or empty.
    pub fn call_ended(&self, site: &str, result: &'static str, after: Duration) {
        self.calls.get_or_create(&CallResult { site: site.to_owned(), result }).inc();
        self.first_byte.observe(after.as_secs_f64());
    }

    /// An egress connection.
    pub fn egress_connection(&self) -> Counted {
        count(&self.egress_now)
    }

    /// What an egress stream came to; never with the host, which an agent names.
    pub fn egress_ended(&self, site: &str, result: &'static str) {
        self.egress.get_or_create(&EgressResult { site: site.to_owned(), result }).inc();
    }

    /// Where an egress connection of a site counts its bytes.
    pub fn egress_bytes(&self, site: &str) -> EgressBytes {
        let counter = |way| {
            let label = EgressWay { site: site.to_owned(), way };
            self.egress_bytes.get_or_create(&label).clone()
        };
        EgressBytes { out: counter("out"), back: counter("back") }
    }

    /// A connection that passes unopened.
    pub fn passing(&self) -> Counted {
        count(&self.passed_now)
    }

    /// What became of one; `site` is one the relay knows, or empty.
    pub fn passed(&self, site: &str, result: &'static str) {
        self.passed.get_or_create(&CallResult { site: site.to_owned(), result }).inc();
    }

    /// How many bytes one has brought.
    pub fn passed_bytes(&self, from_caller: u64, to_caller: u64) {
        self.passed_bytes.get_or_create(&Way { direction: "in" }).inc_by(from_caller);
        self.passed_bytes.get_or_create(&Way { direction: "out" }).inc_by(to_caller);
    }

    /// The page, with what the registry knows at this moment.
    pub fn page(&self, registry: &Registry) -> String {
        self.sites.set(i64::try_from(registry.site_count()).unwrap_or(i64::MAX));
        self.tunnels.clear();
        let mut streams = 0;
        for live in registry.sessions() {
            self.tunnels.get_or_create(&OfSite { site: live.site.to_string() }).inc();
            streams += i64::from(live.stats.streams);
        }
        self.streams.set(streams);
        self.registry.text()
    }
}

impl Default for RelayMetrics {
    fn default() -> Self {
        Self::new()
    }
}

fn count(gauge: &Gauge) -> Counted {
    gauge.inc();
    Counted(gauge.clone())
}

const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
