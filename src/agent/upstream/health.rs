//! The nodes of an upstream, and whether they live: by `GET {base}/status`, and by what calls meet.
//!
//! Jira answers 200 while it is still starting, so the state in its JSON counts and not the code.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Notify;

use super::body::Outgoing;
use super::connect::Target;
use super::fault::{SendFault, SetupFault, chain};
use super::pool::{For, Pool};
use super::{Config, Outbound, Upstream};
use crate::common::clock::Clock;
use crate::common::tasks::Tasks;
use crate::config::values::HttpBase;
use crate::net::{dial, tls};

/// How often kept connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// A node that lives is asked every so many sweeps; one that does not, at each.
const ASK_EVERY: u32 = 3;
/// After doubt has all nodes asked, not again for so long.
const DOUBT_PAUSE: Duration = Duration::from_secs(1);
/// The status document is a line; more than this is something else.
const STATUS_LIMIT: usize = 4096;

const UNKNOWN: u8 = 0;
const UP: u8 = 1;
/// It says so itself, or did not answer when asked.
const DOWN: u8 = 2;
/// A call met no connection; the next that gets an answer proves otherwise.
const UNREACHABLE: u8 = 3;

/// Whether a node takes calls. In the order in which an upstream counts as the best of its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// It answers, and says it runs.
    Up,
    /// It was not asked yet.
    Unknown,
    /// It can't be reached, or says it does not run.
    Down,
}

impl Health {
    /// As in STATUS and on status pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Unknown => "unknown",
            Self::Down => "down",
        }
    }
}

/// One address of an upstream.
pub(super) struct Node {
    pub(super) pool: Arc<Pool>,
    base: HttpBase,
    state: AtomicU8,
    /// Why it is not up.
    detail: Mutex<Option<String>>,
}

/// A node as status pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Where it is.
    pub url: String,
    /// Whether it takes calls.
    pub health: Health,
    /// Why not.
    pub detail: Option<String>,
}

impl Node {
    /// The node's base path, without a slash at its end.
    pub(super) fn path(&self) -> &str {
        &self.base.path
    }

    pub(super) fn report(&self) -> NodeReport {
        let detail = self.detail.lock().unwrap_or_else(PoisonError::into_inner).clone();
        NodeReport { url: self.base.to_string(), health: self.health(), detail }
    }

