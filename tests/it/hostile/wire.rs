//! Frames as a liar writes them: any bytes in any order, over the WebSocket that the handshake left.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use http::HeaderMap;
use outhaul::tunnel::code::{CloseCode, ResetCode};
use outhaul::tunnel::frame::{END_STREAM, Frame, Kind};
use outhaul::tunnel::head::{ResponseHead, decode_trailers};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Nothing here takes longer, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One end of a tunnel, frame by frame.
pub(crate) struct Wire<S> {
    socket: WebSocketStream<S>,
    said: VecDeque<Said>,
}

/// What the other end said.
#[derive(Debug, Clone)]
pub(crate) enum Said {
    Frame(Frame),
    /// It ended the session.
    Closed(CloseCode, String),
}

/// What came of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    pub(crate) status: Option<u16>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) reset: Option<ResetCode>,
    pub(crate) closed: Option<CloseCode>,
}

impl Heard {
    /// The code of a problem document, if the answer is one.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.headers.get("outhaul-problem")?.to_str().ok()
    }
}

/// A frame without flags.
pub(crate) fn frame(kind: Kind, stream: u64, payload: impl AsRef<[u8]>) -> Frame {
    flagged(kind, 0, stream, payload)
}

/// Any frame.
pub(crate) fn flagged(kind: Kind, flags: u8, stream: u64, payload: impl AsRef<[u8]>) -> Frame {
    Frame { kind, flags, stream, payload: Bytes::copy_from_slice(payload.as_ref()) }
}

/// The bytes of frames, without a look at whether they may be.
pub(crate) fn encoded(frames: &[Frame]) -> Bytes {
    let mut message = BytesMut::new();
    for frame in frames {
        frame.encode(&mut message);
    }
    message.freeze()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, said: VecDeque::new() }
    }

    /// Sends frames in one message. The other end may be gone already.
    pub(crate) async fn say(&mut self, frames: &[Frame]) {
        self.say_bytes(encoded(frames)).await;
    }

    /// Sends any bytes as one message; whether they went out.
    pub(crate) async fn say_bytes(&mut self, bytes: Bytes) -> bool {
        self.say_message(Message::Binary(bytes)).await
    }

    /// Sends any WebSocket message; whether it went out.
    pub(crate) async fn say_message(&mut self, message: Message) -> bool {
        let sending = self.socket.send(message);
        tokio::time::timeout(PATIENCE, sending).await.expect("the other end reads").is_ok()
    }

    /// The next frame that is not about liveness, or the end.
    pub(crate) async fn next(&mut self) -> Said {
        loop {
            if let Some(said) = self.said.pop_front() {
                return said;
            }
            let message =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("something in time");
            self.take(message);
        }
    }

    fn take(&mut self, message: Option<Result<Message, Error>>) {
        match message {
            Some(Ok(Message::Binary(mut message))) => {
                while let Some(frame) = Frame::decode(&mut message).expect("it keeps to the protocol") {
                    if !matches!(frame.kind, Kind::Ping | Kind::Pong | Kind::Status) {
                        self.said.push_back(Said::Frame(frame));
                    }
                }
            }
            Some(Ok(Message::Close(Some(close)))) => {
                let code = u16::from(close.code).checked_sub(4000);
                let code = code.map_or(CloseCode::Broken, CloseCode::from_number);
                self.said.push_back(Said::Closed(code, close.reason.to_string()));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => self.said.push_back(Said::Closed(CloseCode::Broken, format!("{other:?}"))),
        }
    }

    /// Waits until the other end opens a stream; gives its number and the payload of OPEN.
    pub(crate) async fn opened(&mut self) -> (u64, Bytes) {
        loop {
            match self.next().await {
                Said::Frame(frame) if frame.kind == Kind::Open => return (frame.stream, frame.payload),
                Said::Frame(_) => {}
                Said::Closed(code, text) => panic!("closed: {code} {text}"),
            }
        }
    }

    /// All that is said on one stream until it ends there; what concerns others is passed over.
    pub(crate) async fn heard(&mut self, stream: u64) -> Heard {
        self.heard_all(&[stream]).await.remove(0)
    }

    /// The same of several streams at once.
    pub(crate) async fn heard_all(&mut self, streams: &[u64]) -> Vec<Heard> {
        let mut reply = vec![Heard::default(); streams.len()];
        let mut left = streams.len();
        while left > 0 {
            match self.next().await {
                Said::Closed(code, _) => {
                    for reply in &mut reply {
                        reply.closed = Some(code);
                    }
                    break;
                }
                Said::Frame(frame) => {
                    let at = streams.iter().position(|stream| *stream == frame.stream);
                    left -= usize::from(at.is_some_and(|at| take(&mut reply[at], frame)));
                }
            }
        }
        reply
    }

    /// Waits for the end of the session, and says why the other end ended it.
    pub(crate) async fn ended(&mut self) -> (CloseCode, String) {
        loop {
            if let Said::Closed(code, text) = self.next().await {
                return (code, text);
            }
        }
    }
}

