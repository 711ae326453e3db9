//! The applications at the site: their nodes, the connections to them, and whether they live.
//!
//! [`Upstream::send`] takes a request that the proxy has made ready and brings the head of the answer; the body
//! streams. It never decides what may be sent and knows no credential. It repeats nothing whose first byte has
//! left, but a GET or HEAD on a connection that proved stale. The proxy calls it.

mod answer;
mod body;
mod connect;
mod exchange;
mod fault;
mod framing;
mod health;
mod io;
mod pool;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use tokio::sync::Notify;

pub use answer::AnswerBody;
pub use body::{BodyFault, BoxError, Outgoing, WrongDigest};
use exchange::{Exchange, Failed, Patience};
pub use fault::{AnswerFault, SendFault, SetupFault};
use health::Node;
pub use health::{Health, NodeReport};
use pool::{For, Reuse};

use crate::common::clock::Clock;
use crate::common::ids::UpstreamName;
use crate::common::limits::ByteSize;
use crate::common::tasks::Tasks;
use crate::config::values::HttpBase;
use crate::net::dial;

/// What the agent calls itself. Not a browser's: that would put Jira's cross-site checks into their strict mode.
pub const USER_AGENT: &str = concat!("outhaul-agent/", env!("CARGO_PKG_VERSION"));

/// What `[upstream.NAME]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// As in the first path segment of a call.
    pub name: UpstreamName,
    /// Where the agent reaches it: one address a node; at least one.
    pub nodes: Vec<HttpBase>,
    /// What it calls itself: `Host`, and the links in its answers.
    pub base_url: HttpBase,
    /// Further authorities to trust for `https` nodes.
    pub ca_file: Option<PathBuf>,
    /// Whether its answers say in `X-AUSERNAME` whom they were made for, as Jira's do.
    pub identity_header: bool,
    /// Set where a balancer keeps sessions by this cookie: the calls of one caller then keep to one node.
    pub affinity_cookie: Option<String>,
    /// Whether a standby agent may call it.
    pub stateless: bool,
    /// Whether it is reached through the proxy on the way out; applications are not, unless told.
    pub via_proxy: bool,
    /// For a new connection, TLS included; and for a free one where all are in use.
    pub connect_timeout: Duration,
    /// From the end of the request to the answer's head.
    pub first_byte_timeout: Duration,
    /// Between two pieces of a body, either way.
    pub idle_timeout: Duration,
    /// No request body is larger, whatever a rule says.
    pub max_request_body: ByteSize,
    /// To each node.
    pub max_connections: u32,
}

/// A request as it goes to an upstream, but for the node's own path.
#[derive(Debug)]
pub struct Outbound {
    /// The method.
    pub method: Method,
    /// What follows the node's base path: begins with `/`, and holds the query too.
    pub target: String,
    /// All header fields, `Host` among them.
    pub headers: HeaderMap,
}

/// One application, ready to be called.
pub struct Upstream {
    config: Config,
    nodes: Vec<Node>,
    turn: AtomicUsize,
    /// Rung when an answer looks as if its node did not run: the nodes are then asked before their time.
    doubt: Arc<Notify>,
    clock: Clock,
    tasks: Tasks,
}

