//! The WebSocket under a tunnel: opening it as agent, taking it as relay, and the single frames of the handshake.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{SEC_WEBSOCKET_PROTOCOL, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WireCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::tunnel::code::CloseCode;
use crate::tunnel::frame::{Frame, Kind, MAX_MESSAGE};

/// Where a relay takes agents.
pub const PATH: &str = "/agent/v1";
/// What both ends speak.
pub const SUBPROTOCOL: &str = "outhaul.v1";

/// Bounds at the relay, which holds many sockets that are mostly idle: each keeps a buffer of this size. A longer message
/// gets room of its own when its length is known.
pub fn relay_config() -> WebSocketConfig {
    config(2 * 1024)
}

/// Bounds at the agent, which holds two.
pub fn agent_config() -> WebSocketConfig {
    config(16 * 1024)
}

fn config(read_buffer: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(read_buffer)
        .write_buffer_size(128 * 1024)
        .max_write_buffer_size(4 * MAX_MESSAGE)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
}

/// Why no WebSocket came to be.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// An HTTP answer other than 101.
    #[error("{host} answered {status} instead of opening a WebSocket{says}: {hint}")]
    Answer {
        /// The relay's name.
        host: String,
        /// The status.
        status: StatusCode,
        /// What the answer says about itself, if anything.
        says: String,
        /// What to do.
        hint: &'static str,
    },
    /// No answer in time.
    #[error("{host} did not answer the WebSocket request within {within:?}: is it an Outhaul relay?")]
    TooSlow {
        /// The relay's name.
        host: String,
        /// The time it had.
        within: Duration,
    },
    /// It answered, but not as a relay does.
    #[error("{host} does not answer as an Outhaul relay: {source}")]
    NotARelay {
        /// The relay's name.
        host: String,
        /// What is wrong.
        source: Box<Error>,
    },
    /// The connection broke.
    #[error("the connection to {host} broke while the WebSocket was opened")]
    Broken {
        /// The relay's name.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// Our own request can't be made.
    #[error("“{0}” is no address for a WebSocket")]
    Address(String),
}

/// Opens a WebSocket over a connected stream. `authority` is host and port as in the relay's URL, `prefix` the path
/// of that URL, without a slash at its end.
pub async fn connect<S>(
    stream: S,
    authority: &str,
    prefix: &str,
    software: &'static str,
    within: Duration,
) -> Result<WebSocketStream<S>, OpenFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    upgrade(stream, authority, prefix, software, within).await.map(|(socket, _)| socket)
}

/// Like [`connect`], and gives the header fields of the 101.
pub async fn upgrade<S>(
    stream: S,
    authority: &str,
    prefix: &str,
    software: &'static str,
    within: Duration,
) -> Result<(WebSocketStream<S>, HeaderMap), OpenFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let address = format!("wss://{authority}{prefix}{PATH}");
    let uri: Uri = address.parse().map_err(|_| OpenFault::Address(address.clone()))?;
    let mut request = uri.into_client_request().map_err(|_| OpenFault::Address(address.clone()))?;
    let headers = request.headers_mut();
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    headers.insert(USER_AGENT, HeaderValue::from_static(software));
    let opening = tokio_tungstenite::client_async_with_config(request, stream, Some(agent_config()));
    match tokio::time::timeout(within, opening).await {
        Ok(Ok((socket, answer))) => Ok((socket, answer.into_parts().0.headers)),
        Ok(Err(error)) => Err(explain(authority, error)),
        Err(_) => Err(OpenFault::TooSlow { host: authority.to_owned(), within }),
    }
}

fn explain(host: &str, error: Error) -> OpenFault {
    let host = host.to_owned();
    match error {
        Error::Http(answer) => {
            let status = answer.status();
            OpenFault::Answer { host, status, says: says(&answer), hint: hint(&answer) }
        }
        Error::Io(source) => OpenFault::Broken { host, source },
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            OpenFault::Broken { host, source: std::io::ErrorKind::UnexpectedEof.into() }
        }
        other => OpenFault::NotARelay { host, source: Box::new(other) },
    }
}

/// What an HTTP answer tells about who gave it, fit to be shown.
fn says<B>(answer: &Response<B>) -> String {
    let mut says = String::new();
    for (name, word) in [("server", "server"), ("via", "via"), ("outhaul-problem", "problem")] {
        if let Some(value) = answer.headers().get(name).and_then(|value| value.to_str().ok()) {
            let value: String = value.chars().take(80).collect();
            let _ = write!(says, "{}{word} “{value}”", if says.is_empty() { " (" } else { ", " });
        }
    }
    if !says.is_empty() {
        says.push(')');
    }
    says
}

