//! What is counted of connections that end here.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::metrics::Metrics;

/// The counters; clones are the same counters.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    now: Gauge,
    ended: Family<Ended, Counter>,
    misdirected: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

/// One connection, counted while it lives.
#[derive(Debug)]
pub(super) struct Open(Gauge);

impl Counters {
    /// Shows them on the metrics page.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register("pass_through", |registry| {
            registry.register("connections_now", "Connections whose TLS ends here, now", self.now.clone());
            let help = "Connections whose TLS was to end here, by what became of them";
            registry.register("connections", help, self.ended.clone());
            let help = "Requests for another host than their connection's";
            registry.register("misdirected", help, self.misdirected.clone());
        });
    }

    /// One more connection, of `at_most`.
    pub(super) fn open(&self, at_most: u32) -> Option<Open> {
        let before = self.now.inc();
        // The guard counts even where there is no room: its drop takes the same one off again.
        let open = Open(self.now.clone());
        (before < i64::from(at_most)).then_some(open)
    }

    /// What became of one.
    pub(super) fn ended(&self, result: &'static str) {
        self.ended.get_or_create(&Ended { result }).inc();
    }

    /// A request for another host than its connection's.
    pub(super) fn misdirected(&self) {
        self.misdirected.inc();
    }

    /// Connections open now.
    pub fn open_now(&self) -> u64 {
        u64::try_from(self.now.get()).unwrap_or(0)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
