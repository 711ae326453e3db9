//! A line between two sides: TCP connections handed on with a delay, a rate, or both.
//!
//! It stands in for a long or narrow network where the kernel can't make one. A delay holds each piece back by that
//! time in each direction, in order; its place on the line is free again when word of its arrival is back, as TCP's
//! window is. A rate belongs to the line, not to a connection: all connections of one direction
//! share one queue, first come, first served, as at the port of a router; who finds it full waits.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use outhaul::common::tasks::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::{Outcome, words};

/// The line.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    to: SocketAddr,
    /// Each way.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Bytes a second each way, for all connections together. None: as fast as the machine can.
    #[arg(long)]
    rate: Option<u64>,
    /// Bytes on their way in one direction and not known to have arrived: of all connections where there is a rate,
    /// else of one.
    #[arg(long, default_value_t = 16 << 20)]
    in_flight: usize,
    /// Bytes that the kernel may hold before the line. None: as it likes.
    #[arg(long)]
    receive_buffer: Option<u32>,
}

/// What all connections share in one direction.
#[derive(Clone)]
struct Direction {
    delay: Duration,
    in_flight: usize,
    narrow: Option<Arc<Narrow>>,
}

/// The narrow place: when it is free again, and how much may wait before it.
struct Narrow {
    rate: u64,
    free: Mutex<Instant>,
    room: Arc<Semaphore>,
}

/// A piece, when it is to arrive, and its place on the line.
type Piece = (Instant, Bytes, OwnedSemaphorePermit);
/// Where places go with the time from which they are free again.
type Arrived = mpsc::Sender<(Instant, OwnedSemaphorePermit)>;

pub(crate) async fn run(line: Arguments) -> Outcome<()> {
    let socket = socket(&line)?;
    socket.set_reuseaddr(true).map_err(words)?;
    socket.bind(line.listen).map_err(words)?;
    let listener = socket.listen(1024).map_err(words)?;
    let (out, back) = (Direction::new(&line), Direction::new(&line));
    let tasks = Tasks::new();
    loop {
        let (near, _) = listener.accept().await.map_err(words)?;
        let (line, out, back, pumps) = (line.clone(), out.clone(), back.clone(), tasks.clone());
        tasks.spawn_detached(async move {
            match connect(&near, &line).await {
                Ok(far) => join(near, far, out, back, &pumps),
                Err(fault) => eprintln!("line to {}: {fault}", line.to),
            }
        });
    }
}

fn socket(line: &Arguments) -> Outcome<TcpSocket> {
    let socket = TcpSocket::new_v4().map_err(words)?;
    if let Some(bytes) = line.receive_buffer {
        // Before listening and connecting: the window's scale is agreed on then.
        socket.set_recv_buffer_size(bytes).map_err(words)?;
    }
    Ok(socket)
}

async fn connect(near: &TcpStream, line: &Arguments) -> Outcome<TcpStream> {
    near.set_nodelay(true).map_err(words)?;
    let far = socket(line)?.connect(line.to).await.map_err(words)?;
    far.set_nodelay(true).map_err(words)?;
    Ok(far)
}

fn join(near: TcpStream, far: TcpStream, out: Direction, back: Direction, tasks: &Tasks) {
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    for (read, write, direction) in [(near_read, far_write, out), (far_read, near_write, back)] {
        let (send, receive) = mpsc::channel(PIECES);
        let (arrived, known) = mpsc::channel(PIECES);
        let delay = direction.delay;
        tasks.spawn_detached(take_in(read, direction, send));
        tasks.spawn_detached(give_out(write, receive, delay, arrived));
        tasks.spawn_detached(free_places(known));
    }
}

/// Either end's failure shows as the end of the stream: that is all a proxy of TCP can say.
async fn take_in(mut read: OwnedReadHalf, direction: Direction, send: mpsc::Sender<Piece>) {
    let room = direction.room();
    let size = if direction.narrow.is_some() { SMALL_PIECE } else { PIECE };
    let mut buffer = BytesMut::new();
    loop {
        if buffer.capacity() < size / 4 {
            buffer.reserve(size);
        }
        match (&mut read).take(size as u64).read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let piece = buffer.split().freeze();
        let places = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&room).acquire_many_owned(places).await else { return };
        let arrives = direction.passes(piece.len()) + direction.delay;
        if send.send((arrives, piece, permit)).await.is_err() {
            return;
        }
    }
}

async fn give_out(
    mut write: OwnedWriteHalf,
    mut receive: mpsc::Receiver<Piece>,
    delay: Duration,
    arrived: Arrived,
) {
    while let Some((arrives, piece, permit)) = receive.recv().await {
        if arrives > Instant::now() {
            tokio::time::sleep_until(arrives).await;
        }
        if write.write_all(&piece).await.is_err() {
            return;
        }
        if delay.is_zero() {
            drop(permit);
        } else if arrived.send((Instant::now() + delay, permit)).await.is_err() {
            return;
        }
    }
    // It fails only on a connection that is gone.
    let _ = write.shutdown().await;
}

async fn free_places(mut known: mpsc::Receiver<(Instant, OwnedSemaphorePermit)>) {
    while let Some((free, permit)) = known.recv().await {
        tokio::time::sleep_until(free).await;
        drop(permit);
    }
}

impl Direction {
    fn new(line: &Arguments) -> Self {
        let narrow = line.rate.map(|rate| {
            let room = Arc::new(Semaphore::new(line.in_flight));
            Arc::new(Narrow { rate: rate.max(1), free: Mutex::new(Instant::now()), room })
        });
        Self { delay: Duration::from_millis(line.delay_ms), in_flight: line.in_flight, narrow }
    }

    fn room(&self) -> Arc<Semaphore> {
        let own = || Arc::new(Semaphore::new(self.in_flight));
        self.narrow.as_ref().map_or_else(own, |narrow| Arc::clone(&narrow.room))
    }

    /// When so many bytes are through the narrow place.
    fn passes(&self, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(narrow) = &self.narrow else { return now };
        let mut free = narrow.free.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / narrow.rate);
        *free = (*free).max(now) + takes;
        *free
    }
}

const PIECE: usize = 128 * 1024;
/// At a narrow place pieces take turns: small ones, as packets do.
const SMALL_PIECE: usize = 8 * 1024;
/// Only a bound: bytes are counted by the room.
const PIECES: usize = 16 * 1024;
