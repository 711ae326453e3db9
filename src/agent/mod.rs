//! The site's side. To come.

pub mod admin;
pub mod callers;
pub mod cli;
pub mod config;
pub mod connection;
pub mod counters;
pub mod credentials;
pub mod front;
pub mod metrics;
pub mod pause;
pub mod policy;
pub mod proxy;
pub mod reload;
pub mod state;
pub mod upstream;

/// Entry point.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