fn hint<B>(answer: &Response<B>) -> &'static str {
    let html = answer
        .headers()
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    match answer.status().as_u16() {
        404 | 405 | 426 => "check the relay's URL: this host takes no agents at that path",
        401 | 407 => "something before the relay wants a login: exempt the relay's host at the proxy",
        403 => "something before the relay forbids it: allow WebSockets to the relay's host there",
        421 => "the relay does not serve that host name: use the URL in the enrolment token",
        429 | 503 => "the relay is busy or starting; the agent tries again by itself",
        502 | 504 => "a proxy before the relay can't reach it: is the relay running?",
        200..=399 if html => {
            "a web page came back, perhaps a login page of a proxy: exempt the relay's host there"
        }
        300..=399 => "the relay's URL leads elsewhere: write the final address into the configuration",
        400 => "something in between may remove the WebSocket headers: exempt the relay's host there",
        _ if html => "a web page came back, perhaps of a proxy in between",
        _ => "check that the relay's URL is right and that nothing in between changes the request",
    }
}

/// Why a request is no agent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpgradeFault {
    /// No WebSocket request at all.
    #[error("agents connect here by WebSocket; this request asks for none")]
    NotAnUpgrade,
    /// Another subprotocol.
    #[error("the WebSocket does not offer the subprotocol outhaul.v1")]
    Subprotocol,
}

/// The 101 to an agent's request; the caller then takes the upgraded socket to [`accept`].
pub fn answer_upgrade<B>(request: &Request<B>) -> Result<Response<()>, UpgradeFault> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let speaks = offered.map(str::trim).any(|name| name == SUBPROTOCOL);
    let mut response = create_response_with_body(request, || ()).map_err(|_| UpgradeFault::NotAnUpgrade)?;
    if !speaks {
        return Err(UpgradeFault::Subprotocol);
    }
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    Ok(response)
}

/// The relay's end over an upgraded connection. `read_ahead` is what was read from it already.
pub async fn accept<S>(io: S, read_ahead: Vec<u8>) -> WebSocketStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    WebSocketStream::from_partially_read(io, read_ahead, Role::Server, Some(relay_config())).await
}

/// Why a handshake frame was not moved.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed.
    #[error("the connection broke in the handshake")]
    Broken(#[source] Box<Error>),
    /// The peer closed it.
    #[error("the other side closed the connection in the handshake{}", reason.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    Closed {
        /// What it said, if anything.
        reason: Option<String>,
    },
    /// Nothing came in time.
    #[error("the other side did not go on with the handshake within {0:?}")]
    TooSlow(Duration),
    /// Something else than one frame came.
    #[error("the other side sent something that is no handshake frame")]
    NotAFrame,
}

impl From<Error> for FrameError {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Self::Closed { reason: None },
            other => Self::Broken(Box::new(other)),
        }
    }
}

/// Sends one frame of the handshake.
pub async fn send_frame<S>(
    socket: &mut WebSocketStream<S>,
    kind: Kind,
    payload: Bytes,
    within: Duration,
) -> Result<(), FrameError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = Frame { kind, flags: 0, stream: 0, payload };
    let mut message = BytesMut::with_capacity(crate::tunnel::frame::HEADER + frame.payload.len());
    frame.encode(&mut message);
    let sending = socket.send(Message::Binary(message.freeze()));
    tokio::time::timeout(within, sending).await.map_err(|_| FrameError::TooSlow(within))??;
    Ok(())
}

/// Waits for one frame of the handshake: a binary message that holds exactly one.
pub async fn receive_frame<S>(socket: &mut WebSocketStream<S>, within: Duration) -> Result<Frame, FrameError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let receiving = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Binary(mut message))) => {
                    let frame = Frame::decode(&mut message).ok().flatten();
                    return frame.filter(|_| message.is_empty()).ok_or(FrameError::NotAFrame);
                }
                // Answered by the library; a flood of them ends with the time.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(close))) => {
                    let reason = close.map(|close| {
                        close.reason.chars().filter(|letter| !letter.is_control()).collect::<String>()
                    });
                    return Err(FrameError::Closed { reason: reason.filter(|text| !text.is_empty()) });
                }
                Some(Ok(_)) => return Err(FrameError::NotAFrame),
                Some(Err(error)) => return Err(error.into()),
                None => return Err(FrameError::Closed { reason: None }),
            }
        }
    };
    tokio::time::timeout(within, receiving).await.map_err(|_| FrameError::TooSlow(within))?
}

/// Says goodbye and waits a moment, so that what was sent before arrives. Best effort.
pub async fn close<S>(socket: &mut WebSocketStream<S>, code: CloseCode, within: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame {
        code: WireCode::from(4000_u16.saturating_add(code.number()).min(4999)),
        reason: code.text().into(),
    };
    let closing = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // Whoever does not answer a close is cut off.
    let _ = tokio::time::timeout(within, closing).await;
}
