//! Makes a socket to the relay, and leads it through the handshake.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use rustls::ClientConfig;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;

use super::{Config, ConnectFault, SOFTWARE};
use crate::config::values::WssUrl;
use crate::identity::encoded::Encoded;
use crate::identity::handshake::agent::{Distrust, Start, Welcomed, confirm, refused};
use crate::identity::handshake::transcript::Exporter;
use crate::identity::keys::SigningKey;
use crate::net::dial::{Connected, DialFault, Proxy, Purpose, Target, dial};
use crate::net::tls::{self, HandshakeFault, Peer, TlsFault};
use crate::net::websocket::{self, OpenFault, receive_frame, send_frame};
use crate::tunnel::code::CloseCode;
use crate::tunnel::frame::Kind;

/// TCP to a relay, perhaps through the proxy.
pub type Reached = Connected;
/// TLS over it.
pub type Secured = TlsStream<Reached>;
/// A socket to a relay.
pub type Socket = WebSocketStream<Secured>;

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
    pub(super) async fn open(&self) -> Result<(Socket, Exporter), ConnectFault> {
        let stream = self.secure(self.reach().await?).await?;
        let exporter = Exporter(tls::exporter(stream.get_ref().1)?);
        let (socket, _) = self.upgrade(stream).await?;
        Ok((socket, exporter))
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

/// The handshake up to WELCOME. What it brings must be on disk before [`send_confirm`].
pub(super) async fn greet(
    socket: &mut Socket,
    start: Start,
    key: &SigningKey,
    exporter: Exporter,
    allow_unbound: bool,
) -> Result<Welcomed, ConnectFault> {
    let greeted = steps(socket, start, key, exporter, allow_unbound).await;
    if let Err(fault) = &greeted {
        if let Some(refuse) = fault.farewell() {
            let _ = send_frame(socket, Kind::Refuse, refuse.encode(), PARTING).await;
        }
        websocket::close(socket, CloseCode::Refused, PARTING).await;
    }
    greeted
}

async fn steps(
    socket: &mut Socket,
    start: Start,
    key: &SigningKey,
    exporter: Exporter,
    allow_unbound: bool,
) -> Result<Welcomed, ConnectFault> {
    let (hello, waiting) = start.hello(key, Encoded::random()?);
    send_frame(socket, Kind::Hello, hello, STEP).await?;
    let challenge = receive(socket, Kind::Challenge, "CHALLENGE").await?;
    let (proof, proved) = waiting.prove(&challenge, key, Some(exporter), allow_unbound)?;
    send_frame(socket, Kind::Proof, proof, STEP).await?;
    let welcome = receive(socket, Kind::Welcome, "WELCOME").await?;
    Ok(proved.welcomed(&welcome)?)
}

/// Tells the relay that its WELCOME is on disk.
pub(super) async fn send_confirm(socket: &mut Socket) -> Result<(), ConnectFault> {
    Ok(send_frame(socket, Kind::Confirm, confirm(), STEP).await?)
}

async fn receive(socket: &mut Socket, kind: Kind, name: &'static str) -> Result<Bytes, ConnectFault> {
    let frame = receive_frame(socket, STEP).await?;
    match frame.kind {
        Kind::Refuse => Err(ConnectFault::Refused(refused(&frame.payload))),
        other if other == kind => Ok(frame.payload),
        _ => Err(Distrust::Malformed(name).into()),
    }
}

/// Each step may take so long.
const STEP: Duration = Duration::from_secs(10);
/// Nobody waits longer for the end of a socket that failed.
const PARTING: Duration = Duration::from_secs(1);
