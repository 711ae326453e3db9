//! Agent and relay meet over real sockets: enrolment, connects, copies, and what may stand between them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use outhaul::agent::connection::enrol::{EnrolFault, Enrolled, enrol};
use outhaul::agent::connection::{Arrivals, Binding, Config, Connection, Snapshot};
use outhaul::common::clock::Clock;
use outhaul::common::ids::RequestId;
use outhaul::common::report::{Exit, Report};
use outhaul::common::tasks::Tasks;
use outhaul::identity::handshake::transcript::Layer;
use outhaul::identity::keys::SigningKey;
use outhaul::identity::token::{EnrolmentSecret, EnrolmentToken};
use outhaul::net::inner_tls::{Identity, Line, PeerKey};
use outhaul::net::tls::{self, Certificates, Peer, client_config, server_config};
use outhaul::net::tunnel::{Acceptor, ByteStream, IncomingCall, Role, Settings, Tunnel, TunnelBody};
use outhaul::net::websocket;
use outhaul::relay::enrolment::{Connected, Gate, GateFault, Outcome};
use outhaul::relay::store::{Registration, Role as Standing, Store};
use outhaul::tunnel::code::{CloseCode, DrainCode};
use outhaul::tunnel::head::{BytesHead, RequestHead, Scheme};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::support::eventually;
use crate::support::interceptor::Interceptor;
use crate::support::pki::Authority;
use crate::support::store::store_in;

const PATIENCE: Duration = Duration::from_secs(15);

/// The relay's tunnels take nothing from the agent here.
struct Deaf;

impl Acceptor for Deaf {
    fn http(&self, _: IncomingCall) {}
    fn bytes(&self, _: BytesHead, _: ByteStream) {}
    fn status(&self, _: Bytes) {}
    fn draining(&self, _: DrainCode, _: String) {}
}

/// The agent's service: says what it was asked, and of some calls it never makes an answer.
#[derive(Clone, Default)]
struct Parrot {
    hanging: Arc<AtomicUsize>,
}

/// Counts a call for as long as it is held.
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Parrot {
    /// Calls that are under way and will not be answered.
    fn hanging(&self) -> usize {
        self.hanging.load(Ordering::SeqCst)
    }
}

impl Service<Request<TunnelBody>> for Parrot {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<TunnelBody>) -> Self::Future {
        let peer = request.extensions().get::<String>().cloned().unwrap_or_default();
        let said = format!("{} {} from {peer}", request.method(), request.uri());
        let hanging = request.uri().path().ends_with("/hang").then(|| {
            self.hanging.fetch_add(1, Ordering::SeqCst);
            Held(Arc::clone(&self.hanging))
        });
        Box::pin(async move {
            if let Some(_held) = hanging {
                std::future::pending::<()>().await;
            }
            Ok(Response::new(Full::new(said.into())))
        })
    }
}

type Tunnels = Arc<Mutex<Vec<(u8, Box<Connected>, Tunnel)>>>;

type Faults = Arc<Mutex<Vec<GateFault>>>;

