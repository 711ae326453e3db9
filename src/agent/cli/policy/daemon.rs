//! Whether the running agent decides by the same policy as the file says.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::super::daemon::socket_in;
use super::super::understood;
use crate::agent::admin::status::Status;
use crate::common::report::{Exit, Report};
use crate::net::local::Client;
use crate::terminal;

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "policy")]
pub(super) enum Daemon {
    /// None runs, or not with this configuration.
    NotRunning,
    /// It may not be asked, or answers in another form.
    Unknown {
        /// Why.
        because: String,
    },
    /// It decides by the same policy.
    Same,
    /// It decides by another policy.
    Other {
        /// When that one was read, RFC 3339.
        loaded: String,
        /// Whether it has looked at the newest file and found it wrong.
        file_is_wrong: bool,
    },
}

/// Asks the agent behind this socket.
pub(super) fn ask(socket: &Path, digest: &str) -> Daemon {
    let client = Client::new(socket, super::super::PROGRAM);
    let asked = terminal::block_on(async {
        let late = || Report::new(Exit::Temporary, "it did not answer in time");
        tokio::time::timeout(PATIENCE, client.get("/status")).await.unwrap_or_else(|_| Err(late()))
    });
    match asked.and_then(understood::<Status>) {
        Ok(status) if status.policy.digest == digest => Daemon::Same,
        Ok(status) => {
            Daemon::Other { loaded: status.config.loaded, file_is_wrong: status.config.error.is_some() }
        }
        Err(report) if report.exit() == Exit::Unavailable => Daemon::NotRunning,
        Err(report) => {
            let because = report.to_string().lines().next().unwrap_or_default().to_owned();
            Daemon::Unknown { because }
        }
    }
}

/// The report about a file with faults, and what the running agent does in the meantime.
pub(super) fn beside(file: &Path, report: Report) -> Report {
    let running = socket_in(file).map(|socket| ask(&socket, ""));
    match running {
        Some(Daemon::Other { loaded, .. }) => report.with_remedy(format!(
            "The running agent goes on by the policy it read at {loaded}. Mend the file; then ask again."
        )),
        _ => report,
    }
}

/// The explanation itself needs no daemon, and must not wait long for one.
const PATIENCE: Duration = Duration::from_secs(5);

impl Daemon {
    /// What a person should know.
    pub(super) fn words(&self, file: &Path) -> Option<String> {
        let file = file.display();
        match self {
            Self::NotRunning | Self::Same => None,
            Self::Unknown { because } => {
                Some(format!("whether the running agent has this policy can't be told: {because}"))
            }
            Self::Other { loaded, file_is_wrong: true } => Some(format!(
                "the running agent decides by another policy: it found {file} wrong and kept what it read at \
                 {loaded}; `outhaul-agent check-config` tells why"
            )),
            Self::Other { loaded, file_is_wrong: false } => Some(format!(
                "the running agent decides by another policy, read at {loaded}: it has not taken {file} yet \
                 (`outhaul-agent reload`), or was started with another file"
            )),
        }
    }
}
