//! Front, proxy and upstream, with upstreams whose every byte the test decides.

mod audit;
mod bodies;
mod calls;
mod connections;
mod crowd;
mod fields;
mod idempotency;
mod idempotency_store;
mod identity;
mod jql;
mod links;
mod policy;
mod signed;
mod spellings;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use outhaul::agent::audit::Audit;
use outhaul::agent::callers::Options;
use outhaul::agent::counters::CallMetrics;
use outhaul::agent::credentials::{self, Credentials, Proof};
use outhaul::agent::front::{Arrival, Front, FrontBody, Site, Way};
use outhaul::agent::issuers::Issuers;
use outhaul::agent::mapping::Mappings;
use outhaul::agent::pause::Pause;
use outhaul::agent::policy::{Identity, Place, Policy, Rule, Terms};
use outhaul::agent::proxy::Proxy;
use outhaul::agent::store::Store;
use outhaul::agent::upstream::{BoxError, Config, Upstream};
use outhaul::common::clock::Clock;
use outhaul::common::ids::RequestId;
use outhaul::common::limits::ByteSize;
use outhaul::common::tasks::Tasks;
use outhaul::config::values::SecretRef;
use outhaul::tunnel::head::Scheme;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

use crate::support::pki::write_private;
use crate::support::store::{callers_in, store_in, write_audit};

/// A site with one upstream, `jira`.
pub(super) struct World {
    pub(super) front: Front,
    pub(super) site: Arc<ArcSwap<Site>>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) pause: Pause,
    pub(super) metrics: CallMetrics,
    pub(super) key: String,
    pub(super) store: Store,
    pub(super) audit: Audit,
    folder: tempfile::TempDir,
    tasks: Tasks,
}

/// What a test may change.
pub(super) struct Wish {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) rewrite: bool,
}

/// Rules: below `/anon` as nobody, `/svc` as the service `reader` (user `Reader@corp`), `/person` as a person;
/// `/small` takes 10 bytes.
pub(super) fn world(nodes: &[SocketAddr], change: impl FnOnce(&mut Wish)) -> World {
    let config = Config {
        name: "jira".parse().unwrap(),
        nodes: nodes.iter().map(|node| format!("http://{node}/jira").parse().unwrap()).collect(),
        base_url: "https://jira.corp.example/jira".parse().unwrap(),
        ca_file: None,
        identity_header: true,
        affinity_cookie: None,
        stateless: false,
        via_proxy: false,
        connect_timeout: Duration::from_secs(5),
        first_byte_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(20),
        max_request_body: ByteSize::mib(200),
        max_connections: 16,
    };
    let mut wish = Wish { config, clock: Clock::system(), rewrite: false };
    change(&mut wish);
    let folder = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let upstream = Upstream::start(wish.config, None, wish.clock, &tasks).unwrap();
    let options = Options { rewrite_links: wish.rewrite, act_as: vec!["entra".parse().unwrap()] };
    let (callers, audit, [key]) = callers_in(folder.path(), ["bot"]);
    write_audit(&audit, &tasks);
    let callers = Arc::new(callers);
    let store = store_in(&folder.path().join("people"));
    let secret = folder.path().join("pat");
    write_private(&secret, "pat-reader\n");
    let reader = credentials::Config {
        name: "reader".parse().unwrap(),
        user: "Reader@corp".to_owned(),
        proof: Proof::Pat(SecretRef::File(secret).into()),
    };
    let place = Place { file: "agent.toml".into(), line: 1 };
    let rule = |allow: &str, identity| {
        let allow = allow.parse().unwrap();
        Rule::new(allow, "a test", "jira".parse().unwrap(), identity, place.clone())
    };
    let policy = Policy::compile(vec![
        rule("GET|POST|PUT|DELETE /anon/**", Identity::Anonymous),
        rule("GET|POST|PUT /svc/**", Identity::Service("reader".parse().unwrap())),
        rule("GET /none/**", Identity::Service("missing".parse().unwrap())),
        rule("GET|POST /person/**", Identity::User)
            .with_terms(Terms { accept_relay_trust: true, ..Terms::default() }),
        rule("POST /small/**", Identity::Anonymous).with_max_body(Some(ByteSize(10))),
    ]);
    let proxy = Proxy::new(Arc::clone(&upstream), Arc::default());
    let site = Arc::new(ArcSwap::from_pointee(Site {
        policy: policy.into(),
        meters: Arc::default(),
        upstreams: [("jira".parse().unwrap(), proxy)].into(),
        callers,
        issuers: Arc::new(Issuers::none(Clock::system())),
        credentials: Arc::new(Credentials::load(&[reader])),
        mappings: Mappings::start(store.clone(), Clock::system(), &tasks),
        options: [("bot".parse().unwrap(), options)].into(),
    }));
    let pause = Pause::load(folder.path());
    let metrics = CallMetrics::new();
    let front = Front::new(Arc::clone(&site), pause.clone(), metrics.clone(), audit.clone());
    World { front, site, upstream, pause, metrics, key, store, audit, folder, tasks }
}

