//! The upstream's end of one connection: it reads strictly, so that what it can't read is a finding.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Heard;
use super::wire::{self, Framing, Head};

/// One connection.
pub(crate) struct Peer {
    socket: TcpStream,
    buffer: Vec<u8>,
    heard: Arc<Heard>,
}

impl Peer {
    pub(super) fn new(socket: TcpStream, heard: Arc<Heard>) -> Self {
        socket.set_nodelay(true).unwrap();
        Self { socket, buffer: Vec::new(), heard }
    }

    /// The next request's head; none once the other side has closed, or sent what is no head.
    pub(crate) async fn head(&mut self) -> Option<Head> {
        loop {
            if let Some(end) = wire::find(&self.buffer, b"\r\n\r\n") {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return Head::parse(&head).ok();
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// What came and was not read.
    pub(super) fn left(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads a request's body to its end as it is framed, and hands it on piece by piece. False: it broke off.
    pub(crate) async fn body(&mut self, head: &Head, mut piece: impl FnMut(&[u8])) -> bool {
        match head.framing() {
            Err(_) => false,
            Ok(Framing::Length(length)) => self.counted(length, &mut piece).await,
            Ok(Framing::Chunked) => loop {
                let Some(size) = self.line().await.and_then(|line| wire::chunk_size(&line)) else {
                    return false;
                };
                if size == 0 {
                    // Trailers, up to the empty line.
                    loop {
                        match self.line().await {
                            None => return false,
                            Some(line) if line.is_empty() => return true,
                            Some(_) => {}
                        }
                    }
                }
                if !self.counted(size, &mut piece).await || self.line().await != Some(Vec::new()) {
                    return false;
                }
            },
        }
    }

    async fn counted(&mut self, mut left: u64, piece: &mut impl FnMut(&[u8])) -> bool {
        while left > 0 {
            if self.buffer.is_empty() && !self.more().await {
                return false;
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            piece(&self.buffer[..count]);
            self.buffer.drain(..count);
            left -= count as u64;
        }
        true
    }

    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = wire::find(&self.buffer, b"\r\n") {
                let rest = self.buffer.split_off(end + 2);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.truncate(end);
                return Some(line);
            }
            if self.buffer.len() > 64 << 10 || !self.more().await {
                return None;
            }
        }
    }

    /// Reads so many bytes, whatever they are.
    pub(crate) async fn take(&mut self, count: usize) -> bool {
        self.counted(count as u64, &mut |_| {}).await
    }

    async fn more(&mut self) -> bool {
        let before = self.buffer.len();
        self.buffer.reserve(64 << 10);
        let count = self.socket.read_buf(&mut self.buffer).await.unwrap_or(0);
        self.heard.hear(&self.buffer[before..]);
        if count == 0 {
            self.heard.closed.store(true, Ordering::SeqCst);
        }
        count > 0
    }

    /// Reads and drops until the other side ends the connection; a minute at most.
    pub(crate) async fn until_closed(&mut self) {
        let closed = async {
            while self.more().await {
                self.buffer.clear();
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(60), closed).await;
    }

    /// Sends; says whether the other side is still there.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.socket.write_all(bytes).await.is_ok();
        if !sent {
            self.heard.closed.store(true, Ordering::SeqCst);
        }
        sent
    }

    /// From here on the connection's end is a reset, not an orderly one.
    pub(crate) fn will_reset(&self) {
        socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}
