//! One connection: HTTP/1.1 or HTTP/2 over ended TLS, with bounds on heads, streams, resets and silence.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::body::{AnswerBody, Answers};
use super::io::{Linger, Watched};
use super::places::Place;
use super::{Inner, Limits, agent, caller};
use crate::common::tasks::Tasks;
use crate::net::dial::Prefixed;
use crate::net::websocket;
use crate::relay::metrics::Counted;

/// The socket as hyper holds it.
pub(super) type Socket = TokioIo<Watched<TlsStream<Prefixed<TcpStream>>>>;

/// What a connection holds as long as it lives, also as a tunnel.
pub(super) struct Held {
    pub(super) _place: Place,
    pub(super) _counted: Counted,
}

/// One connection, as its requests see it.
pub(super) struct Connection {
    pub(super) inner: Arc<Inner>,
    pub(super) peer: SocketAddr,
    /// Its address as agents are told.
    pub(super) peer_text: String,
    pub(super) http2: bool,
    pub(super) answers: Answers,
    pub(super) linger: Linger,
    /// Requests of which the answer's head is not out yet.
    asking: AtomicU32,
    _held: Held,
}

pub(super) async fn serve(
    inner: Arc<Inner>,
    tls: TlsStream<Prefixed<TcpStream>>,
    peer: SocketAddr,
    held: Held,
    stop: CancellationToken,
) {
    let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let limits = inner.limits.clone();
    let linger = Linger::default();
    let builder = builder(&limits, http2, inner.tasks.clone());
    let connection = Arc::new(Connection {
        inner,
        peer,
        peer_text: peer.ip().to_canonical().to_string(),
        http2,
        answers: Answers::default(),
        linger: linger.clone(),
        asking: AtomicU32::new(0),
        _held: held,
    });
    let service = {
        let connection = Arc::clone(&connection);
        service_fn(move |request| {
            let connection = Arc::clone(&connection);
            async move { Ok::<_, Infallible>(answer(&connection, request).await) }
        })
    };
    let io = TokioIo::new(Watched::new(tls, limits.answer_idle_time, linger));
    let mut served = Box::pin(builder.serve_connection_with_upgrades(io, service).into_owned());
    let every = (limits.answer_idle_time / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
    let mut sweep = tokio::time::interval(every);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut busy_at = connection.inner.clock.now();
    let mut leaving = false;
    loop {
        tokio::select! {
            result = served.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, %peer, "a connection broke off");
                }
                return;
            }
            () = stop.cancelled(), if !leaving => {
                leaving = true;
                served.as_mut().graceful_shutdown();
            }
            _ = sweep.tick() => {
                let answers = connection.answers.sweep(limits.answer_idle_time);
                let now = connection.inner.clock.now();
                if answers > 0 || connection.asking.load(Ordering::Relaxed) > 0 {
                    busy_at = now;
                }
                // HTTP/1.1 has the time for heads; an HTTP/2 connection could otherwise stay for ever.
                let idle = now.saturating_duration_since(busy_at);
                if http2 && !leaving && idle >= limits.connection_idle_time {
                    leaving = true;
                    served.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Where a request goes.
async fn answer(connection: &Arc<Connection>, request: Request<Incoming>) -> Response<AnswerBody> {
    let _asking = Asking::new(connection);
    if request.uri().path() == websocket::PATH && agent::is_for_relay(connection, &request) {
        return agent::answer(connection, request).map(AnswerBody::from);
    }
    caller::answer(connection, request).await
}

struct Asking<'a>(&'a AtomicU32);

impl<'a> Asking<'a> {
    fn new(connection: &'a Connection) -> Self {
        connection.asking.fetch_add(1, Ordering::Relaxed);
        Self(&connection.asking)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn builder(limits: &Limits, http2: bool, tasks: Tasks) -> Builder<Spawn> {
    let mut builder = Builder::new(Spawn(tasks));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.head_fields)
        .max_buf_size(limits.head_size);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams)
        .max_pending_accept_reset_streams(limits.http2_resets)
        // What our own refusals make: a few for each stream that may be open (CVE-2025-8671).
        .max_local_error_reset_streams(limits.http2_streams.saturating_mul(4).max(256) as usize)
        .max_header_list_size(u32::try_from(limits.head_size).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(limits.head_time)
        .keep_alive_timeout(limits.head_time);
    // As agreed in the TLS handshake; a client that agreed on nothing speaks HTTP/1.1 (RFC 9113, section 3.3).
    if http2 { builder.http2_only() } else { builder.http1_only() }
}

/// Spawns hyper's tasks in our group.
#[derive(Clone)]
struct Spawn(Tasks);

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn_detached(task);
    }
}

/// What a caller may send of one body before the relay has taken it on.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all bodies of a connection. A slow site must not stall the connection's other uploads.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// How much of an answer waits here for a caller's window.
const SEND_BUFFER: usize = 256 << 10;
