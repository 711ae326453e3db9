//! Makes a line to the relay, and leads it through the handshake.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use rustls::ClientConfig;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;

use super::{Config, ConnectFault, SOFTWARE, outer};
use crate::config::values::WssUrl;
use crate::identity::encoded::Encoded;
use crate::identity::handshake::agent::{Answer, Distrust, Intent, Start, Welcomed, confirm, refused};
use crate::identity::handshake::messages::OuterCertificate;
use crate::identity::handshake::transcript::Session;
use crate::identity::keys::SigningKey;
use crate::net::dial::{Connected, DialFault, Proxy, Purpose, Target, dial};
use crate::net::inner_tls::{Identity, Line, PeerKey};
use crate::net::tls::{self, HandshakeFault, Peer, TlsFault};
use crate::net::tunnel::Closed;
use crate::net::websocket::{self, OpenFault};
use crate::tunnel::code::CloseCode;
use crate::tunnel::frame::Kind;

/// TCP to a relay, perhaps through the proxy.
pub type Reached = Connected;
/// TLS over it.
pub type Secured = TlsStream<Reached>;
/// A socket to a relay.
pub type Socket = WebSocketStream<Secured>;
/// A line to a relay.
pub(super) type RelayLine = Line<Secured>;

/// A line that was just opened.
pub(super) struct Opened {
    pub(super) line: RelayLine,
    /// Of the TLS session under it.
    exporter: [u8; 32],
    /// What the server of that session showed.
    pub(super) outer: Option<OuterCertificate>,
}

/// Knows the way to the relay. What looks for faults on that way takes the steps one by one.
pub struct Opener {
    url: WssUrl,
    proxy: Option<Proxy>,
    tls: Arc<ClientConfig>,
}

impl Opener {
    /// Reads the authorities.
    pub fn new(config: &Config) -> Result<Self, TlsFault> {
        let tls = tls::client_config(Peer::Relay, config.ca_file.as_deref())?;
        Ok(Self { url: config.url.clone(), proxy: config.proxy.clone(), tls })
    }

    /// TCP, perhaps through the proxy; TLS; WebSocket.
    pub(super) async fn open(&self) -> Result<Opened, ConnectFault> {
        let stream = self.secure(self.reach().await?).await?;
        let session = stream.get_ref().1;
        let (exporter, outer) = (tls::exporter(session)?, outer::read(session.peer_certificates()));
        let (socket, _) = self.upgrade(stream).await?;
        Ok(Opened { line: Line::new(socket), exporter, outer })
    }

    /// What to think of a tunnel that was cut without a word, where a proxy is on the way.
    pub(super) fn suspicion(&self, closed: &Closed) -> String {
        let target = Target { host: self.url.host.clone(), port: self.url.port };
        let proxy = self.proxy.as_ref().filter(|proxy| !proxy.exempts(&target));
        let silent = matches!(closed.code, CloseCode::Broken | CloseCode::Silent);
        proxy.filter(|_| silent).map_or_else(String::new, |proxy| {
            format!(
                "; the way leads through the proxy {}: if this comes again after the same time, it cuts connections \
                 that are idle for less than the 15 s between heartbeats, or limits their age",
                proxy.address
            )
        })
    }

    /// TCP, perhaps through the proxy.
    pub async fn reach(&self) -> Result<Reached, DialFault> {
        let target = Target { host: self.url.host.clone(), port: self.url.port };
        dial(&target, self.proxy.as_ref(), Purpose::Tunnel, STEP).await
    }

    /// TLS with the relay.
    pub async fn secure(&self, stream: Reached) -> Result<Secured, HandshakeFault> {
        tls::connect(Arc::clone(&self.tls), &self.url.host, stream, STEP).await
    }

    /// The WebSocket, and the header fields of the answer that opened it.
    pub async fn upgrade(&self, stream: Secured) -> Result<(Socket, HeaderMap), OpenFault> {
        websocket::upgrade(stream, &self.url.authority(), "", SOFTWARE, STEP).await
    }
}

/// The handshake up to WELCOME; inside a TLS session of its own, if something opens the one under the line. What it
/// brings must be on disk before [`send_confirm`].
pub(super) async fn greet(
    opened: &mut Opened,
    start: Start,
    key: &Arc<SigningKey>,
) -> Result<Welcomed, ConnectFault> {
    let greeted = layers(opened, start, key).await;
    if let Err(fault) = &greeted {
        if let Some(refuse) = fault.farewell() {
            let _ = opened.line.send(Kind::Refuse, refuse.encode(), PARTING).await;
        }
        opened.line.close(CloseCode::Refused, PARTING).await;
    }
    greeted
}

async fn layers(opened: &mut Opened, start: Start, key: &Arc<SigningKey>) -> Result<Welcomed, ConnectFault> {
    let Opened { line, exporter, outer } = opened;
    let pin = match &start.intent {
        Intent::Connect { relay, .. } => PeerKey::Key(*relay.as_bytes()),
        Intent::Enrol { relay, .. } => PeerKey::Fingerprint(relay.0),
    };
    if let Some(welcomed) = steps(line, start.clone(), key, Session::outer(*exporter), None).await? {
        return Ok(welcomed);
    }
    line.send(Kind::StartTls, Bytes::new(), STEP).await?;
    let own: Arc<dyn Identity> = Arc::<SigningKey>::clone(key);
    let session = Session::inner(line.connect_inside(own, pin, STEP).await?);
    // The state machine never wants TLS inside of TLS inside.
    let welcomed = steps(line, start, key, session, outer.as_ref()).await?;
    welcomed.ok_or_else(|| Distrust::InterceptedInside.into())
}

/// `None` if it must be done inside.
async fn steps(
    line: &mut RelayLine,
    start: Start,
    key: &SigningKey,
    session: Session,
    outer: Option<&OuterCertificate>,
) -> Result<Option<Welcomed>, ConnectFault> {
    let (hello, waiting) = start.hello(key, Encoded::random()?);
    line.send(Kind::Hello, hello, STEP).await?;
    let challenge = receive(line, Kind::Challenge, "CHALLENGE").await?;
    let Answer::Proof(proof, proved) = waiting.answer(&challenge, key, session, outer)? else {
        return Ok(None);
    };
    line.send(Kind::Proof, proof, STEP).await?;
    let welcome = receive(line, Kind::Welcome, "WELCOME").await?;
    Ok(Some(proved.welcomed(&welcome)?))
}

/// Tells the relay that its WELCOME is on disk.
pub(super) async fn send_confirm(line: &mut RelayLine) -> Result<(), ConnectFault> {
    Ok(line.send(Kind::Confirm, confirm(), STEP).await?)
}

async fn receive(line: &mut RelayLine, kind: Kind, name: &'static str) -> Result<Bytes, ConnectFault> {
    let frame = line.receive(STEP).await?;
    match frame.kind {
        Kind::Refuse => Err(ConnectFault::Refused(refused(&frame.payload))),
        other if other == kind => Ok(frame.payload),
        _ => Err(Distrust::Malformed(name).into()),
    }
}

/// Each step may take so long.
const STEP: Duration = Duration::from_secs(10);
/// Nobody waits longer for the end of a line that failed.
const PARTING: Duration = Duration::from_secs(1);