/// A relay as the handshake sees it, and the site that is to reach it.
struct Bench {
    folder: tempfile::TempDir,
    authority: Authority,
    gate: Arc<Gate>,
    tunnels: Tunnels,
    faults: Faults,
    address: SocketAddr,
    tasks: Tasks,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        let store = Store::open(&folder.path().join("relay.db")).unwrap();
        store.add_site("acme".parse().unwrap(), 1).await.unwrap();
        let gate = Arc::new(Gate {
            store,
            key: Arc::new(SigningKey::generate().unwrap().0),
            clock: Clock::system(),
            tunnel: Settings::default(),
        });
        let (chain, key) = authority.issue("relay", &["localhost"]);
        let acceptor = TlsAcceptor::from(server_config(Certificates::load(&chain, &key).unwrap()).unwrap());
        let (tasks, tunnels) = (Tasks::new(), Tunnels::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let faults = Faults::default();
        let door = (Arc::clone(&gate), Arc::clone(&tunnels), tasks.clone(), Arc::clone(&faults));
        tasks.spawn_detached(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                door.2.spawn_detached(receive(door.clone(), acceptor.clone(), stream, peer));
            }
        });
        Self { folder, authority, gate, tunnels, faults, address, tasks }
    }

    async fn token(&self) -> EnrolmentToken {
        let secret = EnrolmentSecret::generate().unwrap();
        let now = Clock::system().unix_seconds();
        let registration = Registration {
            site: "acme".parse().unwrap(),
            secret_hash: secret.hash().0,
            role: Standing::Active,
            created: now,
            expires: now + 3600,
        };
        assert!(self.gate.store.add_registration(registration).await.unwrap());
        let relay = self.gate.key.public().fingerprint();
        EnrolmentToken { url: "wss://localhost".to_owned(), site: "acme".parse().unwrap(), relay, secret }
    }

    fn config(&self, port: u16) -> Config {
        Config {
            url: format!("wss://localhost:{port}").parse().unwrap(),
            proxy: None,
            ca_file: Some(self.authority.file.clone()),
            tunnels: 2,
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    async fn enrol(&self, config: &Config, token: &EnrolmentToken) -> Result<Enrolled, EnrolFault> {
        let store = store_in(&self.state());
        enrol(config, &store, token, false, &Clock::system()).await
    }

    /// Runs an agent on a state folder.
    async fn agent(config: &Config, folder: &Path) -> Agent {
        Self::agent_with(config, folder, &Parrot::default()).await
    }

    async fn agent_with(config: &Config, folder: &Path, service: &Parrot) -> Agent {
        let store = store_in(folder);
        let identity = store.identity().await.unwrap().unwrap();
        let tasks = Tasks::new();
        let announce = |head: RequestHead, extensions: &mut http::Extensions| {
            extensions.insert(head.peer);
        };
        let arrivals = Arrivals { announce, streams: None };
        let clock = Clock::system();
        let connection =
            Connection::start(config, identity, &store, service, &arrivals, clock, &tasks).unwrap();
        Agent { connection, tasks }
    }

    fn tunnel(&self, slot: u8) -> Option<Tunnel> {
        let tunnels = self.tunnels.lock().unwrap();
        tunnels
            .iter()
            .rev()
            .find(|(number, _, tunnel)| *number == slot && tunnel.is_usable())
            .map(|found| found.2.clone())
    }

    fn head(target: &str) -> RequestHead {
        RequestHead {
            request_id: RequestId::generate(),
            method: Method::GET,
            scheme: Scheme::Https,
            authority: "localhost".to_owned(),
            target: target.to_owned(),
            route_length: 7,
            peer: "192.0.2.1".to_owned(),
            headers: HeaderMap::new(),
        }
    }

    async fn call(&self, slot: u8) -> String {
        let head = Self::head("/s/acme/jira/x?y=1");
        // The agent is there a moment before its CONFIRM has reached the relay.
        eventually("the tunnel", PATIENCE, async || self.tunnel(slot).is_some()).await;
        let tunnel = self.tunnel(slot).unwrap();
        let response = tunnel.request(&head, Empty::<Bytes>::new(), false).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }
}

struct Agent {
    connection: Connection,
    tasks: Tasks,
}

impl Agent {
    async fn connected(&self) -> Vec<Snapshot> {
        eventually("both tunnels", PATIENCE, async || {
            self.connection.snapshots().iter().all(|slot| slot.since.is_some())
        })
        .await;
        self.connection.snapshots()
    }

    async fn stop(self) {
        self.tasks.cancel();
        assert!(self.tasks.drain(PATIENCE).await);
    }
}

async fn receive(
    (gate, tunnels, tasks, faults): (Arc<Gate>, Tunnels, Tasks, Faults),
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let exporter = tls::exporter(stream.get_ref().1).unwrap();
    let group = tasks.clone();
    let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
        let (gate, tunnels, group) = (Arc::clone(&gate), Arc::clone(&tunnels), group.clone());
        let faults = Arc::clone(&faults);
        let answer = websocket::answer_upgrade(&request).unwrap().map(|()| Empty::<Bytes>::new());
        let upgrade = hyper::upgrade::on(&mut request);
        group.clone().spawn_detached(async move {
            let socket = websocket::accept(TokioIo::new(upgrade.await.unwrap()), Vec::new()).await;
            let mut line = Line::new(socket);
            let outcome = gate.handshake(&mut line, exporter, peer, PATIENCE).await;
            let connected = match outcome {
                Ok(Outcome::Connected(connected)) => connected,
                Ok(Outcome::Enrolled(_)) => return line.close(CloseCode::Refused, PATIENCE).await,
                Err(fault) => {
                    faults.lock().unwrap().push(fault);
                    return line.close(CloseCode::Refused, PATIENCE).await;
                }
            };
            let (clock, deaf) = (Clock::system(), Arc::new(Deaf));
            let tunnel = line.start(Role::Relay, Settings::default(), clock, &group, deaf).unwrap();
            tunnels.lock().unwrap().push((connected.slot, connected, tunnel));
        });
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let _ = connection.with_upgrades().await;
}

/// The secret as it is written in PROOF.
fn secret_of(token: &EnrolmentToken) -> String {
    let text = token.to_secret_text();
    let document = URL_SAFE_NO_PAD.decode(text.expose().strip_prefix("oht_").unwrap()).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    document["k"].as_str().unwrap().to_owned()
}

fn text(fault: &EnrolFault) -> String {
    Report::from_error(Exit::Unavailable, fault).to_string()
}

fn copy_folder(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().mode(0o700).create(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[tokio::test]
async fn an_agent_enrols_connects_serves_and_comes_back() {
    let bench = Bench::new().await;
    let config = bench.config(bench.address.port());
    let token = bench.token().await;
    let enrolled = bench.enrol(&config, &token).await.unwrap();
    assert_eq!(enrolled.binding.layer, Layer::Outer);
    let again = bench.enrol(&config, &token).await.unwrap_err();
    assert!(
        text(&again).contains("enrolled already") && text(&again).contains("--replace"),
        "{}",
        text(&again)
    );

    for round in 0..2 {
        let agent = Bench::agent(&config, &bench.state()).await;
        for slot in agent.connected().await {
            assert_eq!((slot.binding.unwrap().layer, slot.error), (Layer::Outer, None));
        }
        for slot in 0..2 {
            assert_eq!(bench.call(slot).await, "GET /jira/x?y=1 from 192.0.2.1", "round {round}");
        }
        // The line breaks: the agent is back by itself.
        bench.tunnel(0).unwrap().close(CloseCode::Internal, "test");
        eventually("a new tunnel", PATIENCE, async || bench.tunnel(0).is_some()).await;
        assert_eq!(bench.call(0).await, "GET /jira/x?y=1 from 192.0.2.1");
        agent.stop().await;
    }
    assert!(bench.gate.store.alarms().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_drained_tunnel_is_replaced_before_it_ends() {
    let bench = Bench::new().await;
    let config = bench.config(bench.address.port());
    bench.enrol(&config, &bench.token().await).await.unwrap();
    let agent = Bench::agent(&config, &bench.state()).await;
    bench.call(0).await;
    let old = bench.tunnel(0).unwrap();
    old.drain(DrainCode::Operator, "test");
    eventually("a second tunnel", PATIENCE, async || bench.tunnel(0).is_some()).await;
    let still_open = tokio::time::timeout(Duration::from_millis(50), old.closed()).await.is_err();
    assert!(still_open, "the old one lives on beside the new one");
    assert_eq!(bench.call(0).await, "GET /jira/x?y=1 from 192.0.2.1");
    agent.stop().await;
}

#[tokio::test]
async fn a_caller_that_goes_cancels_the_service() {
    let bench = Bench::new().await;
    let config = bench.config(bench.address.port());
    bench.enrol(&config, &bench.token().await).await.unwrap();
    let service = Parrot::default();
    let agent = Bench::agent_with(&config, &bench.state(), &service).await;
    bench.call(0).await;
    let tunnel = bench.tunnel(0).unwrap();
    let hang = Bench::head("/s/acme/hang");
    let calling = tunnel.request(&hang, Empty::<Bytes>::new(), false);
    let caller_goes = Box::pin(tokio::time::timeout(Duration::from_millis(500), calling));
    let (gone, ()) = tokio::join!(caller_goes, async {
        eventually("the call", PATIENCE, async || service.hanging() == 1).await;
    });
    assert!(gone.is_err());
    eventually("the call is dropped", PATIENCE, async || service.hanging() == 0).await;

    // A tunnel that is lost takes its calls with it.
    bench.call(1).await;
    let second = bench.tunnel(1).unwrap();
    let lost = tokio::join!(second.request(&hang, Empty::<Bytes>::new(), false), async {
        eventually("the call", PATIENCE, async || service.hanging() == 1).await;
        second.close(CloseCode::Internal, "test");
    });
    assert!(lost.0.is_err());
    eventually("the call is dropped", PATIENCE, async || service.hanging() == 0).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_copy_is_refused_with_an_alarm_and_the_live_session_stays() {
    let bench = Bench::new().await;
    let config = bench.config(bench.address.port());
    bench.enrol(&config, &bench.token().await).await.unwrap();
    let copied = bench.folder.path().join("copy");
    copy_folder(&bench.state(), &copied);
    let agent = Bench::agent(&config, &bench.state()).await;
    agent.connected().await;
    let copy = Bench::agent(&config, &copied).await;
    eventually("the copy is refused", PATIENCE, async || {
        let refused =
            |slot: &Snapshot| slot.error.as_ref().is_some_and(|error| error.contains("clone-suspected"));
        copy.connection.snapshots().iter().all(refused)
    })
    .await;
    let snapshot = copy.connection.snapshots().remove(0);
    let error = snapshot.error.unwrap();
    assert!(error.contains("Stop the copy"), "{error}");
    assert!(snapshot.next_try.unwrap() > Duration::from_secs(1), "{:?}", snapshot.next_try);
    let alarms = bench.gate.store.alarms().await.unwrap();
    assert_eq!(alarms[0].kind, "clone-suspected");
    for slot in 0..2 {
        assert_eq!(bench.call(slot).await, "GET /jira/x?y=1 from 192.0.2.1");
    }
    assert_eq!(bench.tunnels.lock().unwrap().len(), 2, "nobody had to connect anew");
    copy.stop().await;
    agent.stop().await;
}

#[tokio::test]
async fn who_opens_tls_on_the_way_sees_only_tls_inside() {
    let bench = Bench::new().await;
    let corporate = bench.folder.path().join("corporate");
    std::fs::create_dir(&corporate).unwrap();
    let middle = Interceptor::start(&corporate, &bench.authority.file, bench.address).await;
    let config = Config { ca_file: Some(middle.authority.file.clone()), ..bench.config(middle.port) };
    let token = bench.token().await;
    let enrolled = bench.enrol(&config, &token).await.unwrap();
    let seen = |binding: &Binding| {
        assert_eq!(binding.layer, Layer::Inner);
        let outer = binding.outer.clone().unwrap();
        assert!(outer.issuer.contains("Outhaul test authority") && outer.sha256.len() == 64, "{outer:?}");
        outer
    };
    let outer = seen(&enrolled.binding);
    let agent = Bench::agent(&config, &bench.state()).await;
    for slot in agent.connected().await {
        assert_eq!(seen(&slot.binding.unwrap()), outer);
    }
    for round in 0..2 {
        for slot in 0..2 {
            assert_eq!(bench.call(slot).await, "GET /jira/x?y=1 from 192.0.2.1");
        }
        // The line breaks: the agent is back by itself, inside again.
        middle.cut();
        eventually("new tunnels", PATIENCE, async || bench.tunnels.lock().unwrap().len() >= 4 + 2 * round)
            .await;
    }
    for (_, connected, _) in bench.tunnels.lock().unwrap().iter() {
        assert_eq!((connected.layer, connected.outer.as_ref()), (Layer::Inner, Some(&outer)));
    }
    assert!(bench.gate.store.alarms().await.unwrap().is_empty());
    agent.stop().await;

    // What it saw: the handshake outside and nothing else. Both directions were understood.
    let recording = middle.recording();
    for there in
        ["GET /agent/v1 HTTP/1.1", "\"purpose\":\"enrol\"", "\"purpose\":\"connect\"", "\"binding\":"]
    {
        assert!(recording.holds(there), "{there} in what it saw");
    }
    let secret = secret_of(&token);
    for hidden in ["/jira/x", "y=1", "192.0.2.1", "\"secret\"", "\"join\"", "\"counter\"", secret.as_str()] {
        assert!(!recording.holds(hidden), "{hidden} in what it saw");
    }
}

/// Ends both outer TLS and the TLS inside, with keys of its own.
#[tokio::test]
async fn who_opens_tls_inside_too_is_refused_at_both_ends() {
    let bench = Bench::new().await;
    let (chain, key) = bench.authority.issue("middle", &["localhost"]);
    let acceptor = TlsAcceptor::from(server_config(Certificates::load(&chain, &key).unwrap()).unwrap());
    let onward = client_config(Peer::Relay, Some(&bench.authority.file)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (config, relay) = (bench.config(listener.local_addr().unwrap().port()), bench.address);
    let stolen = bench.gate.key.public();
    let tasks = bench.tasks.clone();
    bench.tasks.spawn_detached(async move {
        loop {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let onward = Arc::clone(&onward);
            let tasks = tasks.clone();
            let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
                let answer = websocket::answer_upgrade(&request).unwrap().map(|()| Empty::<Bytes>::new());
                let (upgrade, onward) = (hyper::upgrade::on(&mut request), Arc::clone(&onward));
                tasks.spawn_detached(async move {
                    let agent = websocket::accept(TokioIo::new(upgrade.await.unwrap()), Vec::new()).await;
                    let stream = TcpStream::connect(relay).await.unwrap();
                    let stream = tls::connect(onward, "localhost", stream, PATIENCE).await.unwrap();
                    let relay =
                        websocket::connect(stream, "localhost", "", "middle/1", PATIENCE).await.unwrap();
                    let (mut agent, mut relay) = (Line::new(agent), Line::new(relay));
                    let hello = agent.receive(PATIENCE).await.unwrap();
                    relay.send(hello.kind, hello.payload.clone(), PATIENCE).await.unwrap();
                    let challenge = relay.receive(PATIENCE).await.unwrap();
                    agent.send(challenge.kind, challenge.payload, PATIENCE).await.unwrap();
                    let Ok(start) = agent.receive(PATIENCE).await else { return };
                    relay.send(start.kind, start.payload, PATIENCE).await.unwrap();
                    let own: Arc<dyn Identity> = Arc::new(SigningKey::generate().unwrap().0);
                    let towards_relay =
                        relay.connect_inside(Arc::clone(&own), PeerKey::Key(*stolen.as_bytes()), PATIENCE);
                    let _ = towards_relay.await;
                    // The relay refuses the key after the middle has done its part.
                    assert!(relay.receive(PATIENCE).await.is_err());
                    let towards_agent = agent.accept_inside(own, PeerKey::Key([0; 32]), PATIENCE);
                    assert!(towards_agent.await.is_err());
                });
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        }
    });
    let fault = bench.enrol(&config, &bench.token().await).await.unwrap_err();
    let text = text(&fault);
    assert!(text.contains("another key than the one pinned"), "{text}");
    assert!(text.contains("exempt the relay's host"), "{text}");
    eventually("the relay's word", PATIENCE, async || !bench.faults.lock().unwrap().is_empty()).await;
    let relays = bench.faults.lock().unwrap()[0].to_string();
    assert!(relays.contains("another key than the one pinned"), "{relays}");
    assert!(bench.gate.store.agents().await.unwrap().is_empty());
}

#[tokio::test]
async fn bad_tokens_and_wrong_relays_are_explained() {
    let bench = Bench::new().await;
    let config = bench.config(bench.address.port());
    let good = bench.token().await;

    let other = SigningKey::generate().unwrap().0.public().fingerprint();
    let wrong_relay = EnrolmentToken { relay: other, ..good.clone() };
    let fault = bench.enrol(&config, &wrong_relay).await.unwrap_err();
    assert!(text(&fault).contains("not the one this agent trusts"), "{}", text(&fault));

    let unknown = EnrolmentToken { secret: EnrolmentSecret::generate().unwrap(), ..good.clone() };
    let fault = bench.enrol(&config, &unknown).await.unwrap_err();
    assert!(text(&fault).contains("(token-unknown)"), "{}", text(&fault));

    let elsewhere = EnrolmentToken { site: "other".parse().unwrap(), ..good.clone() };
    let fault = bench.enrol(&config, &elsewhere).await.unwrap_err();
    assert!(text(&fault).contains("(wrong-site)"), "{}", text(&fault));

    bench.enrol(&config, &good).await.unwrap();
    let second = store_in(&bench.folder.path().join("second"));
    let fault = enrol(&config, &second, &good, false, &Clock::system()).await.unwrap_err();
    assert!(text(&fault).contains("(token-used)"), "{}", text(&fault));

    let id = bench.gate.store.agents().await.unwrap()[0].id;
    bench.gate.store.revoke_agent(id, 7).await.unwrap();
    let agent = Bench::agent(&config, &bench.state()).await;
    eventually("the refusal is shown", PATIENCE, async || {
        let slots = agent.connection.snapshots();
        slots.iter().all(|slot| slot.error.as_ref().is_some_and(|error| error.contains("(revoked)")))
    })
    .await;
    agent.stop().await;
}

#[tokio::test]
async fn a_relay_that_talks_rubbish_or_falls_silent_is_left() {
    use futures_util::SinkExt as _;
    use tokio_tungstenite::tungstenite::Message;
    let bench = Bench::new().await;
    let (chain, key) = bench.authority.issue("rubbish", &["localhost"]);
    let acceptor = TlsAcceptor::from(server_config(Certificates::load(&chain, &key).unwrap()).unwrap());
    for (message, says) in [
        (Some(Message::text("hello")), "no handshake frame"),
        (Some(Message::binary(vec![0; 100])), "no handshake frame"),
        (
            Some(Message::binary(vec![0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'{'])),
            "CHALLENGE can't be read",
        ),
        (Some(Message::Close(None)), "closed the connection in the handshake"),
        (None, "connection"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = bench.config(listener.local_addr().unwrap().port());
        let acceptor = acceptor.clone();
        bench.tasks.spawn_detached(async move {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
                let answer = websocket::answer_upgrade(&request).unwrap().map(|()| Empty::<Bytes>::new());
                let (upgrade, message) = (hyper::upgrade::on(&mut request), message.clone());
                let tasks = Tasks::new();
                tasks.spawn_detached(async move {
                    let mut socket =
                        websocket::accept(TokioIo::new(upgrade.await.unwrap()), Vec::new()).await;
                    if let Some(message) = message {
                        let _ = socket.send(message).await;
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                });
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
        let fault = bench.enrol(&config, &bench.token().await).await.unwrap_err();
        assert!(text(&fault).contains(says), "{}\n  should say: {says}", text(&fault));
    }
}

#[tokio::test]
async fn no_relay_gets_into_the_site_by_a_stream_that_is_meant_to_go_out() {
    let bench = Bench::new().await;
    let config = bench.config(bench.address.port());
    bench.enrol(&config, &bench.token().await).await.unwrap();
    let agent = Bench::agent(&config, &bench.state()).await;
    bench.call(0).await;
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("localhost:{}", inside.local_addr().unwrap().port());
    let tunnel = bench.tunnel(0).unwrap();
    for purpose in ["egress", "EGRESS", "bytes", "connect", ""] {
        let opening = BytesHead { purpose: purpose.to_owned(), target: target.clone(), peer: String::new() };
        let mut stream = tunnel.open_bytes(opening).unwrap();
        let mut answer = Vec::new();
        let refused = stream.read_to_end(&mut answer).await.unwrap_err().to_string();
        assert!(refused.contains("a kind of stream this side does not take"), "{purpose}: {refused}");
        assert!(answer.is_empty());
    }
    let came = tokio::time::timeout(Duration::from_millis(200), inside.accept()).await;
    assert!(came.is_err(), "nobody connects inside the site");
    assert_eq!(bench.call(0).await, "GET /jira/x?y=1 from 192.0.2.1", "the tunnel lives");
    agent.stop().await;
}
