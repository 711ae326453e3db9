//! An agent without a site behind it: answers each call as its path says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use outhaul::common::clock::Clock;
use outhaul::common::ids::BootId;
use outhaul::common::tasks::Tasks;
use outhaul::identity::encoded::Encoded;
use outhaul::identity::handshake::agent::{Answer, Intent, Start, Welcomed, confirm, refused};
use outhaul::identity::handshake::join::Join;
use outhaul::identity::handshake::messages::{Refuse, SLOTS};
use outhaul::identity::handshake::transcript::{Layer, Session};
use outhaul::identity::keys::{PublicKey, SigningKey};
use outhaul::identity::token::EnrolmentToken;
use outhaul::net::tls::{Peer, client_config, connect, exporter};
use outhaul::net::tunnel::{Acceptor, ByteStream, IncomingCall, Role, Settings, Tunnel};
use outhaul::net::websocket;
use outhaul::tunnel::code::DrainCode;
use outhaul::tunnel::frame::Kind;
use outhaul::tunnel::head::{BytesHead, RequestHead};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;

use super::bench::{Bench, ZONE};

type Socket = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

const TIME: Duration = Duration::from_secs(5);

/// What an enrolled agent has on its disk. Copied, it is a clone.
pub(crate) struct FakeAgent {
    pub(crate) key: Arc<SigningKey>,
    pub(crate) id: outhaul::common::ids::AgentId,
    pub(crate) relay: PublicKey,
    pub(crate) joins: [Join; SLOTS as usize],
    pub(crate) shared: Arc<Shared>,
}

/// What its tunnels have seen.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) heads: Mutex<Vec<RequestHead>>,
    pub(crate) drains: Mutex<Vec<DrainCode>>,
    pub(crate) cancelled: Mutex<u32>,
    tasks: Tasks,
}

/// Enrols with a token.
pub(crate) async fn enrol(bench: &Bench, token: &str) -> Result<FakeAgent, Refuse> {
    let token: EnrolmentToken = token.parse().unwrap();
    let (key, _) = SigningKey::generate().unwrap();
    let intent = Intent::Enrol { relay: token.relay, secret: token.secret.clone() };
    let (welcomed, mut socket) = handshake(bench, &key, intent, token.site.as_str(), 0).await?;
    // The relay closes after CONFIRM: by then the agent is known.
    let _ = websocket::receive_frame(&mut socket, TIME).await;
    Ok(FakeAgent {
        key: Arc::new(key),
        id: welcomed.welcome.agent,
        relay: welcomed.relay,
        joins: [welcomed.welcome.join; SLOTS as usize],
        shared: Arc::default(),
    })
}

/// Enrols as the active agent and connects its slot 0.
pub(crate) async fn connected(bench: &Bench) -> (FakeAgent, Tunnel) {
    let mut agent = enrol(bench, &bench.token("active").await).await.unwrap();
    let tunnel = agent.connect(bench, 0).await.unwrap();
    bench.tunnels(1).await;
    (agent, tunnel)
}

impl FakeAgent {
    /// Connects a slot; keeps the new join state, as an agent does.
    pub(crate) async fn connect(&mut self, bench: &Bench, slot: u8) -> Result<Tunnel, Refuse> {
        let join = self.joins[usize::from(slot)];
        let (tunnel, next) = self.connect_with(bench, slot, Some(join), "acme").await?;
        self.joins[usize::from(slot)] = next;
        Ok(tunnel)
    }

    /// Connects showing any join state; gives the next one.
    pub(crate) async fn connect_with(
        &self,
        bench: &Bench,
        slot: u8,
        join: Option<Join>,
        site: &str,
    ) -> Result<(Tunnel, Join), Refuse> {
        let intent = Intent::Connect { agent: self.id, relay: self.relay, join };
        let (welcomed, socket) = handshake(bench, &self.key, intent, site, slot).await?;
        assert_eq!(welcomed.layer, Layer::Outer);
        let acceptor: Arc<Shared> = Arc::clone(&self.shared);
        let acceptor = Arc::new(Answering(acceptor));
        let (settings, clock) = (Settings::default(), Clock::system());
        let tunnel = Tunnel::start(socket, Role::Agent, settings, clock, &self.shared.tasks, acceptor);
        Ok((tunnel, welcomed.welcome.join))
    }

    /// The last head it was sent.
    pub(crate) fn last(&self) -> RequestHead {
        self.shared.heads.lock().unwrap().last().cloned().unwrap()
    }
}

