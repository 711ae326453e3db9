//! A relay that lies. It holds a relay's identity and certificate, as a hostile operator does, and speaks the handshake
//! as `docs/protocol.md` has it, written anew here so that each step can be bent.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use outhaul::common::ids::AgentId;
use outhaul::common::tasks::Tasks;
use outhaul::identity::encoded::Encoded;
use outhaul::identity::keys::SigningKey;
use outhaul::identity::token::{EnrolmentSecret, EnrolmentToken};
use outhaul::net::tls::{Certificates, exporter, server_config};
use outhaul::net::websocket::{SUBPROTOCOL, receive_frame, relay_config, send_frame};
use outhaul::tunnel::frame::Kind;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::wire::{PATIENCE, Wire};
use crate::support::world::{SITE, World};

/// A tunnel in the liar's hands.
pub(crate) type Tunnel = Wire<TlsStream<TcpStream>>;
type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// How the handshake is bent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Not at all.
    #[default]
    None,
    /// Another relay's key.
    OtherKey,
    /// A version that the agent did not offer.
    Version(u64),
    /// No binding to the TLS session, and a signature that covers none.
    Unbound,
    /// The binding of another TLS session, as one in the middle has it, beside an unbound signature.
    OtherSession,
    /// CHALLENGE is changed after it was signed.
    ChangedChallenge,
    /// The CHALLENGE of an earlier handshake.
    OldChallenge(Bytes),
    /// WELCOME is for another agent.
    OtherAgent,
    /// WELCOME is for another site.
    OtherSite,
    /// WELCOME is changed after it was signed.
    ChangedWelcome,
    /// WELCOME without a signature.
    UnsignedWelcome,
}

/// What one connection of the agent said.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) hello: Value,
    pub(crate) challenge: Bytes,
    /// What PROOF says; none if the agent went no further.
    pub(crate) proof: Option<Value>,
    /// It confirmed.
    pub(crate) confirmed: bool,
}

/// The liar; its listener is gone when dropped.
pub(crate) struct LiarRelay {
    shared: Arc<Shared>,
    tunnels: mpsc::Receiver<Tunnel>,
    tasks: Tasks,
}

struct Shared {
    key: SigningKey,
    other_key: SigningKey,
    agent: AgentId,
    lie: Mutex<Lie>,
    greetings: Mutex<Vec<Greeting>>,
    tunnels: mpsc::Sender<Tunnel>,
}

impl LiarRelay {
    /// Listens at the world's relay port with the world's relay certificate.
    pub(crate) async fn start(world: &World) -> Self {
        let file = |name: &str| world.path().join(name);
        let certificates = Certificates::load(&file("relay.pem"), &file("relay.key")).unwrap();
        let acceptor = TlsAcceptor::from(server_config(certificates).unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, world.port)).await.unwrap();
        let (sender, tunnels) = mpsc::channel(100);
        let shared = Arc::new(Shared {
            key: SigningKey::generate().unwrap().0,
            other_key: SigningKey::generate().unwrap().0,
            agent: AgentId::generate(),
            lie: Mutex::default(),
            greetings: Mutex::default(),
            tunnels: sender,
        });
        let (inner, tasks) = (Arc::clone(&shared), Tasks::new());
        let spawner = tasks.clone();
        tasks.spawn("a relay that lies", async move {
            loop {
                let accepted = tokio::select! {
                    () = spawner.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { continue };
                spawner.spawn_detached(Arc::clone(&inner).greet(acceptor.clone(), stream));
            }
        });
        Self { shared, tunnels, tasks }
    }

    /// A token that leads an agent here.
    pub(crate) fn token(&self, world: &World) -> String {
        let token = EnrolmentToken {
            url: format!("wss://localhost:{}", world.port),
            site: SITE.parse().unwrap(),
            relay: self.shared.key.public().fingerprint(),
            secret: EnrolmentSecret::generate().unwrap(),
        };
        token.to_secret_text().expose().clone()
    }

    /// From now on it lies so.
    pub(crate) fn lies(&self, lie: Lie) {
        *self.shared.lie.lock().unwrap() = lie;
    }

    /// What all connections said so far.
    pub(crate) fn greetings(&self) -> Vec<Greeting> {
        self.shared.greetings.lock().unwrap().clone()
    }

    /// The next tunnel that the agent makes.
    pub(crate) async fn tunnel(&mut self) -> Tunnel {
        let next = tokio::time::timeout(PATIENCE, self.tunnels.recv());
        next.await.expect("the agent connects").unwrap()
    }

    /// A tunnel that is there already.
    pub(crate) fn waiting_tunnel(&mut self) -> Option<Tunnel> {
        self.tunnels.try_recv().ok()
    }
}

impl Drop for LiarRelay {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Shared {
    async fn greet(self: Arc<Self>, acceptor: TlsAcceptor, stream: TcpStream) {
        let Ok(tls) = acceptor.accept(stream).await else { return };
        let exporter = exporter(tls.get_ref().1).unwrap();
        #[expect(clippy::result_large_err, reason = "the library's own type")]
        let upgrade = |_: &Request, mut response: Response| {
            response.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
            Ok(response)
        };
        let accepting = tokio_tungstenite::accept_hdr_async_with_config(tls, upgrade, Some(relay_config()));
        let Ok(mut socket) = accepting.await else { return };
        let at = {
            let mut greetings = self.greetings.lock().unwrap();
            let nothing =
                Greeting { hello: Value::Null, challenge: Bytes::new(), proof: None, confirmed: false };
            greetings.push(nothing);
            greetings.len() - 1
        };
        if self.steps(&mut socket, exporter, at).await.is_some_and(|purpose| purpose == "connect") {
            let _ = self.tunnels.send(Wire::new(socket)).await;
        }
    }