impl World {
    /// Sends a request as the caller `bot`; the target as it would reach the site's host.
    pub(super) async fn call<B>(&self, request: Request<B>) -> Response<FrontBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.call_on("", request).await
    }

    /// The same in path form, below a route such as `/s/acme`.
    pub(super) async fn call_on<B>(&self, route: &str, request: Request<B>) -> Response<FrontBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.front.clone().call(self.arrived(route, request)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// The request as the front gets it.
    pub(super) fn arrived<B>(&self, route: &str, mut request: Request<B>) -> Request<B> {
        let target = format!("{route}{}", request.uri());
        let authority = "acme.relay.example:8443".to_owned();
        let arrival = Arrival {
            request_id: RequestId::generate(),
            scheme: Scheme::Https,
            authority,
            target,
            route_length: u16::try_from(route.len()).unwrap(),
            peer: "192.0.2.1:4711".to_owned(),
            way: Way::Terminated,
        };
        request.extensions_mut().insert(arrival);
        let bearer = format!("Bearer {}", self.key).parse().unwrap();
        request.headers_mut().entry(header::AUTHORIZATION).or_insert(bearer);
        request
    }

    /// Puts the policy in force that a configuration with these tables has.
    pub(super) fn follow(&self, tables: &str) {
        let text = format!(
            "[relay]\nurl = \"wss://r\"\n[upstream.jira]\nurl = \"http://j\"\n[service.reader]\nuser = \"r\"\n\
             pat = {{ file = \"/x\" }}\n{tables}"
        );
        let config = outhaul::agent::config::Config::parse("agent.toml", &text).unwrap();
        let old = self.site.load_full();
        self.site.store(Arc::new(Site {
            policy: config.policy,
            meters: Arc::clone(&old.meters),
            upstreams: old.upstreams.clone(),
            callers: Arc::clone(&old.callers),
            issuers: Arc::clone(&old.issuers),
            credentials: Arc::clone(&old.credentials),
            mappings: old.mappings.clone(),
            options: old.options.clone(),
        }));
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        read(self.call(Request::get(path).body(Full::<Bytes>::default()).unwrap()).await).await
    }

    pub(super) async fn post(&self, path: &str, body: &'static str) -> Answer {
        let request = Request::post(path).header(header::CONTENT_LENGTH, body.len());
        read(self.call(request.body(Full::from(body)).unwrap()).await).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.cancel();
        let _ = &self.folder;
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: Option<http::HeaderMap>,
}

impl Answer {
    /// The problem document of ours: code, outcome and retry.
    pub(super) fn problem(&self) -> (String, String, String) {
        let document: serde_json::Value =
            serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no problem: {self:?}"));
        let text = |name: &str| document[name].as_str().unwrap().to_owned();
        let code = self.headers["outhaul-problem"].to_str().unwrap().to_owned();
        assert_eq!(document["type"], format!("urn:outhaul:problem:{code}"));
        (code, text("outcome"), text("retry"))
    }

    pub(super) fn code(&self) -> String {
        self.problem().0
    }
}

/// Reads an answer to its end.
pub(super) async fn read(response: Response<FrontBody>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes(), trailers }
}

