//! A socket whose writing must get on: whoever takes nothing for too long is cut off. And one that is not slammed
//! shut on a caller who is still sending.

use std::future::Future as _;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Fails with `TimedOut` once a write has waited for `patience`.
#[derive(Debug)]
pub struct Watched<T> {
    inner: T,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    linger: Linger,
    end: End,
}

/// What a connection that ends owes a caller who is still sending. Closed with bytes unread, a socket is reset, and
/// the reset can overtake the answer (RFC 9112, section 9.6).
#[derive(Debug, Clone, Default)]
pub struct Linger(Arc<AtomicBool>);

impl Linger {
    /// Take what still comes, and forget it, for a while after the last answer.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The end of a socket in steps.
#[derive(Debug, Default)]
enum End {
    /// Not there yet.
    #[default]
    Open,
    /// This direction is over; the other is read until this is.
    Lingering(Pin<Box<Sleep>>),
}

impl<T> Watched<T> {
    /// Watches `inner`.
    pub fn new(inner: T, patience: Duration, linger: Linger) -> Self {
        Self { inner, patience, waiting: None, linger, end: End::Open }
    }

    /// The socket alone again.
    pub fn into_inner(self) -> T {
        self.inner
    }

    fn judge<R>(&mut self, result: Poll<io::Result<R>>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.waiting = None;
            return result;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> Watched<T> {
    /// Reads and forgets until the caller ends too, or the time is over.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let End::Lingering(until) = &mut self.end else { return Poll::Ready(()) };
        if until.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut sink = [MaybeUninit::uninit(); 4096];
        for _ in 0..READS_A_TURN {
            let mut buffer = ReadBuf::uninit(&mut sink);
            match ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// How long a caller may go on sending after the answer.
const LINGER: Duration = Duration::from_secs(3);
/// After so many reads others have their turn.
const READS_A_TURN: usize = 32;

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(result, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(context);
        self.judge(result, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.end, End::Open) {
            let result = Pin::new(&mut self.inner).poll_shutdown(context);
            ready!(self.judge(result, context))?;
            if !self.linger.0.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            self.end = End::Lingering(Box::pin(tokio::time::sleep(LINGER)));
        }
        self.poll_linger(context).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.judge(result, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test(start_paused = true)]
    async fn a_stuck_reader_is_cut_off_and_a_slow_one_is_not() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut near = Watched::new(near, Duration::from_secs(10), Linger::default());
        let slow = async {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                far.read_exact(&mut [0; 16]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(near.write_all(&[0; 64]), slow);
        written.unwrap();
        let stuck = near.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(stuck.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_still_sends_is_heard_out_but_not_for_ever() {
        for asked in [false, true] {
            let (near, mut far) = tokio::io::duplex(16);
            let linger = Linger::default();
            if asked {
                linger.ask();
            }
            let mut near = Watched::new(near, Duration::from_secs(10), linger);
            let begun = tokio::time::Instant::now();
            let close = async {
                near.shutdown().await.unwrap();
                drop(near);
            };
            let send = async {
                while far.write_all(&[0; 16]).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::join!(close, send);
            assert_eq!(begun.elapsed() >= LINGER, asked);
        }
    }
}
