//! Sets logging up: one event, one line, to standard error.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry};

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Starts logging. `filter` is a level (`info`) or a list of targets and levels (`outhaul=debug,hyper=warn`).
pub fn start(filter: &str, format: Format) -> Result<(), String> {
    let filter =
        EnvFilter::try_new(filter).map_err(|error| format!("“{filter}” is no log filter: {error}"))?;
    let registry = registry().with(filter).with(filter_fn(|about| !shows_bytes(about)));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let started = match format {
        Format::Text => registry.with(lines.with_ansi(false)).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| format!("logging could not be started: {error}"))
}

/// The WebSocket library prints each message whole at its finest level, and with it callers' keys and all that is said;
/// the Kerberos library prints what it works with from debug on. No filter brings that back.
fn shows_bytes(about: &Metadata<'_>) -> bool {
    let from = |name: &str| about.target().starts_with(name);
    (*about.level() == Level::TRACE && from("tungstenite"))
        || (*about.level() >= Level::DEBUG && (from("sspi") || from("picky")))
}
