//! `make demo`: a Jira, a relay and an agent as separate processes on this machine, joined by the very commands
//! that an operator and an administrator type; then a few calls, and it stays up.
//!
//! Steered by the environment: `JIRA_URL` and `JIRA_PAT` for a real Jira (and `JIRA_USER`, `JIRA_CA_FILE`),
//! `DEMO_JSON` for a file that says where everything is, `DEMO_UPSTREAM=name=URL` for a further upstream,
//! `DEMO_DIR` for the folder, which is then kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    reason = "not shipped: a fault here is shown to whoever runs the demo"
)]

mod children;
mod client;
mod files;
mod jira;
mod people;
mod settings;
mod show;
mod story;

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(story::tell()),
        Err(fault) => Err(format!("no runtime: {fault}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("\ndemo: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// What stops the demo, in words for whoever runs it.
type Outcome<T> = Result<T, String>;

/// A fault of the library as such words.
fn words(report: impl std::fmt::Display) -> String {
    report.to_string()
}