/// The WebSocket of an agent, before the handshake.
pub(crate) async fn open(bench: &Bench) -> Socket {
    let tls = client_config(Peer::Relay, Some(&bench.authority.file)).unwrap();
    let socket = TcpStream::connect(bench.address).await.unwrap();
    let tls = connect(tls, ZONE, socket, TIME).await.unwrap();
    websocket::connect(tls, ZONE, "", "outhaul-agent/test", TIME).await.unwrap()
}

async fn handshake(
    bench: &Bench,
    key: &SigningKey,
    intent: Intent,
    site: &str,
    slot: u8,
) -> Result<(Welcomed, Socket), Refuse> {
    let mut socket = open(bench).await;
    let session = Session::outer(exporter(socket.get_ref().get_ref().1).unwrap());
    let site = site.parse().unwrap();
    let start = Start { intent, site, slot, boot: BootId::generate(), software: "fake/1".to_owned() };
    let (hello, waiting) = start.hello(key, Encoded::random().unwrap());
    websocket::send_frame(&mut socket, Kind::Hello, hello, TIME).await.unwrap();
    let challenge = next(&mut socket, Kind::Challenge).await?;
    let Answer::Proof(proof, proved) = waiting.answer(&challenge, key, session, None).unwrap() else {
        panic!("TLS inside, though nothing opens it");
    };
    websocket::send_frame(&mut socket, Kind::Proof, proof, TIME).await.unwrap();
    let welcomed = proved.welcomed(&next(&mut socket, Kind::Welcome).await?).unwrap();
    websocket::send_frame(&mut socket, Kind::Confirm, confirm(), TIME).await.unwrap();
    Ok((welcomed, socket))
}

async fn next(socket: &mut Socket, kind: Kind) -> Result<Bytes, Refuse> {
    let frame = websocket::receive_frame(socket, TIME).await.unwrap();
    if frame.kind == Kind::Refuse {
        return Err(refused(&frame.payload));
    }
    assert_eq!(frame.kind, kind);
    Ok(frame.payload)
}

struct Answering(Arc<Shared>);

impl Acceptor for Answering {
    fn http(&self, call: IncomingCall) {
        self.0.heads.lock().unwrap().push(call.head.clone());
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn_detached(answer(shared, call));
    }
    fn bytes(&self, _: BytesHead, stream: ByteStream) {
        drop(stream);
    }
    fn status(&self, _: Bytes) {}
    fn draining(&self, code: DrainCode, _: String) {
        self.0.drains.lock().unwrap().push(code);
    }
}

/// `/echo`: the body and the header fields; `/early`: an answer that leaves the body; `/hang`: none; `/stream`:
/// pieces without end; `/slow`: after half a second; `/trailers`; `/drop`: breaks off.
async fn answer(shared: Arc<Shared>, call: IncomingCall) {
    let IncomingCall { head, body, mut reply } = call;
    let path = head.target[usize::from(head.route_length)..].split('?').next().unwrap().to_owned();
    if path.ends_with("/hang") {
        reply.cancelled().await;
        *shared.cancelled.lock().unwrap() += 1;
    } else if path.ends_with("/slow") {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let _ = reply.send(Response::new(Full::new(Bytes::from("slow")))).await;
    } else if path.ends_with("/drop") {
        drop(reply);
    } else if path.ends_with("/early") {
        let response = Response::builder().status(417).body(Full::<Bytes>::default()).unwrap();
        let _ = reply.send(response).await;
        drop(body);
    } else if path.ends_with("/trailers") {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        let frames = [Ok::<_, String>(Frame::data(Bytes::from("body"))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let response = Response::builder().header("trailer", "x-sum").body(body).unwrap();
        let _ = reply.send(response).await;
    } else if path.ends_with("/stream") {
        let piece = || Ok::<_, String>(Frame::data(Bytes::from(vec![b'x'; 16 * 1024])));
        let body = StreamBody::new(futures_util::stream::repeat_with(piece));
        if reply.send(Response::new(body)).await.is_err() {
            *shared.cancelled.lock().unwrap() += 1;
        }
    } else {
        let Ok(body) = body.collect().await else { return };
        let bytes = body.to_bytes();
        let response = Response::builder()
            .header("content-length", bytes.len())
            .header("set-cookie", "JSESSIONID=1")
            .header("x-seen-target", head.target.as_str())
            .body(Full::new(bytes))
            .unwrap();
        let _ = reply.send(response).await;
    }
}
