//! What the running agent would do otherwise than the file says: another policy, a pause, a caller without a key.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::super::daemon::socket_in;
use super::super::understood;
use crate::agent::admin::CallerLine;
use crate::agent::admin::status::Status;
use crate::common::ids::CallerName;
use crate::common::report::{Exit, Report};
use crate::net::local::Client;
use crate::terminal;

/// What is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Running {
    #[serde(flatten)]
    policy: Decides,
    /// Every call is refused.
    paused: bool,
    /// The caller asked about has no key there.
    caller_unknown: bool,
    /// Of the caller asked about, where the call would come by pass-through: the keys that this does not count with, because
    /// they were once sent through the relay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exposed_keys: Vec<String>,
}

/// By what it decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "policy")]
enum Decides {
    /// None runs, or not with this configuration.
    NotRunning,
    /// It may not be asked, or answers in another form.
    Unknown {
        /// Why.
        because: String,
    },
    /// By the same policy.
    Same,
    /// By another policy.
    Other {
        /// When that one was read, RFC 3339.
        loaded: String,
        /// Whether it has looked at the newest file and found it wrong.
        file_is_wrong: bool,
    },
}

/// Asks the agent behind this socket.
pub(super) fn ask(socket: &Path, digest: &str, caller: Option<&CallerName>, passes: bool) -> Running {
    let client = Client::new(socket, super::super::PROGRAM);
    let asked = terminal::block_on(async {
        let both = async {
            let status: Status = understood(client.get("/status").await?)?;
            let callers: Vec<CallerLine> = understood(client.get("/callers").await?)?;
            Ok((status, callers))
        };
        let late = || Report::new(Exit::Temporary, "it did not answer in time");
        tokio::time::timeout(PATIENCE, both).await.unwrap_or_else(|_| Err(late()))
    });
    let (status, callers) = match asked {
        Ok(asked) => asked,
        Err(report) => {
            let because = report.to_string().lines().next().unwrap_or_default().to_owned();
            let not_there = report.exit() == Exit::Unavailable;
            let policy = if not_there { Decides::NotRunning } else { Decides::Unknown { because } };
            return Running { policy, paused: false, caller_unknown: false, exposed_keys: Vec::new() };
        }
    };
    let known = |caller: &CallerName| callers.iter().any(|line| line.name == caller.as_str());
    let is_asked = |line: &&CallerLine| passes && caller.is_some_and(|caller| line.name == caller.as_str());
    let keys = callers.iter().filter(is_asked).flat_map(|line| &line.keys);
    let exposed_keys = keys.filter(|key| key.sent_through_relay).map(|key| key.id.clone()).collect();
    let policy = if status.policy.digest == digest {
        Decides::Same
    } else {
        Decides::Other { loaded: status.config.loaded, file_is_wrong: status.config.error.is_some() }
    };
    let caller_unknown = caller.is_some_and(|caller| !known(caller));
    Running { policy, paused: status.paused, caller_unknown, exposed_keys }
}

/// The report about a file with faults, and what the running agent does in the meantime.
pub(super) fn beside(file: &Path, report: Report) -> Report {
    match socket_in(file).map(|socket| ask(&socket, "", None, false).policy) {
        Some(Decides::Other { loaded, .. }) => report.with_remedy(format!(
            "The running agent goes on by the policy it read at {loaded}. Mend the file; then ask again."
        )),
        _ => report,
    }
}

impl Running {
    /// What a person should know.
    pub(super) fn notes(&self, file: &Path, caller: Option<&CallerName>) -> Vec<String> {
        let file = file.display();
        let policy = match &self.policy {
            Decides::NotRunning | Decides::Same => None,
            Decides::Unknown { because } => {
                Some(format!("whether the running agent has this policy can't be told: {because}"))
            }
            Decides::Other { loaded, file_is_wrong: true } => Some(format!(
                "the running agent decides by another policy: it found {file} wrong and kept what it read at \
                 {loaded}; `outhaul-agent check-config` tells why"
            )),
            Decides::Other { loaded, file_is_wrong: false } => Some(format!(
                "the running agent decides by another policy, read at {loaded}: it has not taken {file} yet \
                 (`outhaul-agent reload`), or was started with another file"
            )),
        };
        let paused = "the running agent is paused and refuses every call; `outhaul-agent resume` ends that";
        let unknown = caller.filter(|_| self.caller_unknown).map(|caller| {
            format!(
                "the running agent knows no caller {caller}: its calls get 401 caller-unknown \
                 (`outhaul-agent caller list`)"
            )
        });
        let exposed = caller.filter(|_| !self.exposed_keys.is_empty()).map(|caller| {
            let keys = self.exposed_keys.join("_…, ");
            format!(
                "pass-through does not count with {keys}_…, which was once sent through the relay: `outhaul-agent caller \
                 rotate {caller}`, and use the new key under the site's own name only"
            )
        });
        let paused = self.paused.then(|| paused.to_owned());
        policy.into_iter().chain(paused).chain(unknown).chain(exposed).collect()
    }
}

/// The explanation itself needs no daemon, and must not wait long for one.
const PATIENCE: Duration = Duration::from_secs(5);
