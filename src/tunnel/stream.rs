//! One stream's books: what is queued, what may be sent, which direction has ended.

use std::collections::VecDeque;

use bytes::Bytes;

use super::credit::{INITIAL_WINDOW, ReceiveWindow};

/// How many body bytes of one stream may wait in the session for the socket.
pub(super) const QUEUE_LIMIT: usize = 128 * 1024;
/// A stream that has sent no more body than this travels in the fast lane: heads and short answers.
pub(super) const FAST_BYTES: u64 = 16 * 1024;

/// What kind of stream it is: it decides which frames are lawful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Http,
    Bytes,
    Notice,
}

/// Something of a stream that waits to be sent.
#[derive(Debug)]
pub(super) enum Item {
    Open { payload: Bytes, hold: bool },
    Head(Bytes),
    Data(Bytes),
    End(Bytes),
}

/// Where a stream waits for the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    None,
    Fast,
    Bulk,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) ours: bool,
    pub(super) shape: Shape,
    pub(super) send: Send,
    pub(super) receive: Receive,
}

/// The direction from here to the peer.
#[derive(Debug)]
pub(super) struct Send {
    pub(super) queue: VecDeque<Item>,
    /// Body bytes in `queue`.
    pub(super) queued: usize,
    pub(super) credit: u64,
    /// Body bytes written so far: decides the lane.
    pub(super) written: u64,
    pub(super) lane: Lane,
    /// OPEN has been handed to the socket: from here on the peer may have acted on it.
    pub(super) opened: bool,
    pub(super) head_queued: bool,
    /// END is queued: the program can add nothing more.
    pub(super) ending: bool,
    /// END is written.
    pub(super) ended: bool,
    /// The program was told that there is no room, and wants to hear when there is.
    pub(super) starved: bool,
    /// The peer sent STOP.
    pub(super) stopped: bool,
}

/// The direction from the peer to here.
#[derive(Debug)]
pub(super) struct Receive {
    pub(super) window: ReceiveWindow,
    /// HEAD has come, or none is needed.
    pub(super) head_seen: bool,
    pub(super) ended: bool,
    /// We sent STOP: what still comes is dropped.
    pub(super) stopped: bool,
    /// The peer holds its body until credit comes.
    pub(super) held: bool,
    pub(super) credit_due: u32,
    pub(super) stop_due: bool,
    /// In the session's list of streams that owe a CREDIT or STOP.
    pub(super) listed: bool,
}

impl Stream {
    pub(super) fn new(ours: bool, shape: Shape, hold: bool) -> Self {
        let answered = ours && shape == Shape::Http;
        Self {
            ours,
            shape,
            send: Send {
                queue: VecDeque::new(),
                queued: 0,
                credit: if ours && hold { 0 } else { u64::from(INITIAL_WINDOW) },
                written: 0,
                lane: Lane::None,
                opened: !ours,
                head_queued: false,
                ending: false,
                ended: false,
                starved: false,
                stopped: false,
            },
            receive: Receive {
                window: ReceiveWindow::new(!ours && hold),
                head_seen: !answered,
                ended: false,
                stopped: false,
                held: !ours && hold,
                credit_due: 0,
                stop_due: false,
                listed: false,
            },
        }
    }

    /// Both directions are over.
    pub(super) fn is_finished(&self) -> bool {
        self.send.ended && self.receive.ended
    }
}

impl Send {
    /// How many body bytes the program may add now.
    pub(super) fn room(&self) -> usize {
        if self.ending {
            return 0;
        }
        let credit = usize::try_from(self.credit).unwrap_or(usize::MAX);
        credit.min(QUEUE_LIMIT.saturating_sub(self.queued))
    }

    /// Whether a starved program should be woken: not for every few bytes.
    pub(super) fn refilled(&self) -> bool {
        self.starved && self.queued <= QUEUE_LIMIT / 2 && self.room() > 0
    }

    /// The peer needs no more of this body: what waits is dropped, and END follows by itself.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.queue.retain(|item| !matches!(item, Item::Data(_) | Item::End(_)));
        self.queued = 0;
        self.ending = true;
        self.queue.push_back(Item::End(Bytes::new()));
    }

    pub(super) fn natural_lane(&self) -> Lane {
        if self.written < FAST_BYTES { Lane::Fast } else { Lane::Bulk }
    }
}
