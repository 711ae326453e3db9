//! A body that arrives through the tunnel.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};

use super::shared::{StreamFault, StreamHandle, keep_waker};
use crate::common::limits::decimal;
use crate::tunnel::code::{CloseCode, ResetCode};

/// Why a body breaks off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The peer reset the stream.
    #[error("the stream was reset: {0}")]
    Reset(ResetCode),
    /// The tunnel died.
    #[error("the tunnel was lost: {0}")]
    Lost(CloseCode),
}

impl From<StreamFault> for BodyFault {
    fn from(fault: StreamFault) -> Self {
        match fault {
            StreamFault::Reset { code } => Self::Reset(code),
            StreamFault::Lost { code, .. } => Self::Lost(code),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Answer,
}

/// A body that arrives through the tunnel. Dropping it before its end tells the peer: a request's body is no longer
/// needed (STOP), an answer's is cancelled (RESET).
pub struct TunnelBody {
    handle: Arc<StreamHandle>,
    side: Side,
    /// From `Content-Length`, less what was read.
    left: Option<u64>,
    asked: bool,
    done: bool,
}

impl TunnelBody {
    pub(super) fn request(handle: Arc<StreamHandle>, headers: &HeaderMap) -> Self {
        Self { handle, side: Side::Request, left: content_length(headers), asked: false, done: false }
    }

    pub(super) fn answer(handle: Arc<StreamHandle>, headers: &HeaderMap) -> Self {
        Self { handle, side: Side::Answer, left: content_length(headers), asked: true, done: false }
    }

    /// `Content-Length` does not speak of this body.
    pub(super) fn expect_nothing(&mut self) {
        self.left = Some(0);
    }
}

impl Body for TunnelBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if !self.asked {
            self.asked = true;
            let id = self.handle.id;
            self.handle.shared.with_session(|session, _| session.accept_body(id));
        }
        let mut mail = self.handle.inbox.lock();
        if let Some(bytes) = mail.data.pop_front() {
            drop(mail);
            let length = bytes.len();
            self.left = self.left.map(|left| left.saturating_sub(length as u64));
            let id = self.handle.id;
            self.handle.shared.with_session(|session, now| session.consumed(id, length, now));
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(trailers) = mail.trailers.take() {
            drop(mail);
            self.done = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if mail.ended {
            drop(mail);
            self.done = true;
            return Poll::Ready(None);
        }
        if let Some(fault) = mail.fault.clone() {
            drop(mail);
            self.done = true;
            return Poll::Ready(Some(Err(fault.into())));
        }
        keep_waker(&mut mail.reader, context);
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        if self.done {
            return true;
        }
        let mail = self.handle.inbox.lock();
        mail.ended && mail.data.is_empty() && mail.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() {
            return SizeHint::with_exact(0);
        }
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for TunnelBody {
    fn drop(&mut self) {
        if self.done || self.handle.inbox.lock().ended {
            return;
        }
        match self.side {
            Side::Request => {
                let id = self.handle.id;
                self.handle.shared.with_session(|session, _| session.stop(id));
            }
            Side::Answer => self.handle.reset(ResetCode::Cancel),
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    decimal(headers.get(header::CONTENT_LENGTH)?.as_bytes())
}
