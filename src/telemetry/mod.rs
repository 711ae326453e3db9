//! What the programs tell about themselves: logs and metrics.

pub mod logging;
pub mod metrics;
