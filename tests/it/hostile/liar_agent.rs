//! An agent that lies. It is enrolled at the real relay's process, as a compromised site's is, and says what it likes.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use outhaul::common::ids::{AgentId, BootId};
use outhaul::common::tasks::Tasks;
use outhaul::identity::encoded::Encoded;
use outhaul::identity::handshake::agent::{Answer, Intent, Start, Welcomed, confirm, refused};
use outhaul::identity::handshake::join::Join;
use outhaul::identity::handshake::messages::Refuse;
use outhaul::identity::handshake::transcript::Session;
use outhaul::identity::keys::{PublicKey, SigningKey};
use outhaul::identity::token::EnrolmentToken;
use outhaul::net::tls::{Peer, client_config, connect, exporter};
use outhaul::net::websocket::{self, receive_frame, send_frame};
use outhaul::tunnel::frame::{END_STREAM, Frame, Kind};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;

use super::wire::{PATIENCE, Said, Wire, answer_head, flagged, frame};
use crate::support::client::Client;
use crate::support::door::Door;
use crate::support::process::Daemon;
use crate::support::world::{SITE, World};

pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;
pub(crate) type Tunnel = Wire<TlsStream<TcpStream>>;

/// The way to the relay.
#[derive(Clone)]
pub(crate) struct Way {
    authority: PathBuf,
    port: u16,
}

/// What an enrolled agent has.
pub(crate) struct Enrolled {
    pub(crate) way: Way,
    pub(crate) site: String,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) id: AgentId,
    pub(crate) relay: PublicKey,
    pub(crate) join: Join,
}

/// What was said in a handshake, to be said again.
#[derive(Clone, Default)]
pub(crate) struct Spoken {
    pub(crate) hello: Bytes,
    pub(crate) proof: Bytes,
}

/// A relay's process with one agent that lies, connected.
pub(crate) struct LiarAgent {
    pub(crate) world: World,
    pub(crate) relay: Daemon,
    pub(crate) agent: Enrolled,
    pub(crate) tunnel: Tunnel,
}

impl LiarAgent {
    /// Starts the relay and enrols the liar for the usual site.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with changes to the relay's configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&World)) -> Self {
        let world = World::new("http://127.0.0.1:9");
        change(&world);
        let mut relay = world.start_relay();
        relay.line("the relay is ready").await;
        let token = world.token().await;
        let (mut agent, _) = Enrolled::enrol(&world, &token).await.unwrap();
        let tunnel = agent.connected(&mut relay).await;
        Self { world, relay, agent, tunnel }
    }

    /// Connects anew after the relay ended the session.
    pub(crate) async fn comes_back(&mut self) {
        self.tunnel = self.agent.connected(&mut self.relay).await;
    }

    /// A caller's ways in.
    pub(crate) fn door(&self) -> Door {
        Door::new(&self.world.authority.file, self.world.port, "ohk_any")
    }

    /// A caller that makes one call.
    pub(crate) fn client(&self) -> Client {
        self.world.client()
    }

    /// A caller's call is brought here and answered as an honest agent would.
    pub(crate) async fn still_serves(&mut self) {
        let call = calling(&self.client(), SITE, "/jira/honest");
        answer(&mut self.tunnel, b"honest").await;
        let answer = call.await.unwrap().unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"honest"[..]), "{answer:?}");
    }
}

/// Makes a call of a caller's in a task of its own.
pub(crate) fn calling(
    client: &Client,
    site: &str,
    path: &'static str,
) -> tokio::task::JoinHandle<std::io::Result<crate::support::client::Answer>> {
    let (client, host) = (client.clone(), format!("{site}.{}", crate::support::world::ZONE));
    Tasks::new().spawn_detached(async move { client.get(&host, path).await })
}

/// Answers the next call as an honest agent would.
pub(crate) async fn answer(tunnel: &mut Tunnel, body: &[u8]) {
    let (stream, _) = tunnel.opened().await;
    tunnel.say(&honest(stream, body)).await;
}

/// An honest answer's frames.
pub(crate) fn honest(stream: u64, body: &[u8]) -> Vec<Frame> {
    vec![frame(Kind::Head, stream, answer_head(200, &[])), flagged(Kind::Data, END_STREAM, stream, body)]
}

