//! The agent's half of a connect, without an agent behind it: the library's own handshake over real TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outhaul::common::ids::{AgentId, BootId, SiteName};
use outhaul::identity::encoded::Encoded;
use outhaul::identity::handshake::agent::{Answer, Intent, Start, Welcomed, confirm, refused};
use outhaul::identity::handshake::join::Join;
use outhaul::identity::handshake::transcript::Session;
use outhaul::identity::keys::{PublicKey, SigningKey};
use outhaul::identity::token::EnrolmentToken;
use outhaul::net::tls::{self, Peer};
use outhaul::net::websocket;
use outhaul::tunnel::frame::Kind;
use rustls::client::Resumption;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;

use crate::{Outcome, words};

pub(crate) type Socket = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

/// One step of the handshake may take so long: many are under way at once.
const STEP: Duration = Duration::from_secs(30);

/// How to reach the relay.
pub(crate) struct Way {
    address: SocketAddr,
    host: String,
    tls: Arc<rustls::ClientConfig>,
}

/// What an enrolled agent keeps.
pub(crate) struct Enrolled {
    pub(crate) key: SigningKey,
    pub(crate) site: SiteName,
    pub(crate) agent: AgentId,
    pub(crate) relay: PublicKey,
    pub(crate) join: Join,
}

impl Way {
    pub(crate) fn new(address: SocketAddr, host: &str, authority: &Path) -> Outcome<Self> {
        let mut tls = (*tls::client_config(Peer::Relay, Some(authority)).map_err(words)?).clone();
        // These are many machines: none has another's session.
        tls.resumption = Resumption::disabled();
        Ok(Self { address, host: host.to_owned(), tls: Arc::new(tls) })
    }

    /// Enrols with a token.
    pub(crate) async fn enrol(&self, token: &str) -> Outcome<Enrolled> {
        let token: EnrolmentToken = token.parse().map_err(words)?;
        let (key, _) = SigningKey::generate().map_err(words)?;
        let intent = Intent::Enrol { relay: token.relay, secret: token.secret.clone() };
        let (welcomed, mut socket) = self.handshake(&key, intent, &token.site, 0).await?;
        // The relay closes after CONFIRM: by then the agent is known.
        let _ = websocket::receive_frame(&mut socket, STEP).await;
        let Welcomed { welcome, relay, .. } = welcomed;
        Ok(Enrolled { key, site: token.site, agent: welcome.agent, relay, join: welcome.join })
    }

    /// Connects a slot; gives the next join state too.
    pub(crate) async fn connect(&self, agent: &Enrolled, slot: u8, join: Join) -> Outcome<(Socket, Join)> {
        let intent = Intent::Connect { agent: agent.agent, relay: agent.relay, join: Some(join) };
        let (welcomed, socket) = self.handshake(&agent.key, intent, &agent.site, slot).await?;
        Ok((socket, welcomed.welcome.join))
    }

    async fn handshake(
        &self,
        key: &SigningKey,
        intent: Intent,
        site: &SiteName,
        slot: u8,
    ) -> Outcome<(Welcomed, Socket)> {
        let mut socket = Box::pin(self.open()).await?;
        let session = Session::outer(tls::exporter(socket.get_ref().get_ref().1).map_err(words)?);
        let software = "bench-fleet/1".to_owned();
        let start = Start { intent, site: site.clone(), slot, boot: BootId::generate(), software };
        let (hello, waiting) = start.hello(key, Encoded::random().map_err(words)?);
        websocket::send_frame(&mut socket, Kind::Hello, hello, STEP).await.map_err(words)?;
        let challenge = next(&mut socket, Kind::Challenge).await?;
        let Answer::Proof(proof, proved) = waiting.answer(&challenge, key, session, None).map_err(words)?
        else {
            return Err("something opens TLS in between".to_owned());
        };
        websocket::send_frame(&mut socket, Kind::Proof, proof, STEP).await.map_err(words)?;
        let welcomed = proved.welcomed(&next(&mut socket, Kind::Welcome).await?).map_err(words)?;
        websocket::send_frame(&mut socket, Kind::Confirm, confirm(), STEP).await.map_err(words)?;
        Ok((welcomed, socket))
    }

    async fn open(&self) -> Outcome<Socket> {
        let stream = TcpStream::connect(self.address).await.map_err(|fault| format!("connect: {fault}"))?;
        stream.set_nodelay(true).map_err(words)?;
        let stream = tls::connect(Arc::clone(&self.tls), &self.host, stream, STEP).await.map_err(words)?;
        let authority = format!("{}:{}", self.host, self.address.port());
        websocket::connect(stream, &authority, "", "bench-fleet/1", STEP).await.map_err(words)
    }
}

async fn next(socket: &mut Socket, kind: Kind) -> Outcome<Bytes> {
    let frame = websocket::receive_frame(socket, STEP).await.map_err(words)?;
    match frame.kind {
        Kind::Refuse => {
            let refuse = refused(&frame.payload);
            Err(format!("refused: {} {}", refuse.code.as_str(), refuse.detail))
        }
        found if found == kind => Ok(frame.payload),
        other => Err(format!("{other:?} came instead of {kind:?}")),
    }
}
