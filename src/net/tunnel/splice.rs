//! Joins a TCP socket to a byte stream: what comes out of one goes into the other, both ways, unread.
//!
//! Read by large pieces into a buffer that all streams of a thread share, so that a stream at rest holds no memory;
//! written as the pieces came, several at once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Interval;

use super::bytes::ByteStream;
use super::shared::{StreamFault, keep_waker};
use crate::common::clock::Clock;
use crate::tunnel::code::ResetCode;

/// How long nothing may move.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// No byte either way.
    pub idle: Duration,
    /// The socket takes nothing of what waits for it.
    pub stuck: Duration,
}

/// What a join came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spliced {
    /// Bytes from the socket into the stream.
    pub sent: u64,
    /// Bytes from the stream into the socket.
    pub received: u64,
    /// Why it is over.
    pub end: SpliceEnd,
}

/// Why a join is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpliceEnd {
    /// Both directions ended in good order.
    Finished,
    /// The stream's other end broke it off.
    Reset(ResetCode),
    /// The tunnel is gone.
    Lost,
    /// The socket broke.
    Socket(io::ErrorKind),
    /// Nothing moved for too long.
    Idle,
    /// The socket took nothing for too long.
    Stuck,
}

/// Copies until both directions have ended or one breaks. `ahead` was read from the socket before. The socket stays
/// with the caller, who may have something to say when nothing was received.
pub async fn splice(
    socket: &mut TcpStream,
    ahead: Bytes,
    stream: ByteStream,
    patience: Patience,
    clock: &Clock,
) -> Spliced {
    let tick =
        (patience.idle.min(patience.stuck) / 4).clamp(Duration::from_millis(50), Duration::from_secs(15));
    let mut watch = tokio::time::interval(tick);
    watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let now = clock.now();
    let mut splice = Splice {
        socket,
        stream,
        ahead,
        pieces: VecDeque::new(),
        up: Direction::Open,
        down: Direction::Open,
        sent: 0,
        received: 0,
        moved: now,
        took: now,
        clock: clock.clone(),
    };
    let end = poll_fn(|context| splice.poll(context, &mut watch, patience)).await;
    let Splice { stream, sent, received, .. } = splice;
    match end {
        SpliceEnd::Idle | SpliceEnd::Stuck => stream.reset(ResetCode::Timeout),
        // Unless both ended, this resets it.
        _ => drop(stream),
    }
    Spliced { sent, received, end }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Open,
    /// The stream's other end needs no more; what the socket still sends is read and forgotten, so that the socket's
    /// close does not reach its peer before the last bytes do (RFC 9112, section 9.6, for the same with HTTP).
    Unwanted,
    Ended,
}

struct Splice<'a> {
    socket: &'a mut TcpStream,
    stream: ByteStream,
    ahead: Bytes,
    /// Out of the stream, on their way into the socket.
    pieces: VecDeque<Bytes>,
    up: Direction,
    down: Direction,
    sent: u64,
    received: u64,
    /// When any byte moved.
    moved: Instant,
    /// When the socket took something, or there was nothing to take.
    took: Instant,
    clock: Clock,
}

