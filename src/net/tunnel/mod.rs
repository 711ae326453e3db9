//! Drives a [`crate::tunnel`] session over a WebSocket, and offers its streams as HTTP exchanges and byte streams.
//!
//! One task a tunnel reads and writes the socket ([`drive`]). Everybody else works on the session directly, behind
//! one short lock, and wakes that task: no queue lies between a caller and the wire but the session's own.

mod body;
mod bytes;
mod drive;
mod exchange;
mod shared;
mod splice;

use std::sync::Arc;
use std::time::Duration;

use ::bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;

use crate::common::clock::Clock;
use crate::common::tasks::Tasks;
use crate::tunnel::code::{CloseCode, DrainCode, ResetCode};
use crate::tunnel::head::{BytesHead, RequestHead};

pub use crate::tunnel::session::{Role, Settings};
pub use body::{BodyFault, TunnelBody};
pub use bytes::ByteStream;
pub use exchange::Reply;
pub use splice::{Patience, SpliceEnd, Spliced, splice};

use shared::Shared;

/// Why a tunnel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The reason.
    pub code: CloseCode,
    /// More about it, from either end.
    pub text: String,
    /// Whether the peer said so, or this end.
    pub by_peer: bool,
}

impl std::fmt::Display for Closed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.code)?;
        if self.text.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.text) }
    }
}

/// What goes wrong with an exchange this end opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeFault {
    /// The OPEN never left this end, or the peer refused it untouched: it may be sent again elsewhere.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The tunnel died after OPEN left this end.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(String),
    /// The peer reset the stream with a reason.
    #[error("reset by the other side: {0}")]
    Reset(ResetCode),
    /// The head is larger than one frame.
    #[error("the head is too large for the tunnel")]
    HeadTooLarge,
    /// Too many exchanges are open on this tunnel.
    #[error("too many exchanges are open on this tunnel")]
    TooMany,
}

/// Takes what the peer opens.
pub trait Acceptor: Send + Sync + 'static {
    /// A call came in. Must not block: spawn.
    fn http(&self, call: IncomingCall);
    /// A byte stream came in. An end that takes none drops it.
    fn bytes(&self, head: BytesHead, stream: ByteStream);
    /// The peer told about itself.
    fn status(&self, payload: Bytes);
    /// The peer wants no new streams: connect anew, then let this one end.
    fn draining(&self, code: DrainCode, text: String);
}

/// A call the peer opened.
pub struct IncomingCall {
    /// Its head.
    pub head: RequestHead,
    /// Its body. First polled = wanted: a held body (`Expect: 100-continue`) is asked for then.
    pub body: TunnelBody,
    /// Where the answer goes.
    pub reply: Reply,
}

/// Figures of a tunnel, for status pages.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Streams open now.
    pub streams: u32,
    /// Streams opened since the start, both ways.
    pub opened: u64,
    /// Last measured round trip.
    pub round_trip: Option<Duration>,
    /// Bytes of frames sent.
    pub bytes_out: u64,
    /// Bytes of frames received.
    pub bytes_in: u64,
}

/// A live tunnel; cheap to clone. It ends when it is closed or the socket breaks, not when handles are dropped.
#[derive(Clone)]
pub struct Tunnel(Arc<Shared>);

impl Tunnel {
    /// Takes over a socket after its handshake, and starts the task that drives it.
    pub fn start<S>(
        socket: impl Into<Box<WebSocketStream<S>>>,
        role: Role,
        settings: Settings,
        clock: Clock,
        tasks: &Tasks,
        acceptor: Arc<dyn Acceptor>,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared::new(role, settings, clock, tasks.clone()));
        tasks.spawn_detached(drive::drive(socket.into(), Arc::clone(&shared), acceptor));
        Self(shared)
    }

    /// Opens a byte stream.
    pub fn open_bytes(&self, head: BytesHead) -> Result<ByteStream, ExchangeFault> {
        let open = crate::tunnel::head::Open::Bytes(head);
        Ok(ByteStream::new(self.0.open(|session| session.open(&open, false), false)?))
    }

    /// Tells the peer about this end: at most 4 KB.
    pub fn send_status(&self, payload: Bytes) {
        self.0.with_session(|session, _| session.send_status(payload));
    }

    /// Asks the peer to connect anew and opens no more streams here.
    pub fn drain(&self, code: DrainCode, text: &str) {
        self.0.with_session(|session, _| session.drain(code, text));
    }

    /// Closes at once; all streams fail.
    pub fn close(&self, code: CloseCode, text: &str) {
        self.0.request_close(code, text);
    }

    /// Resolves when the tunnel is gone. Cancel-safe, any number of waiters.
    pub async fn closed(&self) -> Closed {
        self.0.closed().await
    }

    /// Neither closed nor draining: new streams may be opened.
    pub fn is_usable(&self) -> bool {
        self.0.lock().session.is_usable()
    }

    /// The tunnel is over.
    pub fn is_closed(&self) -> bool {
        self.0.lock().session.is_closed()
    }

    /// One more stream may be opened from here now.
    pub fn has_room(&self) -> bool {
        self.0.lock().session.has_room()
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Sends a request and waits for its answer's head. `hold` keeps the body back until the peer asks for it.
    /// Dropping the future, or the answer's body before its end, cancels the exchange at the peer.
    pub async fn request<B>(
        &self,
        head: &RequestHead,
        body: B,
        hold: bool,
    ) -> Result<http::Response<TunnelBody>, ExchangeFault>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display,
    {
        exchange::request(&self.0, head, body, hold).await
    }
}

#[cfg(test)]
mod tests;
