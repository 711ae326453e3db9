//! The task that owns a tunnel's socket: reads messages into the session, hands events to the streams, and writes
//! what the session has to say, one batch at a time.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WebSocketCode;

use super::body::TunnelBody;
use super::bytes::ByteStream;
use super::exchange::Reply;
use super::shared::{Inbox, Shared, State, StreamFault, StreamHandle};
use super::{Acceptor, Closed, IncomingCall};
use crate::tunnel::code::{CloseCode, DrainCode};
use crate::tunnel::head::{BytesHead, Open};
use crate::tunnel::session::{BATCH, Event, SHARED_DATA};

/// How many messages are read before the writer has its turn.
const READS_A_TURN: usize = 16;
/// How many streams a peer may have opened before those who work on them have theirs: each is a task that waits, even if the
/// peer has given it up already.
const OPENED_A_TURN: u64 = 256;
/// How long a closing handshake may take; the peer may be gone.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// Close codes on the wire: this plus our number (RFC 6455, section 7.4.2, the private range).
const CLOSE_BASE: u16 = 4000;

/// The socket comes in a box: an idle tunnel is this task and little else, which would hold room for it twice.
pub(super) async fn drive<S>(
    mut socket: Box<WebSocketStream<S>>,
    shared: Arc<Shared>,
    acceptor: Arc<dyn Acceptor>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut driver = Driver {
        shared: Arc::clone(&shared),
        acceptor,
        timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        flushing: false,
        yielded: false,
        batch: BytesMut::new(),
        last_batch: 0,
        blocked: false,
        bulk: BATCH,
        arrivals: Vec::new(),
    };
    let closed = poll_fn(|context| driver.poll(&mut socket, context)).await;
    shared.publish_closed(closed.clone());
    drop(driver);
    if !closed.by_peer && closed.code != CloseCode::Broken && closed.code != CloseCode::Silent {
        let code = WebSocketCode::from(CLOSE_BASE + closed.code.number());
        let reason: String = closed.text.chars().take(100).filter(char::is_ascii).collect();
        let close = CloseFrame { code, reason: reason.as_str().into() };
        let goodbye = async { socket.send(Message::Close(Some(close))).await };
        let _ = Box::pin(tokio::time::timeout(CLOSE_WITHIN, goodbye)).await;
    }
}

struct Driver {
    shared: Arc<Shared>,
    acceptor: Arc<dyn Acceptor>,
    timer: Pin<Box<Sleep>>,
    /// A batch was handed to the socket and has not left it.
    flushing: bool,
    /// The others had their turn to add to the next batch.
    yielded: bool,
    batch: BytesMut,
    /// How long the last batch was: the next is likely to be like it.
    last_batch: usize,
    /// The socket did not take the present batch at once.
    blocked: bool,
    /// How much of long bodies the next batch may hold: little while the line is the narrow place, so that what is urgent
    /// waits for little.
    bulk: usize,
    arrivals: Vec<Arrival>,
}

/// What must be told to the acceptor once the lock is free.
enum Arrival {
    Http(Box<IncomingCall>),
    Bytes(BytesHead, ByteStream),
    Status(Bytes),
    Draining(DrainCode, String),
}

/// Whatever ends the task, a panic or the end of the runtime included: nobody waits for a tunnel that is gone.
impl Drop for Driver {
    fn drop(&mut self) {
        let closed = self.end(CloseCode::Internal, "the tunnel's task ended", false);
        self.shared.publish_closed(closed);
    }
}

impl Driver {
    fn poll<S>(&mut self, socket: &mut WebSocketStream<S>, context: &mut Context<'_>) -> Poll<Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.shared.driver.register(context.waker());
        if let Some(closed) = self.read(socket, context) {
            return Poll::Ready(closed);
        }
        self.check_time(context);
        if let Some(closed) = self.settle() {
            return Poll::Ready(closed);
        }
        match self.write(socket, context) {
            Some(closed) => Poll::Ready(closed),
            None => Poll::Pending,
        }
    }

