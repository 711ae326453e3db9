//! Bodies on their way through: bounded in size and in silence, in both directions.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Notify;
use tokio::time::Sleep;

use crate::common::clock::Clock;

/// Why a caller's body can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UploadFault {
    /// More bytes than allowed.
    #[error("the body is larger than allowed")]
    TooLarge,
    /// No byte for too long.
    #[error("no byte of the body came for too long")]
    TooSlow,
    /// The caller broke off.
    #[error("the caller broke off")]
    Broken,
}

/// What the call knows of its upload while somebody else reads it.
#[derive(Debug)]
pub struct Upload {
    clock: Clock,
    begun: Instant,
    moved: AtomicU64,
    over: AtomicBool,
    fault: OnceLock<UploadFault>,
    failed: Notify,
}

impl Upload {
    /// A fresh one.
    pub fn new(clock: Clock) -> Arc<Self> {
        let begun = clock.now();
        Arc::new(Self {
            clock,
            begun,
            moved: AtomicU64::new(0),
            over: AtomicBool::new(false),
            fault: OnceLock::new(),
            failed: Notify::new(),
        })
    }

    /// How long ago a byte moved, or the call began.
    pub fn still_for(&self) -> Duration {
        let since = self.clock.now().saturating_duration_since(self.begun);
        since.saturating_sub(Duration::from_millis(self.moved.load(Ordering::Relaxed)))
    }

    /// Resolves once the upload has failed; never if it does not.
    pub async fn failed(&self) -> UploadFault {
        loop {
            let mut failed = std::pin::pin!(self.failed.notified());
            failed.as_mut().enable();
            if let Some(fault) = self.fault.get() {
                return *fault;
            }
            failed.await;
        }
    }

    /// Whether it has failed.
    pub fn fault(&self) -> Option<UploadFault> {
        self.fault.get().copied()
    }

