//! What goes on the wire, and in which order.
//!
//! Control frames first; then the fast lane (heads and short answers), then the bulk lane round robin, one frame a
//! stream. A stream stands in one lane at a time and its frames leave in the order they were queued, so frames of
//! one stream never overtake each other.

use bytes::BytesMut;

use super::{Event, Session, StreamId};
use crate::tunnel::frame::{END_STREAM, HOLD, Kind, MAX_DATA, put_header};
use crate::tunnel::stream::{Item, Lane, Stream};

/// A batch is closed once it is this long.
pub const BATCH: usize = 64 * 1024;
/// What the fast lane leaves of a batch while bulk waits, so that neither starves the other.
const FAST_SHARE: usize = 48 * 1024;
/// A bulk frame's length while other streams wait.
pub const SHARED_DATA: usize = 16 * 1024;

impl Session {
    /// Whether anything waits to be sent.
    pub fn wants_transmit(&self) -> bool {
        !self.closed
            && (!self.control.is_empty()
                || !self.owing.is_empty()
                || !self.fast.is_empty()
                || !self.bulk.is_empty()
                || self.status.is_some()
                || self.ping_due.is_some()
                || self.heartbeat.owes_pong())
    }

    /// Appends whole frames up to about [`BATCH`] bytes: one message for the socket. Call it again when the socket
    /// has taken them, never earlier: what waits here can still be overtaken by what is urgent.
    pub fn transmit(&mut self, out: &mut BytesMut) {
        self.transmit_some(out, BATCH);
    }

    /// The same with at most about `bulk` bytes of long bodies, for a socket that takes less than it is offered: what
    /// is urgent comes behind all that was handed out before.
    pub fn transmit_some(&mut self, out: &mut BytesMut, bulk: usize) {
        if self.closed {
            return;
        }
        let begin = out.len();
        self.transmit_control(out);
        self.transmit_fast(out, begin);
        self.transmit_bulk(out, begin, bulk);
    }

    fn transmit_control(&mut self, out: &mut BytesMut) {
        if let Some(payload) = self.heartbeat.take_pong() {
            put(out, Kind::Pong, 0, &payload);
        }
        if let Some(payload) = self.ping_due.take() {
            put(out, Kind::Ping, 0, &payload);
        }
        while out.len() < BATCH
            && let Some(frame) = self.control.pop_front()
        {
            frame.encode(out);
        }
        while out.len() < BATCH
            && let Some(id) = self.owing.pop_front()
        {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let receive = &mut stream.receive;
            receive.listed = false;
            if std::mem::take(&mut receive.stop_due) {
                put(out, Kind::Stop, id, &[]);
            }
            let credit = std::mem::take(&mut receive.credit_due);
            if credit > 0 && !receive.ended {
                put(out, Kind::Credit, id, &credit.to_be_bytes());
            }
        }
        if let Some(payload) = self.status.take() {
            put(out, Kind::Status, 0, &payload);
        }
    }

    fn transmit_fast(&mut self, out: &mut BytesMut, begin: usize) {
        let share = if self.bulk.is_empty() { BATCH } else { FAST_SHARE };
        // A stream leaves the lane once its turn is over; those that stay come at the end.
        while out.len() - begin < share
            && let Some(id) = self.fast.pop_front()
        {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.send.lane = Lane::None;
            while out.len() - begin < BATCH
                && stream.send.natural_lane() == Lane::Fast
                && write_one(id, stream, SHARED_DATA, out)
            {}
            self.after_turn(id);
        }
    }

    fn transmit_bulk(&mut self, out: &mut BytesMut, begin: usize, most: usize) {
        while out.len() - begin < most
            && let Some(id) = self.bulk.pop_front()
        {
            let alone = self.bulk.is_empty() && self.fast.is_empty();
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.send.lane = Lane::None;
            // A batch stays near its size: a lone stream's frame takes what is left of it.
            let left = most.saturating_sub(out.len() - begin).max(SHARED_DATA);
            let most = if alone { MAX_DATA.min(left) } else { SHARED_DATA };
            write_one(id, stream, most, out);
            self.after_turn(id);
        }
    }

    /// Puts the stream back in line if more waits, tells a starved program, and closes what is over.
    fn after_turn(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.send.refilled() {
            stream.send.starved = false;
            self.events.push_back(Event::Writable { stream: id });
        }
        if stream.is_finished() {
            self.remove(id);
            self.events.push_back(Event::Finished { stream: id });
        } else {
            self.schedule(id);
        }
    }
}

/// Writes the stream's next frame; false if none waits.
fn write_one(id: StreamId, stream: &mut Stream, most: usize, out: &mut BytesMut) -> bool {
    let send = &mut stream.send;
    let Some(item) = send.queue.pop_front() else { return false };
    match item {
        Item::Open { payload, hold } => {
            let flags = if hold { HOLD } else { 0 } | fold_end(send);
            put_header(out, payload.len(), Kind::Open, flags, id);
            out.extend_from_slice(&payload);
            send.opened = true;
        }
        Item::Head(payload) => {
            let flags = fold_end(send);
            put_header(out, payload.len(), Kind::Head, flags, id);
            out.extend_from_slice(&payload);
        }
        Item::Data(mut bytes) => {
            let piece = bytes.split_to(bytes.len().min(most));
            send.queued -= piece.len();
            send.written += piece.len() as u64;
            let flags = if bytes.is_empty() {
                fold_end(send)
            } else {
                send.queue.push_front(Item::Data(bytes));
                0
            };
            put_header(out, piece.len(), Kind::Data, flags, id);
            out.extend_from_slice(&piece);
        }
        Item::End(payload) => {
            put(out, Kind::End, id, &payload);
            send.ended = true;
        }
    }
    true
}

/// An END without trailers that comes next rides on this frame as a flag.
fn fold_end(send: &mut crate::tunnel::stream::Send) -> u8 {
    if matches!(send.queue.front(), Some(Item::End(payload)) if payload.is_empty()) {
        send.queue.pop_front();
        send.ended = true;
        END_STREAM
    } else {
        0
    }
}

fn put(out: &mut BytesMut, kind: Kind, stream: StreamId, payload: &[u8]) {
    put_header(out, payload.len(), kind, 0, stream);
    out.extend_from_slice(payload);
}