impl Splice<'_> {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        watch: &mut Interval,
        patience: Patience,
    ) -> Poll<SpliceEnd> {
        // Down first: a stream that was broken off may have brought its last bytes before.
        if let Poll::Ready(Err(end)) = self.poll_down(context) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(Err(end)) = self.poll_up(context) {
            return Poll::Ready(end);
        }
        if self.down == Direction::Ended && self.up == Direction::Ended {
            return Poll::Ready(SpliceEnd::Finished);
        }
        while watch.poll_tick(context).is_ready() {
            let now = self.clock.now();
            let since = |then| now.saturating_duration_since(then);
            if self.down == Direction::Ended && self.up == Direction::Unwanted && since(self.took) >= LINGER {
                return Poll::Ready(SpliceEnd::Finished);
            }
            if since(self.moved) >= patience.idle {
                return Poll::Ready(SpliceEnd::Idle);
            }
            if !self.pieces.is_empty() && since(self.took) >= patience.stuck {
                return Poll::Ready(SpliceEnd::Stuck);
            }
        }
        Poll::Pending
    }

    /// From the socket into the stream.
    fn poll_up(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SpliceEnd>> {
        for _ in 0..TURNS {
            let room = match self.up {
                Direction::Ended => return Poll::Ready(Ok(())),
                Direction::Unwanted => READ,
                Direction::Open => match ready!(self.stream.handle.poll_room(context)) {
                    Ok(true) => {
                        let id = self.stream.handle.id;
                        self.stream.handle.shared.lock().session.room(id)
                    }
                    Ok(false) => {
                        self.up = Direction::Unwanted;
                        self.stream.write_ended = true;
                        continue;
                    }
                    Err(fault) => return Poll::Ready(Err(self.broken(&fault))),
                },
            };
            if !self.ahead.is_empty() && self.up == Direction::Open {
                let mut piece = self.ahead.split_to(self.ahead.len().min(room));
                self.send(&mut piece);
                continue;
            }
            match ready!(self.poll_read(context, room)) {
                Ok(Some(mut piece)) => {
                    if self.up == Direction::Open {
                        self.send(&mut piece);
                    }
                }
                Ok(None) => {
                    self.up = Direction::Ended;
                    if !std::mem::replace(&mut self.stream.write_ended, true) {
                        let id = self.stream.handle.id;
                        // Without trailers an END can't be too long.
                        let _ =
                            self.stream.handle.shared.with_session(|session, _| session.send_end(id, None));
                    }
                }
                // After the end both ways nothing is owed to anybody.
                Err(_) if self.down == Direction::Ended => self.up = Direction::Ended,
                Err(error) => return Poll::Ready(Err(SpliceEnd::Socket(error.kind()))),
            }
        }
        // Others have their turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Only this task sends on the stream, and not more than there is room for: all of it is taken.
    fn send(&mut self, piece: &mut Bytes) {
        self.sent += piece.len() as u64;
        self.moved = self.clock.now();
        let id = self.stream.handle.id;
        self.stream.handle.shared.with_session(|session, _| session.send_data(id, piece));
    }

    /// Not `try_read`: the poll knows that a short read has emptied the socket, and spares asking again.
    fn poll_read(&mut self, context: &mut Context<'_>, room: usize) -> Poll<io::Result<Option<Bytes>>> {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(READ, 0);
            let mut into = ReadBuf::new(buffer.get_mut(..room.min(READ)).unwrap_or_default());
            ready!(Pin::new(&mut *self.socket).poll_read(context, &mut into))?;
            let read = into.filled();
            Poll::Ready(Ok((!read.is_empty()).then(|| Bytes::copy_from_slice(read))))
        })
    }

    /// From the stream into the socket.
    fn poll_down(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SpliceEnd>> {
        for _ in 0..TURNS {
            if self.down == Direction::Ended {
                return Poll::Ready(Ok(()));
            }
            if self.pieces.is_empty() {
                let mut mail = self.stream.handle.inbox.lock();
                if !mail.data.is_empty() {
                    std::mem::swap(&mut mail.data, &mut self.pieces);
                } else if mail.ended {
                    drop(mail);
                    self.stream.read_ended = true;
                    let shut = ready!(Pin::new(&mut *self.socket).poll_shutdown(context));
                    self.down = Direction::Ended;
                    self.took = self.clock.now();
                    if let Err(error) = shut {
                        tracing::trace!(%error, "a socket was gone before its end");
                    }
                    return Poll::Ready(Ok(()));
                } else if let Some(fault) = mail.fault.clone() {
                    drop(mail);
                    return Poll::Ready(Err(self.broken(&fault)));
                } else {
                    keep_waker(&mut mail.reader, context);
                    return Poll::Pending;
                }
                self.took = self.clock.now();
            }
            let written = match ready!(self.poll_write(context)) {
                Ok(written) => written,
                Err(error) => return Poll::Ready(Err(SpliceEnd::Socket(error.kind()))),
            };
            let now = self.clock.now();
            (self.moved, self.took) = (now, now);
            self.received += written as u64;
            self.advance(written);
            let id = self.stream.handle.id;
            self.stream.handle.shared.with_session(|session, now| session.consumed(id, written, now));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            let written = match self.pieces.front() {
                Some(only) if self.pieces.len() == 1 => self.socket.try_write(only),
                _ => {
                    let mut slices = [IoSlice::new(&[]); PIECES];
                    let mut count = 0;
                    for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                        *slice = IoSlice::new(piece);
                        count += 1;
                    }
                    self.socket.try_write_vectored(slices.get(..count).unwrap_or_default())
                }
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                other => return Poll::Ready(other),
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.pieces.front_mut() {
            let step = front.len().min(written);
            front.advance(step);
            written -= step;
            if !front.is_empty() {
                return;
            }
            self.pieces.pop_front();
            if written == 0 {
                return;
            }
        }
    }

    fn broken(&mut self, fault: &StreamFault) -> SpliceEnd {
        // Nothing is to be told to the other end any more.
        (self.stream.read_ended, self.stream.write_ended) = (true, true);
        match fault {
            // It had said all it had to say, and did not want to hear the rest.
            StreamFault::Reset { .. } if self.down == Direction::Ended => SpliceEnd::Finished,
            StreamFault::Reset { code } => SpliceEnd::Reset(*code),
            StreamFault::Lost { .. } => SpliceEnd::Lost,
        }
    }
}

thread_local! {
    /// Where all streams of this thread read to. Grown at the first read.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One read takes at most this.
const READ: usize = 64 * 1024;
/// One write takes at most so many pieces.
const PIECES: usize = 16;
/// After so many pieces in a row other streams have their turn.
const TURNS: usize = 16;
/// How long a socket is heard out after the last byte to it.
const LINGER: Duration = Duration::from_secs(3);
