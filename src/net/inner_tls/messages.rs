//! A WebSocket's binary messages as a stream of bytes. Where one message ends and the next begins means nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Reads and writes bytes as messages. What is written is gathered until a flush, or until there is a message's worth.
#[derive(Debug)]
pub struct Messages<S> {
    socket: WebSocketStream<S>,
    incoming: Bytes,
    outgoing: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Messages<S> {
    /// Over a WebSocket of which nothing but binary messages is expected from now on.
    pub fn new(socket: WebSocketStream<S>) -> Self {
        Self { socket, incoming: Bytes::new(), outgoing: BytesMut::new() }
    }

    /// The WebSocket alone again. What was not read or flushed is lost.
    pub fn into_inner(self) -> WebSocketStream<S> {
        self.socket
    }

    /// Hands what was gathered to the WebSocket. Pending while that still holds an earlier message: so no more than
    /// two are ever held.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_ready(context)).map_err(fault)?;
        let message = Message::Binary(self.outgoing.split().freeze());
        Poll::Ready(Pin::new(&mut self.socket).start_send(message).map_err(fault))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Messages<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut empty = 0;
        while self.incoming.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(Message::Binary(message))) => self.incoming = message,
                // A Ping is answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a text message")));
                }
                // Not an end of the stream: whoever ends it properly says so in TLS.
                Some(Ok(Message::Close(frame))) => {
                    let reason = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                    let reason = reason.chars().filter(|letter| !letter.is_control()).collect::<String>();
                    let text = format!("the other side closed the WebSocket: {reason}");
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, text)));
                }
                Some(Err(error)) => return Poll::Ready(Err(fault(error))),
                None => return Poll::Ready(Ok(())),
            }
            empty += 1;
            if self.incoming.is_empty() && empty == EMPTY_A_TURN {
                // Others have their turn, however many empty messages come.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let count = self.incoming.len().min(into.remaining());
        into.put_slice(self.incoming.get(..count).unwrap_or_default());
        self.incoming.advance(count);
        if self.incoming.is_empty() {
            // Gives the message's memory back.
            self.incoming = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Messages<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.outgoing.len() >= FULL {
            ready!(self.poll_send(context))?;
        }
        let count = bytes.len().min(FULL - self.outgoing.len());
        self.outgoing.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in slices {
            match self.as_mut().poll_write(context, slice) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) if written == 0 => return Poll::Ready(Err(error)),
                Poll::Pending if written == 0 => return Poll::Pending,
                // What was taken counts; the fault comes again at the next call.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
            if self.outgoing.len() >= FULL {
                break;
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.outgoing.is_empty() {
            ready!(self.poll_send(context))?;
        }
        Pin::new(&mut self.socket).poll_flush(context).map_err(fault)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(context))?;
        Pin::new(&mut self.socket).poll_close(context).map_err(fault)
    }
}

fn fault(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::ConnectionAborted.into(),
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// A message's worth of what was written.
const FULL: usize = 64 * 1024;
/// After so many messages without bytes others have their turn.
const EMPTY_A_TURN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt as _, StreamExt as _};
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_tungstenite::tungstenite::protocol::Role;

    async fn pair(room: usize) -> (WebSocketStream<DuplexStream>, WebSocketStream<DuplexStream>) {
        let (near, far) = tokio::io::duplex(room);
        let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        (near, WebSocketStream::from_raw_socket(far, Role::Server, None).await)
    }

    #[tokio::test]
    async fn small_writes_are_one_message_and_a_flood_waits_for_its_reader() {
        let (near, mut far) = pair(1 << 20).await;
        let mut near = Messages::new(near);
        for _ in 0..100 {
            near.write_all(b"ten bytes.").await.unwrap();
        }
        near.flush().await.unwrap();
        assert_eq!(far.next().await.unwrap().unwrap().into_data().len(), 1000);
        let (near, _far) = pair(64).await;
        let mut near = Messages::new(near);
        let flood = vec![0; 4 << 20];
        let flood = near.write_all(&flood);
        let stuck = tokio::time::timeout(std::time::Duration::from_millis(100), flood).await;
        assert!(stuck.is_err(), "nobody reads, so not all is taken");
        assert!(near.outgoing.capacity() <= 4 * FULL, "{}", near.outgoing.capacity());
    }

    #[tokio::test]
    async fn what_is_no_binary_message_ends_it() {
        for (message, kind) in [
            (Message::text("x"), io::ErrorKind::InvalidData),
            (Message::Close(None), io::ErrorKind::ConnectionAborted),
        ] {
            let (near, mut far) = pair(4096).await;
            far.send(Message::binary(vec![])).await.unwrap();
            far.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
            far.send(Message::binary(vec![7])).await.unwrap();
            far.send(message).await.unwrap();
            let mut near = Messages::new(near);
            assert_eq!(near.read_u8().await.unwrap(), 7);
            assert_eq!(near.read_u8().await.unwrap_err().kind(), kind);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_byte_arrives_in_order(
            writes in prop::collection::vec((0_usize..100_000, any::<bool>()), 0..12), room in 64_usize..70_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (sent, received) = runtime.block_on(async {
                let (near, far) = pair(room).await;
                let (mut near, mut far) = (Messages::new(near), Messages::new(far));
                let mut sent = Vec::new();
                let sending = async {
                    for (number, (size, flush)) in writes.into_iter().enumerate() {
                        let bytes: Vec<u8> = (0..size).map(|at| (at * 31 + number) as u8).collect();
                        near.write_all(&bytes).await.unwrap();
                        if flush {
                            near.flush().await.unwrap();
                        }
                        sent.extend(bytes);
                    }
                    near.flush().await.unwrap();
                    drop(near);
                    sent
                };
                let receiving = async {
                    let mut received = Vec::new();
                    // The end comes without a closing handshake, which is a fault.
                    let _ = far.read_to_end(&mut received).await;
                    received
                };
                tokio::join!(sending, receiving)
            });
            prop_assert_eq!(sent, received);
        }
    }
}
