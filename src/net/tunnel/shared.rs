//! What the tunnel's task and the handles share: the session behind a lock, and one inbox a stream.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use foldhash::{HashMap, HashMapExt as _};
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use tokio::sync::watch;

use super::{Closed, ExchangeFault, Role, Settings, Stats};
use crate::common::clock::Clock;
use crate::common::tasks::Tasks;
use crate::tunnel::code::{CloseCode, ResetCode};
use crate::tunnel::head::{HeadFault, ResponseHead};
use crate::tunnel::session::{OpenFault, Session, StreamId};

pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the task that drives the socket.
    pub(super) driver: AtomicWaker,
    closed: watch::Sender<Option<Closed>>,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) opened: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
}

pub(super) struct State {
    pub(super) session: Session,
    pub(super) inboxes: HashMap<StreamId, Arc<Inbox>>,
}

/// What arrived for one stream and was not read yet, and who waits for what.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Mail>);

#[derive(Default)]
pub(super) struct Mail {
    pub(super) head: Option<ResponseHead>,
    pub(super) data: VecDeque<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) ended: bool,
    /// The peer wants no more of this end's body.
    pub(super) stopped: bool,
    pub(super) fault: Option<StreamFault>,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) watcher: Option<Waker>,
}

/// No piece that was joined is larger: those of callers who send with speed are, and are passed on as they came.
const JOINED: usize = 8 * 1024;

/// Why a stream broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StreamFault {
    Reset { code: ResetCode },
    Lost { unsent: bool, code: CloseCode },
}

/// One end of one stream, as long as the program is interested in it.
pub(super) struct StreamHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) id: StreamId,
}

impl Inbox {
    pub(super) fn lock(&self) -> MutexGuard<'_, Mail> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mail {
    /// Keeps a piece until it is read. Pieces that wait are joined while they are small: each has a price of its own and
    /// keeps the whole message it came in, and credit counts neither. Joined are two of about one size, so that no byte
    /// is copied often.
    pub(super) fn push(&mut self, bytes: Bytes) {
        let mut bytes = bytes;
        while let Some(last) = self.data.back()
            && last.len() <= 2 * bytes.len()
            && last.len() + bytes.len() <= JOINED
        {
            bytes = [&last[..], &bytes[..]].concat().into();
            self.data.pop_back();
        }
        self.data.push_back(bytes);
    }