impl Enrolled {
    /// Enrols with a token.
    pub(crate) async fn enrol(world: &World, token: &str) -> Result<(Self, Spoken), Refuse> {
        let token: EnrolmentToken = token.parse().unwrap();
        let way = Way { authority: world.authority.file.clone(), port: world.port };
        let key = Arc::new(SigningKey::generate().unwrap().0);
        let intent = Intent::Enrol { relay: token.relay, secret: token.secret.clone() };
        let start = start(intent, token.site.as_str());
        let mut socket = way.open().await;
        let mut spoken = Spoken::default();
        let welcomed = shake(&mut socket, start, &key, &mut spoken).await?;
        // The relay closes after CONFIRM: by then the agent is known.
        let _ = receive_frame(&mut socket, PATIENCE).await;
        let Welcomed { welcome, relay, .. } = welcomed;
        let site = token.site.to_string();
        Ok((Self { way, site, key, id: welcome.agent, relay, join: welcome.join }, spoken))
    }

    /// Connects, keeps the new join state, and waits until the relay sends calls here.
    pub(crate) async fn connected(&mut self, relay: &mut Daemon) -> Tunnel {
        let mark = relay.mark();
        let (tunnel, join, _) = self.connect_as(self.id, &self.site, self.join).await.unwrap();
        self.join = join;
        relay.line_after(mark, "an agent connected").await;
        tunnel
    }

    /// Connects with its own key as anybody, showing any join state.
    pub(crate) async fn connect_as(
        &self,
        id: AgentId,
        site: &str,
        join: Join,
    ) -> Result<(Tunnel, Join, Spoken), Refuse> {
        let intent = Intent::Connect { agent: id, relay: self.relay, join: Some(join) };
        let mut socket = self.way.open().await;
        let mut spoken = Spoken::default();
        let welcomed = shake(&mut socket, start(intent, site), &self.key, &mut spoken).await?;
        Ok((Wire::new(socket), welcomed.welcome.join, spoken))
    }
}

fn start(intent: Intent, site: &str) -> Start {
    let site = site.parse().unwrap();
    Start { intent, site, slot: 0, boot: BootId::generate(), software: "liar/1".to_owned() }
}

impl Way {
    /// The WebSocket before the handshake.
    pub(crate) async fn open(&self) -> Socket {
        let tls = client_config(Peer::Relay, Some(&self.authority)).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let tls = connect(tls, "localhost", socket, PATIENCE).await.unwrap();
        websocket::connect(tls, &format!("localhost:{}", self.port), "", "liar", PATIENCE).await.unwrap()
    }
}

async fn shake(
    socket: &mut Socket,
    start: Start,
    key: &SigningKey,
    spoken: &mut Spoken,
) -> Result<Welcomed, Refuse> {
    let session = Session::outer(exporter(socket.get_ref().get_ref().1).unwrap());
    let (hello, waiting) = start.hello(key, Encoded::random().unwrap());
    spoken.hello = hello.clone();
    send_frame(socket, Kind::Hello, hello, PATIENCE).await.unwrap();
    let challenge = next(socket, Kind::Challenge).await?;
    let Answer::Proof(proof, proved) = waiting.answer(&challenge, key, session, None).unwrap() else {
        panic!("TLS inside, though nothing opens it");
    };
    spoken.proof = proof.clone();
    send_frame(socket, Kind::Proof, proof, PATIENCE).await.unwrap();
    let welcomed = proved.welcomed(&next(socket, Kind::Welcome).await?).unwrap();
    send_frame(socket, Kind::Confirm, confirm(), PATIENCE).await.unwrap();
    Ok(welcomed)
}

/// The next frame of a handshake, or the refusal.
pub(crate) async fn next(socket: &mut Socket, kind: Kind) -> Result<Bytes, Refuse> {
    let frame = receive_frame(socket, PATIENCE).await.unwrap();
    if frame.kind == Kind::Refuse {
        return Err(refused(&frame.payload));
    }
    assert_eq!(frame.kind, kind);
    Ok(frame.payload)
}

/// Nothing more comes on this stream but what ends it; gives whether it was reset.
pub(crate) async fn is_reset(tunnel: &mut Tunnel, stream: u64) -> bool {
    loop {
        match tunnel.next().await {
            Said::Frame(frame) if frame.stream == stream => return frame.kind == Kind::Reset,
            Said::Frame(_) => {}
            Said::Closed(..) => return false,
        }
    }
}