    pub(super) fn health(&self) -> Health {
        match self.state.load(Ordering::Relaxed) {
            UP => Health::Up,
            DOWN | UNREACHABLE => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// A call got an answer. One that calls itself down stays down until it says otherwise.
    pub(super) fn answered(&self) {
        let seen = self.state.load(Ordering::Relaxed);
        if matches!(seen, UNKNOWN | UNREACHABLE) && self.set(UP, None) {
            tracing::info!(node = %self.base, "a node of an upstream answers");
        }
    }

    /// A call got no connection.
    pub(super) fn unreachable(&self, fault: &SendFault) {
        if self.set(UNREACHABLE, Some(fault.to_string())) {
            tracing::warn!(error = %fault, "a node of an upstream can't be reached");
        }
    }

    /// The fault for a connection that ended before it took anything.
    pub(super) fn unsent(&self, reason: String) -> SendFault {
        SendFault::Unsent { node: self.pool.target.address.to_string(), reason }
    }

    /// Says whether that is news.
    fn set(&self, state: u8, detail: Option<String>) -> bool {
        *self.detail.lock().unwrap_or_else(PoisonError::into_inner) = detail;
        self.state.swap(state, Ordering::Relaxed) != state
    }
}

/// Makes the nodes ready; reads the authorities' file.
pub(super) fn nodes(
    config: &Config,
    proxy: Option<&dial::Proxy>,
    clock: &Clock,
    tasks: &Tasks,
) -> Result<Vec<Node>, SetupFault> {
    let fault =
        |fault: tls::TlsFault| SetupFault { upstream: config.name.to_string(), reason: chain(&fault) };
    let client = if config.nodes.iter().any(HttpBase::is_tls) {
        Some(tls::client_config(tls::Peer::Upstream, config.ca_file.as_deref()).map_err(fault)?)
    } else {
        None
    };
    let node = |base: &HttpBase| {
        let target = Target {
            address: dial::Target { host: base.host.clone(), port: base.port },
            tls: client.clone().filter(|_| base.is_tls()),
            proxy: proxy.cloned(),
            timeout: config.connect_timeout,
        };
        let pool = Pool::new(target, config.max_connections.max(1), clock.clone(), tasks.clone());
        Node { pool, base: base.clone(), state: AtomicU8::new(UNKNOWN), detail: Mutex::default() }
    };
    Ok(config.nodes.iter().map(node).collect())
}

/// Starts the task that asks the nodes and closes what is idle; it ends with the upstream or the program.
pub(super) fn watch(upstream: &Arc<Upstream>) {
    let tasks = upstream.tasks.clone();
    let watched = Arc::downgrade(upstream);
    let doubt = upstream.doubt.clone();
    upstream.tasks.spawn_detached(async move {
        tokio::select! {
            () = tasks.cancelled() => {}
            () = run(watched, doubt) => {}
        }
    });
}

async fn run(watched: Weak<Upstream>, doubt: Arc<Notify>) {
    let mut round = 0u32;
    let mut doubtful = false;
    while let Some(upstream) = watched.upgrade() {
        let due = upstream.nodes.iter().filter(|node| {
            node.pool.sweep();
            doubtful || node.health() != Health::Up || round.is_multiple_of(ASK_EVERY)
        });
        // All at once: a dead one must not keep news of the others waiting.
        join_all(due.map(|node| ask(&upstream, node))).await;
        drop(upstream);
        round = round.wrapping_add(1);
        let doubted = async {
            tokio::time::sleep(DOUBT_PAUSE).await;
            doubt.notified().await;
        };
        doubtful = tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => false,
            () = doubted => true,
        };
    }
}

pub(super) async fn ask_all(upstream: &Upstream) {
    join_all(upstream.nodes.iter().map(|node| ask(upstream, node))).await;
}

async fn ask(upstream: &Upstream, node: &Node) {
    let verdict = match tokio::time::timeout(patience(&upstream.config), status(upstream, node)).await {
        Ok(verdict) => verdict,
        Err(_) => Err("no answer in time".to_owned()),
    };
    let name = &upstream.config.name;
    let label = &node.base;
    match verdict {
        Ok(()) if node.set(UP, None) => {
            tracing::info!(upstream = %name, node = %label, "a node of an upstream is up");
        }
        Err(reason) if node.set(DOWN, Some(reason.clone())) => {
            tracing::warn!(upstream = %name, node = %label, reason, "a node of an upstream is down");
        }
        _ => {}
    }
}

fn patience(config: &Config) -> Duration {
    config.connect_timeout + config.first_byte_timeout.min(Duration::from_secs(10))
}

async fn status(upstream: &Upstream, node: &Node) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_str(&upstream.config.base_url.authority()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static(crate::agent::upstream::USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let outbound = Outbound { method: Method::GET, target: "/status".to_owned(), headers };
    let answer = upstream
        .send_to(node, For::Agent, &outbound, Outgoing::empty(&upstream.clock))
        .await
        .map_err(|(fault, _)| fault.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), STATUS_LIMIT).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    judge(status, &body, upstream.config.identity_header)
}

/// The state where there is one. Another application than Jira lives if it answers at all.
fn judge(status: StatusCode, body: &Bytes, jira: bool) -> Result<(), String> {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let state = document.as_ref().and_then(|document| document.get("state")).and_then(|state| state.as_str());
    match state {
        Some("RUNNING") => Ok(()),
        Some(state) => Err(format!("its state is {}", state.chars().take(40).collect::<String>())),
        None if jira && status.is_server_error() => Err(format!("it answers {status}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_counts_and_not_the_code() {
        let verdict = |status: u16, body: &'static str, jira| {
            judge(StatusCode::from_u16(status).unwrap(), &Bytes::from_static(body.as_bytes()), jira).is_ok()
        };
        assert!(verdict(200, r#"{"state":"RUNNING"}"#, true));
        for state in ["STARTING", "STOPPING", "FIRST_RUN", "MAINTENANCE", "ERROR"] {
            assert!(!verdict(200, &*format!(r#"{{"state":"{state}"}}"#).leak(), true), "{state}");
        }
        assert!(verdict(404, "<html>", true), "a front end that hides /status");
        assert!(!verdict(502, "<html>", true), "a balancer without its Jira");
        assert!(verdict(500, "oops", false) && verdict(200, "", false));
        assert!(!verdict(503, r#"{"state":"MAINTENANCE"}"#, false));
    }
}
