//! A connection that counts what passes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Inner, lock};
use crate::net::http_client::Stream;

/// One of the connections that may be open, as long as it lives.
pub(super) struct Place(pub(super) Arc<Inner>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Ends with an error once the day's bytes are used up.
pub(super) struct Metered {
    stream: Box<dyn Stream>,
    place: Place,
}

impl Metered {
    pub(super) fn new(stream: Box<dyn Stream>, place: Place) -> Self {
        Self { stream, place }
    }

    fn count(&self, bytes: usize) -> io::Result<()> {
        let inner = &self.place.0;
        let limit = inner.settings.load().bytes_a_day.map_or(u64::MAX, |limit| limit.0);
        if lock(&inner.day).add(bytes as u64, limit, inner.clock.unix_seconds()) {
            return Ok(());
        }
        Err(io::Error::other("[egress] bytes-a-day is used up; raise it if this is the normal load"))
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut *self.stream).poll_read(context, into))?;
        Poll::Ready(self.count(into.filled().len().saturating_sub(before)))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut *self.stream).poll_write(context, bytes))?;
        Poll::Ready(self.count(written).map(|()| written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(context)
    }
}
