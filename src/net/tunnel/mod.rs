//! Drives a [`crate::tunnel`] session over a WebSocket, and offers its streams as HTTP exchanges and byte streams.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;

use crate::common::clock::Clock;
use crate::common::tasks::Tasks;
use crate::tunnel::code::{CloseCode, DrainCode, ResetCode};
use crate::tunnel::head::{BytesHead, RequestHead};

/// Which end of the tunnel this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opens even streams.
    Relay,
    /// Opens odd streams.
    Agent,
}

/// What both ends agreed on in WELCOME, and this end's own bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many streams the peer may have open here at once.
    pub max_streams_in: u32,
    /// How many streams this end may have open at the peer at once.
    pub max_streams_out: u32,
    /// The largest window a stream may grow to. Bytes.
    pub max_window: u32,
    /// All windows of the tunnel together never grow over this. Bytes.
    pub window_budget: u64,
    /// A PING this often.
    pub ping_every: Duration,
    /// Dead after so much silence.
    pub dead_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_streams_in: 1024,
            max_streams_out: 1024,
            max_window: 4 << 20,
            window_budget: 64 << 20,
            ping_every: Duration::from_secs(15),
            dead_after: Duration::from_secs(40),
        }
    }
}

/// Why a tunnel ended.
#[derive(Debug, Clone)]
pub struct Closed {
    /// The reason.
    pub code: CloseCode,
    /// More about it, from either end.
    pub text: String,
    /// Whether the peer said so, or this end.
    pub by_peer: bool,
}

/// A live tunnel; cheap to clone.
#[derive(Clone)]
pub struct Tunnel(Arc<()>);

/// What goes wrong with an exchange this end opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExchangeFault {
    /// The OPEN never left this end, or the peer refused it untouched: it may be sent again elsewhere.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The tunnel died, or the peer gave up, after OPEN left this end.
    #[error("outcome unknown: {0}")]
    OutcomeUnknown(String),
    /// The peer reset the stream with a reason.
    #[error("reset: {0}")]
    Reset(ResetCode),
    /// The head is larger than one frame.
    #[error("the head is too large for the tunnel")]
    HeadTooLarge,
}

/// Takes what the peer opens.
pub trait Acceptor: Send + Sync + 'static {
    /// A call came in. Must not block: spawn.
    fn http(&self, call: IncomingCall);
    /// A byte stream came in.
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

/// Where the answer to an [`IncomingCall`] goes. Dropped unused, it resets the stream.
pub struct Reply(());

impl Reply {
    /// Sends head, body and trailers with the peer's back-pressure; ends when all of it is handed to the tunnel.
    /// An error of the body resets the stream with [`ResetCode::Upstream`].
    pub async fn send<B>(self, response: Response<B>) -> Result<(), ResetCode>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: std::fmt::Display,
    {
        let _ = response;
        unimplemented!()
    }
    /// Resolves when the peer no longer wants the answer (RESET or a dead tunnel). Cancel-safe.
    pub async fn cancelled(&mut self) -> ResetCode {
        unimplemented!()
    }
}

/// A body that arrives through the tunnel. Dropping it early sends STOP (a request's) or RESET (an answer's).
pub struct TunnelBody(());

/// Why a body breaks off.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BodyFault {
    /// The peer reset the stream.
    #[error("the stream was reset: {0}")]
    Reset(ResetCode),
    /// The tunnel died.
    #[error("the tunnel was lost: {0}")]
    Lost(CloseCode),
}

impl Body for TunnelBody {
    type Data = Bytes;
    type Error = BodyFault;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        unimplemented!()
    }
    fn is_end_stream(&self) -> bool {
        unimplemented!()
    }
    fn size_hint(&self) -> SizeHint {
        unimplemented!()
    }
}

/// A two-way run of bytes through the tunnel: `AsyncRead` and `AsyncWrite`, half-close included.
pub struct ByteStream(());

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

impl Tunnel {
    /// Takes over a socket after its handshake, and starts the task that drives it.
    pub fn start<S>(
        socket: WebSocketStream<S>,
        role: Role,
        settings: Settings,
        clock: Clock,
        tasks: &Tasks,
        acceptor: Arc<dyn Acceptor>,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _ = (socket, role, settings, clock, tasks, acceptor);
        unimplemented!()
    }

    /// Sends a request and waits for its answer's head. `hold` keeps the body back until the peer asks for it.
    /// Dropping the future, or the answer's body, cancels the exchange.
    pub fn request<B>(
        &self,
        head: RequestHead,
        body: B,
        hold: bool,
    ) -> impl Future<Output = Result<Response<TunnelBody>, ExchangeFault>> + Send
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display,
    {
        let _ = (head, body, hold);
        async { unimplemented!() }
    }

    /// Opens a byte stream.
    pub fn open_bytes(&self, head: BytesHead) -> Result<ByteStream, ExchangeFault> {
        let _ = head;
        unimplemented!()
    }
    /// Tells the peer about this end: at most 4 KB.
    pub fn send_status(&self, payload: Bytes) {
        let _ = payload;
    }
    /// Asks the peer to connect anew and opens no more streams here.
    pub fn drain(&self, code: DrainCode, text: &str) {
        let _ = (code, text);
    }
    /// Closes at once; all streams fail.
    pub fn close(&self, code: CloseCode, text: &str) {
        let _ = (code, text);
    }
    /// Resolves when the tunnel is gone. Cancel-safe, any number of waiters.
    pub async fn closed(&self) -> Closed {
        unimplemented!()
    }
    /// Neither closed nor draining: new streams may be opened.
    pub fn is_usable(&self) -> bool {
        unimplemented!()
    }
    /// Figures.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