impl Upstream {
    /// Makes it ready, and starts watching its nodes. Connects to nothing yet. `proxy` is the one on the way out, for an
    /// application that is to be reached through it.
    pub fn start(
        config: Config,
        proxy: Option<dial::Proxy>,
        clock: Clock,
        tasks: &Tasks,
    ) -> Result<Arc<Self>, SetupFault> {
        let nodes = health::nodes(&config, proxy.filter(|_| config.via_proxy).as_ref(), &clock, tasks)?;
        let (turn, doubt) = (AtomicUsize::new(0), Arc::default());
        let upstream = Arc::new(Self { config, nodes, turn, doubt, clock, tasks: tasks.clone() });
        health::watch(&upstream);
        Ok(upstream)
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The clock its bodies are timed by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Up if any node is.
    pub fn health(&self) -> Health {
        self.nodes.iter().map(Node::health).min().unwrap_or(Health::Unknown)
    }

    /// Each node, for status pages.
    pub fn nodes(&self) -> Vec<NodeReport> {
        self.nodes.iter().map(Node::report).collect()
    }

    /// Asks every node now, and gives what each is then.
    pub async fn examine(&self) -> Vec<NodeReport> {
        health::ask_all(self).await;
        self.nodes()
    }

    /// Kept connections, over all nodes.
    pub fn idle_connections(&self) -> usize {
        self.nodes.iter().map(|node| node.pool.idle()).sum()
    }

    /// Sends a request and waits for the head of its answer. `stick` picks the node where calls keep to one.
    ///
    /// Dropping the future or the answer's body cancels the call at the upstream; only an unsafe call that was
    /// sent whole is read to its end, for at most a minute.
    pub async fn send(
        &self,
        outbound: &Outbound,
        body: Outgoing,
        stick: u64,
    ) -> Result<Response<AnswerBody>, SendFault> {
        self.send_for(For::Call, outbound, body, stick).await
    }

    /// The same for a question of the agent's own, for which calls wait: on one of a few connections that they can't
    /// take.
    pub async fn ask(&self, outbound: &Outbound, body: Outgoing) -> Result<Response<AnswerBody>, SendFault> {
        self.send_for(For::Agent, outbound, body, 0).await
    }

    async fn send_for(
        &self,
        whom: For,
        outbound: &Outbound,
        body: Outgoing,
        stick: u64,
    ) -> Result<Response<AnswerBody>, SendFault> {
        let mut body = Some(body);
        let mut last = SendFault::Unsendable("the upstream has no node".to_owned());
        for node in self.order(stick) {
            let Some(next) = body.take() else { break };
            match self.send_to(node, whom, outbound, next).await {
                Ok(response) => {
                    node.answered();
                    // Maintenance looks like this, and read-only mode too: only the node itself can tell.
                    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
                        self.doubt.notify_one();
                    }
                    return Ok(response);
                }
                Err((fault, unsent)) => {
                    if matches!(fault, SendFault::Connect { .. } | SendFault::Tls { .. }) {
                        node.unreachable(&fault);
                    }
                    last = fault;
                    body = unsent.filter(|_| last.is_unsent());
                }
            }
        }
        Err(last)
    }

    /// On one node. A fault comes with the body where it is still whole.
    async fn send_to(
        &self,
        node: &Node,
        whom: For,
        outbound: &Outbound,
        body: Outgoing,
    ) -> Result<Response<AnswerBody>, (SendFault, Option<Outgoing>)> {
        let may_repeat = body.is_empty() && matches!(outbound.method, Method::GET | Method::HEAD);
        let mut reuse = if outbound.method.is_safe() { Reuse::Any } else { Reuse::Fresh };
        let mut request = match request(node, outbound, body) {
            Ok(request) => request,
            Err((fault, body)) => return Err((fault, Some(body))),
        };
        let patience =
            Patience { first_byte: self.config.first_byte_timeout, idle: self.config.idle_timeout };
        loop {
            let lease = match node.pool.lease(whom, reuse).await {
                Ok(lease) => lease,
                Err(fault) => return Err((fault, Some(request.into_body()))),
            };
            // A second time only on a connection of its own.
            let again = reuse != Reuse::Never;
            reuse = Reuse::Never;
            let exchange = Exchange::start(lease, request, self.clock.clone(), self.tasks.clone());
            request = match exchange.answer(patience).await {
                Ok(response) => return Ok(response),
                Err(Failed::Untouched(request)) if again => *request,
                Err(Failed::Stale(_) | Failed::Unsent(_)) if again && may_repeat => {
                    match self::request(node, outbound, Outgoing::empty(&self.clock)) {
                        Ok(request) => request,
                        Err((fault, _)) => return Err((fault, None)),
                    }
                }
                Err(Failed::Untouched(request)) => {
                    let fault = node.unsent("it was closed at once".to_owned());
                    return Err((fault, Some(request.into_body())));
                }
                Err(Failed::Unsent(reason)) => return Err((node.unsent(reason), None)),
                Err(Failed::Stale(reason)) => return Err((SendFault::Broken(reason), None)),
                Err(Failed::Fault(fault)) => return Err((fault, None)),
            };
        }
    }

    /// Every node once: those that live first, beginning with the one whose turn it is.
    fn order(&self, stick: u64) -> Vec<&Node> {
        let count = self.nodes.len().max(1);
        let start = if self.config.affinity_cookie.is_some() {
            usize::try_from(stick % count as u64).unwrap_or(0)
        } else {
            self.turn.fetch_add(1, Ordering::Relaxed) % count
        };
        let mut order: Vec<&Node> = self.nodes.iter().cycle().skip(start).take(self.nodes.len()).collect();
        order.sort_by_key(|node| node.health() == Health::Down);
        order
    }
}

fn request(
    node: &Node,
    outbound: &Outbound,
    body: Outgoing,
) -> Result<Request<Outgoing>, (SendFault, Outgoing)> {
    let uri = match Uri::try_from(format!("{}{}", node.path(), outbound.target)) {
        Ok(uri) => uri,
        Err(error) => return Err((SendFault::Unsendable(error.to_string()), body)),
    };
    let mut request = Request::new(body);
    *request.method_mut() = outbound.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = outbound.headers.clone();
    Ok(request)
}