    /// Whether the whole body was taken off the connection.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn move_on(&self) {
        let since = self.clock.now().saturating_duration_since(self.begun);
        self.moved.store(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn fail(&self, fault: UploadFault) -> UploadFault {
        let _ = self.fault.set(fault);
        self.failed.notify_waiters();
        fault
    }
}

/// A caller's body on its way.
pub struct CallerBody {
    inner: Incoming,
    /// It came in HTTP/2, where its end is known apart from its last bytes.
    http2: bool,
    left: u64,
    patience: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    upload: Arc<Upload>,
}

impl CallerBody {
    /// At most `limit` bytes, and no silence longer than `patience` while somebody reads.
    pub fn new(inner: Incoming, http2: bool, limit: u64, patience: Duration, upload: Arc<Upload>) -> Self {
        Self { inner, http2, left: limit, patience, silence: None, upload }
    }
}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.silence = None;
                this.upload.move_on();
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match this.left.checked_sub(length) {
                    Some(left) => {
                        this.left = left;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => Poll::Ready(Some(Err(this.upload.fail(UploadFault::TooLarge)))),
                }
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::debug!(%error, "a caller's body broke off");
                Poll::Ready(Some(Err(this.upload.fail(UploadFault::Broken))))
            }
            // A stream that is reset with NO_ERROR ends here as if in good order. It is half a body all the same.
            Poll::Ready(None) if this.http2 && !this.inner.is_end_stream() => {
                Poll::Ready(Some(Err(this.upload.fail(UploadFault::Broken))))
            }
            Poll::Ready(None) => {
                this.upload.move_on();
                this.upload.over.store(true, Ordering::Relaxed);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let patience = this.patience;
                let silence = this.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                match silence.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(this.upload.fail(UploadFault::TooSlow)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for CallerBody {
    fn drop(&mut self) {
        // Its last piece may have told the end.
        if self.inner.is_end_stream() {
            self.upload.over.store(true, Ordering::Relaxed);
        }
    }
}

/// What a caller gets: an answer of the site, or a document of ours.
pub enum AnswerBody<B> {
    /// Of ours.
    Own(Full<Bytes>),
    /// Of the site.
    Site(SiteBody<B>),
}

/// An answer's body that broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct AnswerFault(String);

/// A site's answer on its way to the caller. It holds whatever must last as long as the call.
pub struct SiteBody<B>(Arc<Mutex<Option<Running<B>>>>);

struct Running<B> {
    body: B,
    moved: Instant,
    clock: Clock,
    waker: Option<Waker>,
    /// It broke off, and the connection is given a turn to send what it has.
    broken: Option<AnswerFault>,
    _held: Box<dyn Send + Sync>,
}

/// The answers of one connection. Neither HTTP/1.1 nor HTTP/2 asks a body for more while the caller takes nothing,
/// so somebody outside must look for those that stand still.
pub struct Answers<B>(Mutex<Vec<Watching<B>>>);

type Watching<B> = Weak<Mutex<Option<Running<B>>>>;

impl<B> Default for Answers<B> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<B> Answers<B> {
    /// An answer's body, watched from now on. `held` is dropped with it.
    pub fn watch(&self, body: B, clock: Clock, held: Box<dyn Send + Sync>) -> AnswerBody<B> {
        let running = Running { body, moved: clock.now(), clock, waker: None, broken: None, _held: held };
        let running = Arc::new(Mutex::new(Some(running)));
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() >= SWEEP_AT && list.len() == list.capacity() {
            list.retain(|weak| weak.strong_count() > 0);
        }
        list.push(Arc::downgrade(&running));
        drop(list);
        AnswerBody::Site(SiteBody(running))
    }

    /// Cuts off every answer of which nothing moved for `patience`; says how many answers there are.
    pub fn sweep(&self, patience: Duration) -> usize {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|weak| weak.strong_count() > 0);
        let still: Vec<_> = list.iter().filter_map(Weak::upgrade).collect();
        let count = list.len();
        drop(list);
        for running in still {
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            let is_still = running.as_ref().is_some_and(|running| {
                running.clock.now().saturating_duration_since(running.moved) >= patience
            });
            if is_still && let Some(mut stopped) = running.take() {
                // Dropping the body outside the lock resets the stream; the reader then sees that it is gone.
                let waker = stopped.waker.take();
                drop(running);
                drop(stopped);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
        }
        count
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let site = match &mut *self {
            Self::Own(own) => return Pin::new(own).poll_frame(context).map_err(|never| match never {}),
            Self::Site(site) => site,
        };
        let mut running = site.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(inner) = running.as_mut() else {
            return Poll::Ready(Some(Err(AnswerFault("nothing moved for too long".to_owned()))));
        };
        if let Some(fault) = inner.broken.take() {
            return Poll::Ready(Some(Err(fault)));
        }
        match Pin::new(&mut inner.body).poll_frame(context) {
            Poll::Ready(Some(Err(fault))) => {
                // On an error the connection drops all it has not sent yet, the answer's head perhaps among it.
                inner.broken = Some(AnswerFault(fault.to_string()));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(frame) => {
                inner.moved = inner.clock.now();
                Poll::Ready(frame.map(|frame| frame.map_err(|fault| AnswerFault(fault.to_string()))))
            }
            Poll::Pending => {
                if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                    inner.waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(own) => own.is_end_stream(),
            Self::Site(site) => {
                let running = site.0.lock().unwrap_or_else(PoisonError::into_inner);
                running.as_ref().is_some_and(|running| running.body.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(own) => own.size_hint(),
            Self::Site(site) => {
                let running = site.0.lock().unwrap_or_else(PoisonError::into_inner);
                running.as_ref().map_or_else(SizeHint::default, |running| running.body.size_hint())
            }
        }
    }
}

impl<B> From<Bytes> for AnswerBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self::Own(Full::new(bytes))
    }
}

/// A list shorter than this is not worth tidying up between sweeps.
const SWEEP_AT: usize = 64;
