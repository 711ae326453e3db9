//! A request body on its way to the upstream: counted, limited, and watched for who keeps whom waiting.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use tokio::sync::Notify;

use crate::common::clock::Clock;

/// Any error of a body that somebody else makes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request body was broken off on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Over the limit.
    #[error("the body is larger than the limit")]
    TooLarge,
    /// Longer or shorter than `Content-Length` said.
    #[error("the body is not as long as Content-Length says")]
    WrongLength,
    /// The caller, or the tunnel, broke it off.
    #[error("the caller broke the body off")]
    Source,
    /// It is not the one that was signed.
    #[error("the body does not fit its digest")]
    Digest,
}

/// The error of a body that turns out at its end not to be the one that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body does not fit its digest")]
pub struct WrongDigest;

/// What became of a request body so far; shared between the connection, which sends it, and who waits.
#[derive(Debug)]
pub(crate) struct Progress {
    clock: Clock,
    started: Instant,
    state: AtomicU8,
    /// Milliseconds since `started`.
    moved: AtomicU64,
    /// Wakes who waits when the body has ended, well or not.
    over: Notify,
}

/// Where a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Waiting for the caller's next bytes.
    OnCaller,
    /// Waiting for the upstream to take bytes.
    OnUpstream,
    /// All of it was handed over.
    Done,
    /// It broke off.
    Broken(BodyFault),
}

impl Progress {
    fn new(clock: Clock, done: bool) -> Arc<Self> {
        let started = clock.now();
        let state = AtomicU8::new(u8::from(done) * 2);
        Arc::new(Self { clock, started, state, moved: AtomicU64::new(0), over: Notify::new() })
    }

    pub(crate) fn stand(&self) -> Stand {
        match self.state.load(Ordering::Acquire) {
            0 => Stand::OnCaller,
            1 => Stand::OnUpstream,
            2 => Stand::Done,
            3 => Stand::Broken(BodyFault::TooLarge),
            4 => Stand::Broken(BodyFault::WrongLength),
            6 => Stand::Broken(BodyFault::Digest),
            _ => Stand::Broken(BodyFault::Source),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.stand() == Stand::Done
    }

    /// Resolves once the body has ended; at most once.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }

    /// When it last got on.
    pub(crate) fn moved(&self) -> Instant {
        self.started + std::time::Duration::from_millis(self.moved.load(Ordering::Acquire))
    }

    fn set(&self, stand: Stand) {
        let since = self.clock.now().saturating_duration_since(self.started).as_millis();
        self.moved.store(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Release);
        let state = match stand {
            Stand::OnCaller => 0,
            Stand::OnUpstream => 1,
            Stand::Done => 2,
            Stand::Broken(BodyFault::TooLarge) => 3,
            Stand::Broken(BodyFault::WrongLength) => 4,
            Stand::Broken(BodyFault::Source) => 5,
            Stand::Broken(BodyFault::Digest) => 6,
        };
        self.state.store(state, Ordering::Release);
        if state >= 2 {
            self.over.notify_one();
        }
    }
}

/// A request body as the pool's connections take it.
pub struct Outgoing {
    inner: Option<UnsyncBoxBody<Bytes, BoxError>>,
    declared: Option<u64>,
    limit: u64,
    sent: u64,
    progress: Arc<Progress>,
}

impl Outgoing {
    /// No body at all.
    pub fn empty(clock: &Clock) -> Self {
        let progress = Progress::new(clock.clone(), true);
        Self { inner: None, declared: None, limit: 0, sent: 0, progress }
    }

    /// A body of `declared` bytes, or of unknown length, and of at most `limit` bytes.
    pub fn new<B>(body: B, declared: Option<u64>, limit: u64, clock: &Clock) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() && declared.is_none_or(|length| length == 0) {
            return Self::empty(clock);
        }
        let inner = UnsyncBoxBody::new(http_body_util::BodyExt::map_err(body, Into::into));
        let progress = Progress::new(clock.clone(), false);
        Self { inner: Some(inner), declared, limit, sent: 0, progress }
    }

    /// Nothing to send: such a request can be sent again as it is.
    pub fn is_empty(&self) -> bool {
        self.inner.is_none()
    }

    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    fn end(&mut self, stand: Stand) {
        self.inner = None;
        self.progress.set(stand);
    }

    fn finish(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if self.declared.is_some_and(|declared| declared != self.sent) {
            return self.fail(BodyFault::WrongLength);
        }
        self.end(Stand::Done);
        Poll::Ready(None)
    }

    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.end(Stand::Broken(fault));
        Poll::Ready(Some(Err(fault)))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        match Pin::new(inner).poll_frame(context) {
            Poll::Pending => {
                if this.progress.stand() != Stand::OnCaller {
                    this.progress.set(Stand::OnCaller);
                }
                Poll::Pending
            }
            Poll::Ready(None) => this.finish(),
            Poll::Ready(Some(Err(error))) if error.is::<WrongDigest>() => this.fail(BodyFault::Digest),
            Poll::Ready(Some(Err(_))) => this.fail(BodyFault::Source),
            Poll::Ready(Some(Ok(frame))) => {
                let Some(data) = frame.data_ref() else {
                    // Trailers end a body, and stay here: they are fields past the list of those that may pass.
                    return this.finish();
                };
                this.sent += data.len() as u64;
                if this.sent > this.limit {
                    return this.fail(BodyFault::TooLarge);
                }
                match this.declared {
                    Some(declared) if this.sent > declared => return this.fail(BodyFault::WrongLength),
                    Some(declared) if this.sent == declared => this.end(Stand::Done),
                    _ => this.progress.set(Stand::OnUpstream),
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.inner, self.declared) {
            (None, _) => SizeHint::with_exact(0),
            (Some(_), Some(declared)) => SizeHint::with_exact(declared.saturating_sub(self.sent)),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.progress.set(Stand::Broken(BodyFault::Source));
        }
    }
}
