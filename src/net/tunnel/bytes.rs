//! A two-way run of bytes through the tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::shared::{StreamFault, StreamHandle, keep_waker};
use crate::tunnel::code::ResetCode;

/// One write takes at most this: more would only be copied to wait.
const WRITE_AT_MOST: usize = 64 * 1024;

/// A two-way run of bytes: `AsyncRead` and `AsyncWrite`, with half-close by `shutdown`. Dropped after that, it tells
/// the peer that no more is wanted, and what was written still goes out; dropped before, it resets the stream.
pub struct ByteStream {
    pub(super) handle: StreamHandle,
    current: Bytes,
    pub(super) read_ended: bool,
    pub(super) write_ended: bool,
}

impl ByteStream {
    pub(super) fn new(handle: StreamHandle) -> Self {
        Self { handle, current: Bytes::new(), read_ended: false, write_ended: false }
    }

    /// Breaks the stream off with a reason the peer sees.
    pub fn reset(mut self, code: ResetCode) {
        self.read_ended = true;
        self.write_ended = true;
        self.handle.reset(code);
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut mail = self.handle.inbox.lock();
        if let Some(bytes) = mail.data.pop_front() {
            self.current = bytes;
            return Poll::Ready(Ok(()));
        }
        if mail.ended {
            self.read_ended = true;
            return Poll::Ready(Ok(()));
        }
        if let Some(fault) = &mail.fault {
            return Poll::Ready(Err(to_io(fault)));
        }
        keep_waker(&mut mail.reader, context);
        Poll::Pending
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.current.is_empty() && !self.read_ended {
            ready!(self.poll_next(context))?;
        }
        let take = self.current.len().min(buffer.remaining());
        if take > 0 {
            if let Some(bytes) = self.current.get(..take) {
                buffer.put_slice(bytes);
            }
            self.current.advance(take);
            let id = self.handle.id;
            self.handle.shared.with_session(|session, now| session.consumed(id, take, now));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.write_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let wants_more = ready!(self.handle.poll_room(context)).map_err(|fault| to_io(&fault))?;
        if !wants_more {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let id = self.handle.id;
        let taken = self.handle.shared.with_session(|session, _| {
            let length = bytes.len().min(WRITE_AT_MOST).min(session.room(id));
            let mut piece = Bytes::copy_from_slice(bytes.get(..length).unwrap_or_default());
            session.send_data(id, &mut piece);
            length - piece.len()
        });
        if taken == 0 {
            // The room went between the two looks: only a fault does that, and it wakes this task.
            return self.handle.poll_room(context).map(|room| match room {
                Ok(_) => Err(io::ErrorKind::BrokenPipe.into()),
                Err(fault) => Err(to_io(&fault)),
            });
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.write_ended, true) {
            let id = self.handle.id;
            let ended = self.handle.shared.with_session(|session, _| session.send_end(id, None));
            if ended.is_err() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for ByteStream {
    fn drop(&mut self) {
        let read_ended = self.read_ended || self.handle.inbox.lock().ended;
        if !self.write_ended {
            self.handle.reset(ResetCode::Cancel);
        } else if !read_ended {
            let id = self.handle.id;
            self.handle.shared.with_session(|session, _| session.stop(id));
        }
    }
}

fn to_io(fault: &StreamFault) -> io::Error {
    match fault {
        StreamFault::Reset { code } => {
            io::Error::new(io::ErrorKind::ConnectionReset, format!("the stream was reset: {code}"))
        }
        StreamFault::Lost { code, .. } => {
            io::Error::new(io::ErrorKind::ConnectionAborted, format!("the tunnel was lost: {code}"))
        }
    }
}
