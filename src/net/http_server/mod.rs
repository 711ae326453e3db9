//! The HTTP server for callers: HTTP/1.1 or HTTP/2 over ended TLS, with bounds on heads, streams, resets and silence.
//!
//! Both programs end callers' TLS: the relay, and the agent where TLS passes the relay unopened. What a stranger may do
//! is the same at both, so it stands here once: [`serve`] runs a connection, [`checks`] judge a request's head,
//! [`headers`] say which fields go further, [`body`] bounds bodies. What a request comes to is its user's affair.

pub mod body;
pub mod checks;
pub mod headers;
mod io;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::common::clock::Clock;
use crate::common::tasks::Tasks;
use body::{AnswerBody, Answers};

pub use io::{Linger, Watched};

/// The bounds of a connection and of the heads that come over it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Time for a request's head; also how long an idle HTTP/1.1 connection is kept.
    pub head_time: Duration,
    /// Bytes of a request's head.
    pub head_size: usize,
    /// Fields of a request's head.
    pub head_fields: usize,
    /// Time without a byte of an answer, from where it comes or to the caller.
    pub answer_idle_time: Duration,
    /// How long an HTTP/2 connection without calls is kept.
    pub connection_idle_time: Duration,
    /// Calls at once on an HTTP/2 connection.
    pub http2_streams: u32,
    /// Resets of an HTTP/2 connection that were not yet looked at.
    pub http2_resets: usize,
    /// What an HTTP/2 caller may send of one body before it is taken on.
    pub stream_window: u32,
    /// The same for all bodies of a connection. A slow application must not stall the connection's other uploads.
    pub connection_window: u32,
    /// How much of an answer may wait here for an HTTP/2 caller that does not read, before no further piece is taken.
    pub send_buffer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_time: Duration::from_secs(20),
            head_size: 48 << 10,
            head_fields: 100,
            answer_idle_time: Duration::from_secs(120),
            connection_idle_time: Duration::from_secs(300),
            http2_streams: 128,
            http2_resets: 64,
            stream_window: 1 << 20,
            connection_window: 16 << 20,
            send_buffer: 256 << 10,
        }
    }
}

/// One connection, as its requests see it.
pub struct Session<B> {
    /// HTTP/2, else HTTP/1.1.
    pub http2: bool,
    /// The answers that are on their way.
    pub answers: Answers<B>,
    /// Set by whoever answers without reading the request's body to its end.
    pub linger: Linger,
    /// Requests of which the answer's head is not out yet.
    asking: AtomicU32,
}

impl<B> Session<B> {
    /// A fresh one, by what TLS agreed on.
    pub fn new(http2: bool) -> Self {
        Self { http2, answers: Answers::default(), linger: Linger::default(), asking: AtomicU32::new(0) }
    }
}

/// The socket as hyper holds it.
pub type Socket<S> = TokioIo<Watched<S>>;

/// Answers a connection's requests until it ends. After `stop` it takes no further ones: idle connections close, others
/// after their answers.
pub async fn serve<S, B, H, F>(
    io: S,
    session: Arc<Session<B>>,
    limits: &Limits,
    clock: &Clock,
    tasks: Tasks,
    stop: CancellationToken,
    answer: H,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: std::fmt::Display,
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<AnswerBody<B>>> + Send + 'static,
{
    let http2 = session.http2;
    let builder = builder(limits, http2, tasks);
    let io = TokioIo::new(Watched::new(io, limits.answer_idle_time, session.linger.clone()));
    let service = {
        let session = Arc::clone(&session);
        let answer = Arc::new(answer);
        service_fn(move |request| {
            let asking = Asking::new(&session);
            let answered = answer(request);
            async move {
                let _asking = asking;
                Ok::<_, Infallible>(answered.await)
            }
        })
    };
    let mut served = Box::pin(builder.serve_connection_with_upgrades(io, service).into_owned());
    let every = (limits.answer_idle_time / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
    let mut sweep = tokio::time::interval(every);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut busy_at = clock.now();
    let mut leaving = false;
    loop {
        tokio::select! {
            result = served.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection broke off");
                }
                return;
            }
            () = stop.cancelled(), if !leaving => {
                leaving = true;
                served.as_mut().graceful_shutdown();
            }
            _ = sweep.tick() => {
                let answers = session.answers.sweep(limits.answer_idle_time);
                let now = clock.now();
                if answers > 0 || session.asking.load(Ordering::Relaxed) > 0 {
                    busy_at = now;
                }
                // HTTP/1.1 has the time for heads; an HTTP/2 connection could otherwise stay for ever.
                let idle = now.saturating_duration_since(busy_at);
                // Nor does it end where a caller opens no window for answers that are done here and wait in hyper.
                let longest = limits.connection_idle_time.saturating_add(limits.answer_idle_time);
                if http2 && idle >= longest {
                    tracing::debug!("a connection whose caller takes no answers was cut off");
                    return;
                }
                if http2 && !leaving && idle >= limits.connection_idle_time {
                    leaving = true;
                    served.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

struct Asking<B>(Arc<Session<B>>);

impl<B> Asking<B> {
    fn new(session: &Arc<Session<B>>) -> Self {
        session.asking.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(session))
    }
}

impl<B> Drop for Asking<B> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
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
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_send_buf_size(limits.send_buffer)
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