    async fn steps(&self, socket: &mut Socket, exporter: [u8; 32], at: usize) -> Option<String> {
        let note = |change: &dyn Fn(&mut Greeting)| change(&mut self.greetings.lock().unwrap()[at]);
        let raw = expect(socket, Kind::Hello).await?;
        let hello: Value = serde_json::from_slice(&raw).unwrap();
        note(&|greeting| greeting.hello = hello.clone());
        let challenge = self.challenge(&raw, &hello, exporter);
        note(&|greeting| greeting.challenge = challenge.clone());
        send_frame(socket, Kind::Challenge, challenge.clone(), PATIENCE).await.ok()?;
        let proof = expect(socket, Kind::Proof).await?;
        let document: Value = serde_json::from_slice(document(&proof)).unwrap();
        note(&|greeting| greeting.proof = Some(document.clone()));
        let bound = document["bound"] == true;
        let welcome = self.welcome(&[&raw, &challenge, &proof], bound.then_some(exporter));
        send_frame(socket, Kind::Welcome, welcome, PATIENCE).await.ok()?;
        expect(socket, Kind::Confirm).await?;
        note(&|greeting| greeting.confirmed = true);
        hello["purpose"].as_str().map(str::to_owned)
    }

    fn challenge(&self, raw: &[u8], hello: &Value, exporter: [u8; 32]) -> Bytes {
        let lie = self.lie.lock().unwrap().clone();
        if let Lie::OldChallenge(challenge) = lie {
            return challenge;
        }
        let key = if lie == Lie::OtherKey { &self.other_key } else { &self.key };
        let version = if let Lie::Version(version) = lie { version } else { 1 };
        let nonce = Encoded::<32>::random().unwrap();
        let agent_nonce: Encoded<32> = serde_json::from_value(hello["nonce"].clone()).unwrap();
        let session = if lie == Lie::OtherSession { [9; 32] } else { exporter };
        let mut document = json!({ "version": version, "relay_key": key.public(), "nonce": nonce });
        if lie != Lie::Unbound {
            let parts: [&[u8]; 4] = [b"outhaul binding v1", &session, &agent_nonce.0, &nonce.0];
            document["binding"] = json!(Encoded::sha256(&parts));
        }
        let text = document.to_string();
        let sign = |exporter| {
            let hash = digest(b"outhaul relay proof v1", &[raw, text.as_bytes()], exporter);
            key.sign(&hash).0.to_vec()
        };
        let signatures = match lie {
            Lie::Unbound => sign(None),
            Lie::OtherSession => [sign(Some(session)), sign(None)].concat(),
            _ => sign(Some(exporter)),
        };
        // Another spelling of the same is another text too.
        let changed = if lie == Lie::ChangedChallenge { text.replace(':', ": ") } else { text };
        signed(&changed, &signatures)
    }

    fn welcome(&self, transcript: &[&[u8]; 3], bound: Option<[u8; 32]>) -> Bytes {
        let lie = self.lie.lock().unwrap().clone();
        let agent = if lie == Lie::OtherAgent { AgentId::generate() } else { self.agent };
        let site = if lie == Lie::OtherSite { "other" } else { SITE };
        let text = json!({
            "agent": agent,
            "site": site,
            "join": { "counter": 1, "value": Encoded::<32>::random().unwrap() },
            // More than anybody allows: the agent has bounds of its own.
            "limits": { "max_streams": u32::MAX, "max_agent_streams": u32::MAX },
            "ping_seconds": 15,
            "role": "active",
        })
        .to_string();
        let parts = [transcript[0], transcript[1], transcript[2], text.as_bytes()];
        let signature = self.key.sign(&digest(b"outhaul relay welcome v1", &parts, bound)).0;
        match lie {
            Lie::UnsignedWelcome => signed(&text, &[]),
            Lie::ChangedWelcome => signed(&text.replace("\"active\"", "\"standby\""), &signature),
            _ => signed(&text, &signature),
        }
    }
}

/// What a signature covers.
fn digest(label: &[u8], parts: &[&[u8]], exporter: Option<[u8; 32]>) -> [u8; 32] {
    let mut bytes = Vec::new();
    for part in std::iter::once(&label).chain(parts) {
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(part);
    }
    match exporter {
        Some(exporter) => {
            bytes.push(1);
            bytes.extend_from_slice(&exporter);
        }
        None => bytes.push(0),
    }
    Encoded::sha256(&[&bytes]).0
}

fn signed(document: &str, signatures: &[u8]) -> Bytes {
    let length = u16::try_from(document.len()).unwrap().to_be_bytes();
    [&length, document.as_bytes(), signatures].concat().into()
}

fn document(payload: &[u8]) -> &[u8] {
    let length = usize::from(u16::from_be_bytes([payload[0], payload[1]]));
    &payload[2..2 + length]
}

async fn expect(socket: &mut Socket, kind: Kind) -> Option<Bytes> {
    let frame = receive_frame(socket, PATIENCE).await.ok()?;
    (frame.kind == kind).then_some(frame.payload)
}
