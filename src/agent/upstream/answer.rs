//! An answer's body as it arrives, and what becomes of its connection afterwards.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::body::Progress;
use super::exchange::{Exchange, abandon, read_out};
use super::fault::AnswerFault;
use super::pool::Lease;
use crate::common::tasks::Tasks;

/// An answer's body. Read to its end, it hands the connection back; dropped early, it ends the exchange as
/// [`Exchange`] does.
pub struct AnswerBody {
    incoming: Option<Incoming>,
    lease: Option<Lease>,
    closes: bool,
    progress: Arc<Progress>,
    repeatable: bool,
    tasks: Tasks,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl AnswerBody {
    pub(super) fn new(
        incoming: Incoming,
        lease: Lease,
        closes: bool,
        exchange: &Exchange,
        idle: Duration,
    ) -> Self {
        let mut body = Self {
            incoming: Some(incoming),
            lease: Some(lease),
            closes,
            progress: Arc::clone(exchange.progress()),
            repeatable: exchange.repeatable(),
            tasks: exchange.tasks().clone(),
            idle,
            timer: None,
            waiting: false,
        };
        if body.is_end_stream() {
            body.settle();
        }
        body
    }

    /// The answer is whole. If the request is not, the rest of its body is not wanted.
    fn settle(&mut self) {
        self.incoming = None;
        if let Some(lease) = self.lease.take()
            && !self.closes
            && self.progress.is_done()
        {
            lease.hand_back();
        }
    }

    fn fail(&mut self, fault: AnswerFault) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        self.incoming = None;
        self.lease = None;
        Poll::Ready(Some(Err(fault)))
    }

    /// Only time spent waiting for the upstream counts, not time the reader takes.
    fn stalled(&mut self, context: &mut Context<'_>) -> bool {
        let idle = self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + idle);
        }
        timer.as_mut().poll(context).is_ready()
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerFault>>> {
        let Some(incoming) = self.incoming.as_mut() else { return Poll::Ready(None) };
        match Pin::new(incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waiting = false;
                if self.is_end_stream() {
                    self.settle();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.settle();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => self.fail(AnswerFault::Broken(error.to_string())),
            Poll::Pending if self.stalled(context) => {
                let idle = self.idle;
                self.fail(AnswerFault::Stalled(idle))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        let (Some(incoming), Some(lease)) = (self.incoming.take(), self.lease.take()) else { return };
        if !self.repeatable && self.progress.is_done() {
            abandon(&self.tasks, lease, read_out(incoming));
        }
    }
}