pub(super) fn problem(code: &str, outcome: &str, retry: &str) -> (String, String, String) {
    (code.to_owned(), outcome.to_owned(), retry.to_owned())
}

/// What an upstream saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicUsize,
    pub(super) requests: AtomicUsize,
}

impl Seen {
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
    pub(super) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// The upstream's end of one connection.
pub(super) struct Peer {
    pub(super) socket: TcpStream,
    /// Counts from 0; the asking for `/status` does not count.
    pub(super) number: usize,
    buffer: Vec<u8>,
    seen: Arc<Seen>,
}

impl Peer {
    /// The next request's head, as it came.
    pub(super) async fn head(&mut self) -> Option<String> {
        let head = self.head_uncounted().await?;
        self.seen.requests.fetch_add(1, Ordering::SeqCst);
        Some(head)
    }

    async fn head_uncounted(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return Some(String::from_utf8(head).unwrap());
            }
            if self.socket.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The next bytes of a body.
    pub(super) async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.socket.read_buf(&mut self.buffer).await.unwrap() > 0, "ended early");
        }
        let rest = self.buffer.split_off(length);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Everything until this text.
    pub(super) async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self.buffer.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = found {
                return String::from_utf8(self.take(at + end.len()).await).unwrap();
            }
            assert!(self.socket.read_buf(&mut self.buffer).await.unwrap() > 0, "ended early");
        }
    }

    /// Whether the agent closes the connection within two seconds.
    pub(super) async fn is_closed(&mut self) -> bool {
        let mut sink = [0; 4096];
        let closed = async {
            loop {
                if matches!(self.socket.read(&mut sink).await, Ok(0) | Err(_)) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(2), closed).await.is_ok()
    }

    pub(super) async fn send(&mut self, text: &str) {
        // The agent may have gone.
        let _ = self.socket.write_all(text.as_bytes()).await;
    }
}

/// An upstream: `serve` gets each connection once its first head is there. `/status` is answered before that.
pub(super) async fn upstream<F, R>(serve: F) -> (SocketAddr, Arc<Seen>)
where
    F: Fn(Peer, String) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::<Seen>::default();
    let shared = Arc::clone(&seen);
    let serve = Arc::new(serve);
    let tasks = Tasks::new();
    let inner = tasks.clone();
    tasks.spawn_detached(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            let seen = Arc::clone(&shared);
            let serve = Arc::clone(&serve);
            inner.spawn_detached(async move {
                let mut peer = Peer { socket, number: 0, buffer: Vec::new(), seen };
                let Some(head) = peer.head_uncounted().await else { return };
                if head.contains("/status HTTP/1.1\r\n") {
                    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 19\r\n\r\n").await;
                    peer.send(r#"{"state":"RUNNING"}"#).await;
                    return;
                }
                peer.number = peer.seen.connections.fetch_add(1, Ordering::SeqCst);
                peer.seen.requests.fetch_add(1, Ordering::SeqCst);
                serve(peer, head).await;
            });
        }
    });
    (address, seen)
}

/// An upstream that answers each request without a body with this text.
pub(super) async fn answering(text: &'static str) -> (SocketAddr, Arc<Seen>) {
    upstream(move |mut peer, _| async move {
        loop {
            peer.send(text).await;
            if peer.head().await.is_none() {
                return;
            }
        }
    })
    .await
}

/// `GET` without a body.
pub(super) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).body(Full::default()).unwrap()
}
