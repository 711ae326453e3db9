//! One registry a program, and its Prometheus text.
//!
//! Names follow `outhaul_<room>_<what>_<unit>_total`; labels come from closed enums, never from a URL, a user or
//! free text.

use std::sync::{Arc, RwLock};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The registry, shared by the rooms that count and the page that shows.
#[derive(Clone)]
pub struct Metrics(Arc<RwLock<Registry>>);

impl Metrics {
    /// The media type of [`Metrics::text`].
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// An empty registry; every name in it begins with `outhaul_`.
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(Registry::with_prefix("outhaul"))))
    }

    /// Lets a room register its metrics below its own prefix.
    pub fn register<T>(&self, room: &'static str, fill: impl FnOnce(&mut Registry) -> T) -> T {
        let mut registry = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        fill(registry.sub_registry_with_prefix(room))
    }

    /// Everything, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if encode(&mut text, &registry).is_err() {
            tracing::error!("metrics could not be written as text");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
