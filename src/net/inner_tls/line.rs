//! What a handshake and a tunnel run over: the WebSocket itself, or another one inside its messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ConnectionCommon;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role as End, WebSocketConfig};

use super::{Identity, Inner, InnerFault, PROTOCOL, PeerKey, accept, client_config, connect, server_config};
use crate::common::clock::Clock;
use crate::common::tasks::Tasks;
use crate::net::tls::exporter;
use crate::net::tunnel::{Acceptor, Role, Settings, Tunnel};
use crate::net::websocket::{self, FrameError, agent_config, receive_frame, relay_config, send_frame};
use crate::tunnel::code::CloseCode;
use crate::tunnel::frame::{Frame, Kind};

/// One connection between agent and relay.
#[derive(Debug)]
pub enum Line<S> {
    /// As it was opened.
    Outer(Box<WebSocketStream<S>>),
    /// Messages inside a TLS session of its own, inside the messages of the outer WebSocket.
    Inner(Box<WebSocketStream<Inner<S>>>),
    /// Given up in the middle of a change.
    Gone,
}

/// Why there is no inner session, or it took too long.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] InnerFault),
    /// The library refused; not expected.
    #[error("the TLS session inside the WebSocket could not be set up")]
    Library(#[from] rustls::Error),
    /// It took too long.
    #[error("the TLS session inside the WebSocket did not come to be within {0:?}")]
    TooSlow(Duration),
    /// The session is for something else.
    #[error("the other side's TLS session inside the WebSocket is for another purpose: update it")]
    Protocol,
    /// There is one already.
    #[error("a second TLS session inside the first one is never made")]
    Twice,
}

/// Whether it is for our purpose, and its exporter.
fn told<Data>(connection: &ConnectionCommon<Data>) -> (bool, Result<[u8; 32], rustls::Error>) {
    (connection.alpn_protocol() == Some(PROTOCOL), exporter(connection))
}

impl<S> Line<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Over a WebSocket that was just opened.
    pub fn new(socket: WebSocketStream<S>) -> Self {
        Self::Outer(Box::new(socket))
    }

    /// Whether it runs in a TLS session of its own.
    pub fn is_inner(&self) -> bool {
        matches!(self, Self::Inner(_))
    }

    /// Begins TLS inside, as agent. Gives the exporter of the new session.
    pub async fn connect_inside(
        &mut self,
        own: Arc<dyn Identity>,
        relay: PeerKey,
        within: Duration,
    ) -> Result<[u8; 32], StartFault> {
        let config = client_config(own, relay)?;
        self.change(End::Client, agent_config(), within, async |socket| connect(config, socket).await).await
    }

    /// Takes TLS inside, as relay. Gives the exporter of the new session.
    pub async fn accept_inside(
        &mut self,
        own: Arc<dyn Identity>,
        agent: PeerKey,
        within: Duration,
    ) -> Result<[u8; 32], StartFault> {
        let config = server_config(own, agent)?;
        self.change(End::Server, relay_config(), within, async |socket| accept(config, socket).await).await
    }

    async fn change<F>(
        &mut self,
        end: End,
        settings: WebSocketConfig,
        within: Duration,
        make: F,
    ) -> Result<[u8; 32], StartFault>
    where
        F: AsyncFnOnce(WebSocketStream<S>) -> Result<Inner<S>, (InnerFault, WebSocketStream<S>)>,
    {
        let socket = match std::mem::replace(self, Self::Gone) {
            Self::Outer(socket) => *socket,
            other => {
                *self = other;
                return Err(StartFault::Twice);
            }
        };
        match tokio::time::timeout(within, make(socket)).await {
            Ok(Ok(stream)) => {
                let (protocol, exporter) = match &stream {
                    Inner::Client(stream) => told(stream.get_ref().1),
                    Inner::Server(stream) => told(stream.get_ref().1),
                };
                if !protocol {
                    return Err(StartFault::Protocol);
                }
                let exporter = exporter?;
                let socket = WebSocketStream::from_raw_socket(stream, end, Some(settings)).await;
                *self = Self::Inner(Box::new(socket));
                Ok(exporter)
            }
            Ok(Err((fault, socket))) => {
                *self = Self::new(socket);
                Err(fault.into())
            }
            Err(_) => Err(StartFault::TooSlow(within)),
        }
    }

    /// Sends one frame of the handshake.
    pub async fn send(&mut self, kind: Kind, payload: Bytes, within: Duration) -> Result<(), FrameError> {
        match self {
            Self::Outer(socket) => send_frame(socket, kind, payload, within).await,
            Self::Inner(socket) => send_frame(socket, kind, payload, within).await,
            Self::Gone => Err(FrameError::Closed { reason: None }),
        }
    }

    /// Waits for one frame of the handshake.
    pub async fn receive(&mut self, within: Duration) -> Result<Frame, FrameError> {
        match self {
            Self::Outer(socket) => receive_frame(socket, within).await,
            Self::Inner(socket) => receive_frame(socket, within).await,
            Self::Gone => Err(FrameError::Closed { reason: None }),
        }
    }

    /// Says goodbye and waits a moment. Best effort.
    pub async fn close(&mut self, code: CloseCode, within: Duration) {
        match self {
            Self::Outer(socket) => websocket::close(socket, code, within).await,
            Self::Inner(socket) => websocket::close(socket, code, within).await,
            Self::Gone => {}
        }
    }

    /// Starts the tunnel, after the handshake. `None` if the line is gone.
    pub fn start(
        self,
        role: Role,
        settings: Settings,
        clock: Clock,
        tasks: &Tasks,
        acceptor: Arc<dyn Acceptor>,
    ) -> Option<Tunnel> {
        match self {
            Self::Outer(socket) => Some(Tunnel::start(socket, role, settings, clock, tasks, acceptor)),
            Self::Inner(socket) => Some(Tunnel::start(socket, role, settings, clock, tasks, acceptor)),
            Self::Gone => None,
        }
    }
}
