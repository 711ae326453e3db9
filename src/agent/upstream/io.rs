//! A socket that counts, and that lets an early answer through.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Plain TCP or TLS over it: what a connection to an upstream runs on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// What passed over one socket.
#[derive(Debug, Default)]
pub(super) struct Counters {
    read: AtomicU64,
    written: AtomicU64,
    write_broken: AtomicBool,
}

impl Counters {
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
    /// The peer takes no more: the connection can't serve another request.
    pub(super) fn write_broken(&self) -> bool {
        self.write_broken.load(Ordering::Relaxed)
    }
}

/// Counts bytes both ways. When the peer stops reading, what is still written is dropped without an error: the
/// peer's answer (a 413, say) may lie in the receive buffer, and the read side then tells how it ended.
pub(super) struct Counted<S> {
    stream: S,
    counters: Arc<Counters>,
    /// A write of no more than this leaves whole or not at all.
    whole: usize,
}

impl<S> Counted<S> {
    /// Of a write that fails, what is longer than `whole` counts as sent: its first part may have been.
    pub(super) fn new(stream: S, whole: usize) -> (Self, Arc<Counters>) {
        let counters = Arc::<Counters>::default();
        (Self { stream, counters: Arc::clone(&counters), whole }, counters)
    }

    fn wrote(&self, result: io::Result<usize>, offered: usize) -> io::Result<usize> {
        match result {
            Ok(count) => {
                self.counters.written.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) if is_gone(&error) => {
                if offered > self.whole {
                    self.counters.written.fetch_add(offered as u64, Ordering::Relaxed);
                }
                self.counters.write_broken.store(true, Ordering::Relaxed);
                Ok(offered)
            }
            Err(error) => Err(error),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted | NotConnected)
}

impl<S: Stream> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        let count = buffer.filled().len() - before;
        self.counters.read.fetch_add(count as u64, Ordering::Relaxed);
        result
    }
}

impl<S: Stream> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.counters.write_broken() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = std::task::ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(self.wrote(result, bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // One piece goes by the plain call, which costs the kernel less.
        if let [only] = slices {
            return self.poll_write(context, only);
        }
        let offered = slices.iter().map(|slice| slice.len()).sum();
        if self.counters.write_broken() {
            return Poll::Ready(Ok(offered));
        }
        let result = std::task::ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        Poll::Ready(self.wrote(result, offered))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.counters.write_broken() {
            return Poll::Ready(Ok(()));
        }
        let result = std::task::ready!(Pin::new(&mut self.stream).poll_flush(context));
        Poll::Ready(self.wrote(result.map(|()| 0), 0).map(|_| ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn a_failed_write_of_several_records_may_have_left_in_part() {
        for (offered, sent) in [(100, false), (16 * 1024, false), (16 * 1024 + 1, true)] {
            let (near, far) = tokio::io::duplex(64);
            drop(far);
            let (mut stream, counters) = Counted::new(near, 16 * 1024);
            stream.write_all(&vec![0; offered]).await.unwrap();
            assert!(counters.write_broken());
            assert_eq!(counters.written() > 0, sent, "{offered}");
        }
    }
}
