//! What the agent counts about its calls.

use std::sync::Arc;

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::policy::tools::refusals::Refusals;
use crate::common::problem::Code;
use crate::telemetry::metrics::Metrics;

type Labelled = Family<[(&'static str, &'static str); 1], Counter>;

/// The front's counters; clones are the same counters.
#[derive(Debug, Clone)]
pub struct CallMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    under_way: Gauge,
    answered: Labelled,
    refused: Labelled,
    replayed: Counter,
    /// The members of `answered`, from 2xx to 5xx.
    classes: [Counter; 4],
    by_policy: Refusals,
}

/// One call under way, from its arrival to the end of its answer.
#[derive(Debug)]
pub struct UnderWay(CallMetrics);

impl CallMetrics {
    /// All at nought.
    pub fn new() -> Self {
        let answered = Labelled::default();
        let classes =
            ["2xx", "3xx", "4xx", "5xx"].map(|class| answered.get_or_create(&[("status", class)]).clone());
        Self(Arc::new(Inner {
            under_way: Gauge::default(),
            answered,
            refused: Labelled::default(),
            replayed: Counter::default(),
            classes,
            by_policy: Refusals::default(),
        }))
    }

    /// Shows them on the metrics page.
    pub fn register(&self, metrics: &Metrics) {
        metrics.register("front", |registry| {
            registry.register("calls_under_way", "Calls under way now", self.0.under_way.clone());
            let help = "Answers of applications that were passed on, by status";
            registry.register("answers", help, self.0.answered.clone());
            let help = "Kept answers that were given again for an Idempotency-Key";
            registry.register("replays", help, self.0.replayed.clone());
            registry.register("refusals", "Calls the agent answered itself, by code", self.0.refused.clone());
        });
    }

    /// Counts a call for as long as the value lives.
    pub fn begin(&self) -> UnderWay {
        self.0.under_way.inc();
        UnderWay(self.clone())
    }

    /// Counts an application's answer.
    pub fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(2);
        if let Some(counter) = self.0.classes.get(class) {
            counter.inc();
        }
    }

    /// Counts a kept answer that was given again.
    pub fn replayed(&self) {
        self.0.replayed.inc();
    }

    /// Counts an answer of our own.
    pub fn refused(&self, code: Code) {
        self.0.refused.get_or_create(&[("code", code.as_str())]).inc();
    }

    /// What the policy refused, by caller and shape of path. Never on the metrics page: callers choose the labels.
    pub fn by_policy(&self) -> &Refusals {
        &self.0.by_policy
    }

    /// Calls under way now.
    pub fn under_way(&self) -> u64 {
        u64::try_from(self.0.under_way.get()).unwrap_or(0)
    }

    /// How many kept answers were given again.
    pub fn replays(&self) -> u64 {
        self.0.replayed.get()
    }

    /// How many refusals there were with this code.
    pub fn refusals(&self, code: Code) -> u64 {
        self.0.refused.get(&[("code", code.as_str())]).map_or(0, |counter| counter.get())
    }
}

impl Default for CallMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.under_way.dec();
    }
}