/// Adds a frame to what was reply of its stream; whether that was the last one.
fn take(reply: &mut Heard, frame: Frame) -> bool {
    let ends = frame.flags & END_STREAM != 0;
    match frame.kind {
        Kind::Head => {
            assert!(reply.status.is_none(), "one answer has one head");
            let head = ResponseHead::decode(frame.payload).expect("a head that can be read");
            reply.status = Some(head.status.as_u16());
            reply.headers = head.headers;
            ends
        }
        Kind::Data => {
            reply.body.extend_from_slice(&frame.payload);
            ends
        }
        Kind::End => {
            reply.trailers = decode_trailers(frame.payload).expect("trailers that can be read");
            true
        }
        Kind::Reset => {
            let code = <[u8; 2]>::try_from(&frame.payload[..]).expect("a code");
            reply.reset = Some(ResetCode::from_number(u16::from_be_bytes(code)));
            true
        }
        _ => false,
    }
}

/// The payload of OPEN for an `http` stream, of any bytes.
#[derive(Debug, Clone)]
pub(crate) struct RawHead {
    pub(crate) method: Vec<u8>,
    pub(crate) scheme: u8,
    pub(crate) authority: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) route_length: u16,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl RawHead {
    /// A lawful one.
    pub(crate) fn new(method: &str, authority: &str, target: &str) -> Self {
        Self {
            method: method.into(),
            scheme: 1,
            authority: authority.into(),
            target: target.into(),
            route_length: 0,
            fields: Vec::new(),
        }
    }

    /// The same with one more field.
    pub(crate) fn with(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The same with a key as bearer.
    pub(crate) fn bearer(self, key: &str) -> Self {
        self.with("authorization", format!("Bearer {key}"))
    }

    /// As in `docs/protocol.md`, "Heads".
    pub(crate) fn payload(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(1);
        out.put_slice(&[7; 16]);
        put(&mut out, &self.method);
        out.put_u8(self.scheme);
        put(&mut out, &self.authority);
        put(&mut out, &self.target);
        out.put_u16(self.route_length);
        put(&mut out, b"192.0.2.1");
        put_fields(&mut out, &self.fields);
        out.freeze()
    }
}

/// The payload of HEAD, of any bytes.
pub(crate) fn answer_head(status: u16, fields: &[(&[u8], &[u8])]) -> Bytes {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    let mut out = BytesMut::new();
    out.put_u16(status);
    put_fields(&mut out, &fields);
    out.freeze()
}

/// The payload of OPEN for a `bytes` stream.
pub(crate) fn bytes_open(purpose: &str, target: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(2);
    for text in [purpose, target, "192.0.2.1:4711"] {
        put(&mut out, text.as_bytes());
    }
    out.freeze()
}

pub(crate) fn put_fields(out: &mut BytesMut, fields: &[(Vec<u8>, Vec<u8>)]) {
    out.put_u16(u16::try_from(fields.len()).unwrap());
    for (name, value) in fields {
        put(out, name);
        put(out, value);
    }
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u16(u16::try_from(bytes.len()).unwrap());
    out.put_slice(bytes);
}