    pub(super) fn wake_all(&mut self) {
        for waker in [self.reader.take(), self.writer.take(), self.watcher.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

impl Shared {
    pub(super) fn new(role: Role, settings: Settings, clock: Clock, tasks: Tasks) -> Self {
        let session = Session::new(role, settings, clock.now());
        Self {
            state: Mutex::new(State { session, inboxes: HashMap::new() }),
            driver: AtomicWaker::new(),
            closed: watch::Sender::new(None),
            clock,
            tasks,
            opened: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the session, and wakes the driver if that left something to send.
    pub(super) fn with_session<T>(&self, work: impl FnOnce(&mut Session, Instant) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.lock();
        let result = work(&mut state.session, now);
        let wake = state.session.wants_transmit();
        drop(state);
        if wake {
            self.driver.wake();
        }
        result
    }

    /// Opens a stream, and ends this direction at once if nothing follows.
    pub(super) fn open(
        self: &Arc<Self>,
        open: impl FnOnce(&mut Session) -> Result<StreamId, OpenFault>,
        ended: bool,
    ) -> Result<StreamHandle, ExchangeFault> {
        let mut state = self.lock();
        let id = open(&mut state.session).map_err(|fault| match fault {
            OpenFault::Head(HeadFault::TooLarge) => ExchangeFault::HeadTooLarge,
            OpenFault::TooMany => ExchangeFault::TooMany,
            other => ExchangeFault::NotSent(other.to_string()),
        })?;
        if ended {
            // Without trailers an END can't be too long.
            let _ = state.session.send_end(id, None);
        }
        let inbox = Arc::new(Inbox::default());
        state.inboxes.insert(id, Arc::clone(&inbox));
        drop(state);
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.driver.wake();
        Ok(StreamHandle { shared: Arc::clone(self), inbox, id })
    }

    pub(super) fn request_close(&self, code: CloseCode, text: &str) {
        self.lock().session.close(code, text);
        self.driver.wake();
    }

    pub(super) fn publish_closed(&self, closed: Closed) {
        self.closed.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(closed);
            first
        });
    }

    pub(super) async fn closed(&self) -> Closed {
        let mut receiver = self.closed.subscribe();
        let closed = match receiver.wait_for(Option::is_some).await {
            Ok(closed) => closed.clone(),
            // The sender lives in `self`, so this can't happen; silence would hang the waiter.
            Err(_) => None,
        };
        closed.unwrap_or(Closed { code: CloseCode::Internal, text: String::new(), by_peer: false })
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            streams: state.session.open_streams(),
            round_trip: state.session.round_trip(),
            opened: self.opened.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

impl StreamHandle {
    /// Adds body bytes as far as there is room; pending until some was taken. `Ok(false)`: the peer needs no more.
    pub(super) fn poll_send(
        &self,
        bytes: &mut Bytes,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Result<bool, StreamFault>> {
        if let Some(over) = self.send_is_over(context) {
            return Poll::Ready(over);
        }
        let before = bytes.len();
        self.shared.with_session(|session, _| session.send_data(self.id, bytes));
        if bytes.len() < before { Poll::Ready(Ok(true)) } else { Poll::Pending }
    }

    /// Pending until there is room for body bytes. `Ok(false)`: the peer needs no more.
    pub(super) fn poll_room(&self, context: &mut std::task::Context<'_>) -> Poll<Result<bool, StreamFault>> {
        if let Some(over) = self.send_is_over(context) {
            return Poll::Ready(over);
        }
        let room = self.shared.lock().session.room(self.id);
        if room > 0 { Poll::Ready(Ok(true)) } else { Poll::Pending }
    }

    /// Whether nothing more can be sent. If not, the task's waker is kept, before anybody looks for room: an event
    /// between the two locks is then not missed.
    fn send_is_over(&self, context: &std::task::Context<'_>) -> Option<Result<bool, StreamFault>> {
        let mut mail = self.inbox.lock();
        if let Some(fault) = &mail.fault {
            return Some(Err(fault.clone()));
        }
        if mail.stopped {
            return Some(Ok(false));
        }
        keep_waker(&mut mail.writer, context);
        None
    }

    pub(super) fn reset(&self, code: ResetCode) {
        let mut state = self.shared.lock();
        state.inboxes.remove(&self.id);
        state.session.reset(self.id, code);
        drop(state);
        // Whoever else works on this stream, such as the task that uploads its body, must hear of it.
        let mut mail = self.inbox.lock();
        mail.fault.get_or_insert(StreamFault::Reset { code });
        mail.wake_all();
        drop(mail);
        self.shared.driver.wake();
    }
}

/// Stores the task's waker, without a clone if it is there already.
pub(super) fn keep_waker(slot: &mut Option<Waker>, context: &std::task::Context<'_>) {
    match slot {
        Some(waker) if waker.will_wake(context.waker()) => {}
        _ => *slot = Some(context.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_small_pieces_are_few_and_keep_no_message() {
        let message = Bytes::from(vec![7; 64 * 1024]);
        let mut mail = Mail::default();
        for at in 0..256 * 1024 {
            mail.push(message.slice(at % 1000..=at % 1000));
        }
        assert!(mail.data.len() < 100, "{}", mail.data.len());
        drop(mail.data.split_off(mail.data.len() - 1));
        assert!(message.is_unique());
        // Large ones stay as they came.
        let mut mail = Mail::default();
        for _ in 0..4 {
            mail.push(message.slice(..16 * 1024));
        }
        assert!(mail.data.len() == 4 && mail.data.iter().all(|piece| piece.as_ptr() == message.as_ptr()));
    }

    proptest! {
        #[test]
        fn joining_changes_no_byte(sizes in proptest::collection::vec(prop_oneof![0_usize..6, 0_usize..9000], 0..60)) {
            let mut mail = Mail::default();
            let mut all = Vec::new();
            for (size, filler) in sizes.into_iter().zip((0_u8..=255).cycle()) {
                mail.push(vec![filler; size].into());
                all.extend(vec![filler; size]);
            }
            let kept: Vec<u8> = mail.data.iter().flatten().copied().collect();
            prop_assert_eq!(kept, all);
        }
    }
}