    fn read<S>(&mut self, socket: &mut WebSocketStream<S>, context: &mut Context<'_>) -> Option<Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let before = self.shared.opened.load(Ordering::Relaxed);
        for turn in 0..=READS_A_TURN {
            let opened = self.shared.opened.load(Ordering::Relaxed).wrapping_sub(before);
            if turn == READS_A_TURN || opened >= OPENED_A_TURN {
                context.waker().wake_by_ref();
                break;
            }
            match Pin::new(&mut *socket).poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(Message::Binary(message)))) => {
                    self.shared.bytes_in.fetch_add(message.len() as u64, Ordering::Relaxed);
                    let now = self.shared.clock.now();
                    self.shared.lock().session.receive(message, now);
                    if let Some(closed) = self.settle() {
                        return Some(closed);
                    }
                }
                // tungstenite answers a Ping by itself.
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
                Poll::Ready(Some(Ok(Message::Text(_)))) => {
                    return Some(self.end(CloseCode::Protocol, "a text message", false));
                }
                Poll::Ready(Some(Ok(Message::Close(frame)))) => return Some(self.end_by_peer(frame)),
                Poll::Ready(Some(Err(error))) => {
                    return Some(self.end(CloseCode::Broken, &error.to_string(), false));
                }
                Poll::Ready(None) => return Some(self.end(CloseCode::Broken, "the socket closed", false)),
            }
        }
        None
    }

    fn write<S>(&mut self, socket: &mut WebSocketStream<S>, context: &mut Context<'_>) -> Option<Closed>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if self.flushing {
                match Pin::new(&mut *socket).poll_flush(context) {
                    Poll::Pending => {
                        self.blocked = true;
                        return None;
                    }
                    Poll::Ready(Ok(())) => {
                        self.flushing = false;
                        let blocked = std::mem::take(&mut self.blocked);
                        self.bulk = if blocked { SHARED_DATA } else { (self.bulk * 2).min(BATCH) };
                    }
                    Poll::Ready(Err(error)) => {
                        return Some(self.end(CloseCode::Broken, &error.to_string(), false));
                    }
                }
            }
            let mut state = self.shared.lock();
            if !state.session.wants_transmit() {
                self.yielded = false;
                return None;
            }
            if !self.yielded && state.session.open_streams() > 1 {
                // Whoever is ready too may add to this batch: one message and one write for many frames.
                self.yielded = true;
                drop(state);
                context.waker().wake_by_ref();
                return None;
            }
            self.yielded = false;
            self.batch.reserve(self.last_batch.clamp(1024, BATCH + BATCH / 4));
            state.session.transmit_some(&mut self.batch, self.bulk);
            drop(state);
            let closed = self.settle();
            self.last_batch = self.batch.len();
            let message = std::mem::take(&mut self.batch).freeze();
            if closed.is_some() || message.is_empty() {
                return closed;
            }
            self.shared.bytes_out.fetch_add(message.len() as u64, Ordering::Relaxed);
            let sent = match Pin::new(&mut *socket).poll_ready(context) {
                Poll::Ready(Ok(())) => Pin::new(&mut *socket).start_send(Message::Binary(message)),
                Poll::Ready(Err(error)) => Err(error),
                // Never while nothing is being flushed; the bytes would be lost.
                Poll::Pending => {
                    return Some(self.end(CloseCode::Internal, "the socket is busy", false));
                }
            };
            if let Err(error) = sent {
                return Some(self.end(CloseCode::Broken, &error.to_string(), false));
            }
            self.flushing = true;
        }
    }

    fn check_time(&mut self, context: &mut Context<'_>) {
        loop {
            let now = self.shared.clock.now();
            let deadline = {
                let mut state = self.shared.lock();
                if state.session.deadline() <= now {
                    state.session.tick(now);
                }
                if state.session.is_closed() {
                    return;
                }
                state.session.deadline()
            };
            let deadline = tokio::time::Instant::from_std(deadline);
            if self.timer.deadline() != deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return;
            }
        }
    }

    /// Hands out what happened.
    fn settle(&mut self) -> Option<Closed> {
        let mut closed = None;
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        while let Some(event) = state.session.poll_event() {
            if let Event::Closed { code, text } = event {
                closed = Some(Closed { code, text, by_peer: false });
            } else {
                self.deliver(&mut state, event);
            }
        }
        if let Some(closed) = &closed {
            for (_, inbox) in state.inboxes.drain() {
                fail(&inbox, StreamFault::Lost { unsent: false, code: closed.code });
            }
        }
        drop(state);
        for arrival in self.arrivals.drain(..) {
            match arrival {
                Arrival::Http(call) => self.acceptor.http(*call),
                Arrival::Bytes(head, stream) => self.acceptor.bytes(head, stream),
                Arrival::Status(payload) => self.acceptor.status(payload),
                Arrival::Draining(code, text) => self.acceptor.draining(code, text),
            }
        }
        closed
    }

    fn deliver(&mut self, state: &mut State, event: Event) {
        match event {
            Event::Opened { stream, open, ended } => self.accept(state, stream, open, ended),
            Event::Head { stream, head } => with_mail(state, stream, |inbox| {
                let mut mail = inbox.lock();
                mail.head = Some(head);
                mail.reader.take()
            }),
            Event::Data { stream, bytes } => with_mail(state, stream, |inbox| {
                let mut mail = inbox.lock();
                mail.push(bytes);
                mail.reader.take()
            }),
            Event::End { stream, trailers } => with_mail(state, stream, |inbox| {
                let mut mail = inbox.lock();
                mail.ended = true;
                mail.trailers = trailers;
                mail.reader.take()
            }),
            Event::Writable { stream } => with_mail(state, stream, |inbox| inbox.lock().writer.take()),
            Event::Stopped { stream } => with_mail(state, stream, |inbox| {
                let mut mail = inbox.lock();
                mail.stopped = true;
                mail.writer.take()
            }),
            Event::Finished { stream } => {
                if let Some(inbox) = state.inboxes.remove(&stream) {
                    inbox.lock().wake_all();
                }
            }
            Event::Reset { stream, code, .. } => {
                if let Some(inbox) = state.inboxes.remove(&stream) {
                    fail(&inbox, StreamFault::Reset { code });
                }
            }
            Event::Lost { stream, unsent } => {
                if let Some(inbox) = state.inboxes.remove(&stream) {
                    fail(&inbox, StreamFault::Lost { unsent, code: CloseCode::Broken });
                }
            }
            Event::Status { payload } => self.arrivals.push(Arrival::Status(payload)),
            Event::Draining { code, text } => self.arrivals.push(Arrival::Draining(code, text)),
            Event::Closed { .. } => {}
        }
    }

    fn accept(&mut self, state: &mut State, stream: u64, open: Open, ended: bool) {
        let inbox = Arc::new(Inbox::default());
        inbox.lock().ended = ended;
        state.inboxes.insert(stream, Arc::clone(&inbox));
        self.shared.opened.fetch_add(1, Ordering::Relaxed);
        let handle = Arc::new(StreamHandle { shared: Arc::clone(&self.shared), inbox, id: stream });
        match open {
            Open::Http(head) => {
                let body = TunnelBody::request(Arc::clone(&handle), &head.headers);
                let reply = Reply::new(handle);
                self.arrivals.push(Arrival::Http(Box::new(IncomingCall { head: *head, body, reply })));
            }
            Open::Bytes(head) => match Arc::into_inner(handle) {
                Some(handle) => self.arrivals.push(Arrival::Bytes(head, ByteStream::new(handle))),
                None => state.session.reset(stream, crate::tunnel::code::ResetCode::Internal),
            },
            // No topic is taken yet.
            Open::Notice(_) => {
                state.inboxes.remove(&stream);
                state.session.reset(stream, crate::tunnel::code::ResetCode::Unsupported);
            }
        }
    }

    fn end(&mut self, code: CloseCode, text: &str, by_peer: bool) -> Closed {
        self.shared.lock().session.close(code, text);
        let closed = self.settle();
        // The session may have been closed a moment before, for a reason of its own.
        closed.map_or_else(
            || Closed { code, text: text.to_owned(), by_peer },
            |closed| Closed { by_peer, ..closed },
        )
    }

    fn end_by_peer(&mut self, frame: Option<CloseFrame>) -> Closed {
        let (code, text) = match frame {
            Some(frame) => {
                let number = u16::from(frame.code);
                let code = number.checked_sub(CLOSE_BASE).map_or(CloseCode::Broken, CloseCode::from_number);
                // It is shown to people.
                (code, frame.reason.chars().filter(|letter| !letter.is_control()).collect())
            }
            None => (CloseCode::Broken, "closed without a reason".to_owned()),
        };
        self.end(code, &text, true)
    }
}

/// Changes a stream's mail and wakes who waited, after its lock is free.
fn with_mail(state: &State, stream: u64, change: impl FnOnce(&Inbox) -> Option<std::task::Waker>) {
    if let Some(inbox) = state.inboxes.get(&stream)
        && let Some(waker) = change(inbox)
    {
        waker.wake();
    }
}

fn fail(inbox: &Inbox, fault: StreamFault) {
    let mut mail = inbox.lock();
    mail.fault.get_or_insert(fault);
    mail.wake_all();
}
