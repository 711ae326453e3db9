//! One end of a tunnel as a state machine: it is told what arrived, what the program wants and what time it is; it
//! says what happened ([`Event`]) and what to put on the wire ([`Session::transmit`]).
//!
//! It never reads a clock, never touches a socket, and never panics on a peer's bytes. A peer's fault on one stream
//! resets that stream; only a broken frame or a broken rule of the session itself ends the session.

mod event;
mod receive;
mod settings;
mod transmit;

pub use event::{Event, OpenFault, StreamId};
pub use settings::{Role, Settings};
pub use transmit::{BATCH, SHARED_DATA};

use settings::Allowance;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use foldhash::{HashMap, HashMapExt as _};
use http::HeaderMap;

use super::code::{CloseCode, DrainCode, ResetCode};
use super::credit::GrowthBudget;
use super::frame;
use super::head::{self, HeadFault, Open, RequestHead, ResponseHead};
use super::heartbeat::{Beat, Heartbeat};
use super::stream::{Item, Lane, Shape, Stream};

/// One end of a tunnel.
#[derive(Debug)]
pub struct Session {
    role: Role,
    settings: Settings,
    streams: HashMap<StreamId, Stream>,
    next_id: StreamId,
    last_peer_id: Option<StreamId>,
    open_out: u32,
    open_in: u32,
    fast: VecDeque<StreamId>,
    bulk: VecDeque<StreamId>,
    /// Streams that owe a CREDIT or a STOP.
    owing: VecDeque<StreamId>,
    control: VecDeque<frame::Frame>,
    status: Option<Bytes>,
    ping_due: Option<[u8; 8]>,
    heartbeat: Heartbeat,
    budget: GrowthBudget,
    allowance: Allowance,
    drain_sent: bool,
    drain_seen: bool,
    closed: bool,
    events: VecDeque<Event>,
}

impl Session {
    /// A session after its handshake.
    pub fn new(role: Role, settings: Settings, now: Instant) -> Self {
        Self {
            role,
            streams: HashMap::new(),
            next_id: match role {
                Role::Relay => 2,
                Role::Agent => 1,
            },
            last_peer_id: None,
            open_out: 0,
            open_in: 0,
            fast: VecDeque::new(),
            bulk: VecDeque::new(),
            owing: VecDeque::new(),
            control: VecDeque::new(),
            status: None,
            ping_due: None,
            heartbeat: Heartbeat::new(settings.ping_every, settings.dead_after, now),
            budget: GrowthBudget { max_window: settings.max_window, left: settings.window_budget },
            allowance: Allowance::new(now),
            drain_sent: false,
            drain_seen: false,
            closed: false,
            events: VecDeque::new(),
            settings,
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Opens a stream. With `hold` the peer must ask for the body before any of it is sent.
    pub fn open(&mut self, open: &Open, hold: bool) -> Result<StreamId, OpenFault> {
        self.open_with(shape(open), hold, |payload| open.encode(payload))
    }

    /// Opens an `http` stream. The head stays the caller's: it may be needed for a second attempt elsewhere.
    pub fn open_http(&mut self, head: &RequestHead, hold: bool) -> Result<StreamId, OpenFault> {
        self.open_with(Shape::Http, hold, |payload| head.encode(payload))
    }

    fn open_with(
        &mut self,
        shape: Shape,
        hold: bool,
        encode: impl FnOnce(&mut BytesMut) -> Result<(), HeadFault>,
    ) -> Result<StreamId, OpenFault> {
        if self.closed {
            return Err(OpenFault::Closed);
        }
        if self.drain_sent || self.drain_seen {
            return Err(OpenFault::Draining);
        }
        if self.open_out >= self.settings.max_streams_out {
            return Err(OpenFault::TooMany);
        }
        let mut payload = BytesMut::with_capacity(512);
        encode(&mut payload)?;
        if payload.len() > frame::MAX_HEAD {
            return Err(HeadFault::TooLarge.into());
        }
        let id = self.next_id;
        self.next_id += 2;
        self.open_out += 1;
        let mut stream = Stream::new(true, shape, hold);
        stream.send.queue.push_back(Item::Open { payload: payload.freeze(), hold });
        self.streams.insert(id, stream);
        self.schedule(id);
        Ok(id)
    }

    /// Answers an `http` stream of the peer. False if the stream is gone or was answered already.
    pub fn send_head(&mut self, id: StreamId, head: &ResponseHead) -> Result<bool, HeadFault> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(false) };
        if stream.ours || stream.shape != Shape::Http || stream.send.head_queued || stream.send.ending {
            return Ok(false);
        }
        let mut payload = BytesMut::with_capacity(512);
        head.encode(&mut payload)?;
        if payload.len() > frame::MAX_HEAD {
            return Err(HeadFault::TooLarge);
        }
        stream.send.head_queued = true;
        stream.send.queue.push_back(Item::Head(payload.freeze()));
        self.schedule(id);
        Ok(true)
    }

    /// How many body bytes may be added now. Zero makes the session tell, by [`Event::Writable`], when there is room.
    pub fn room(&mut self, id: StreamId) -> usize {
        let Some(stream) = self.streams.get_mut(&id) else { return 0 };
        let room = stream.send.room();
        stream.send.starved = room == 0 && !stream.send.ending;
        room
    }

    /// Adds body bytes, as many as there is room for; gives the rest back.
    pub fn send_data(&mut self, id: StreamId, bytes: &mut Bytes) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let send = &mut stream.send;
        let taken = send.room().min(bytes.len());
        if taken > 0 {
            send.credit -= taken as u64;
            send.queued += taken;
            send.queue.push_back(Item::Data(bytes.split_to(taken)));
        }
        send.starved = !bytes.is_empty() && !send.ending;
        if taken > 0 {
            self.schedule(id);
        }
    }

    /// Ends this end's direction, with trailers if any.
    pub fn send_end(&mut self, id: StreamId, trailers: Option<&HeaderMap>) -> Result<(), HeadFault> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        if stream.send.ending {
            return Ok(());
        }
        let mut payload = BytesMut::new();
        head::encode_trailers(trailers, &mut payload)?;
        if payload.len() > frame::MAX_HEAD {
            return Err(HeadFault::TooLarge);
        }
        stream.send.ending = true;
        stream.send.queue.push_back(Item::End(payload.freeze()));
        self.schedule(id);
        Ok(())
    }

    /// The program has read so many bytes of the peer's body: the peer may send more.
    pub fn consumed(&mut self, id: StreamId, bytes: usize, now: Instant) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let receive = &mut stream.receive;
        if receive.ended || receive.stopped {
            return;
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let due = receive.window.read(bytes, now, self.heartbeat.round_trip(), &mut self.budget);
        if due > 0 {
            receive.credit_due += due;
            self.owe(id);
            self.heartbeat.refresh(now);
        }
    }

    /// The program wants the body that the peer holds back.
    pub fn accept_body(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let receive = &mut stream.receive;
        if std::mem::take(&mut receive.held) && !receive.ended {
            receive.credit_due += receive.window.open();
            self.owe(id);
        }
    }

    /// The program needs no more of the peer's body; what still comes is dropped.
    pub fn stop(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let receive = &mut stream.receive;
        if !receive.ended && !receive.stopped {
            receive.stopped = true;
            receive.stop_due = true;
            receive.credit_due = 0;
            self.owe(id);
        }
    }

    /// Gives the stream up, both ways. No further event of it comes.
    pub fn reset(&mut self, id: StreamId, code: ResetCode) {
        if let Some(stream) = self.remove(id)
            && stream.send.opened
        {
            self.push_reset(id, code);
        }
    }

    /// Tells the peer about this end; only the newest unsent one counts. Longer than 4 KB is not sent.
    pub fn send_status(&mut self, payload: Bytes) {
        if payload.len() <= frame::MAX_CONTROL {
            self.status = Some(payload);
        }
    }

    /// Opens no more streams and asks the peer to do the same. Open ones go on.
    pub fn drain(&mut self, code: DrainCode, text: &str) {
        if !std::mem::replace(&mut self.drain_sent, true) {
            let mut payload = code.number().to_be_bytes().to_vec();
            payload.extend(text.bytes().take(1024));
            self.push_control(frame::Kind::Drain, 0, payload.into());
        }
    }

    /// Ends the session: every open stream is lost.
    pub fn close(&mut self, code: CloseCode, text: &str) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let mut open: Vec<_> = self.streams.drain().collect();
        open.sort_unstable_by_key(|(id, _)| *id);
        for (stream, books) in open {
            self.events.push_back(Event::Lost { stream, unsent: !books.send.opened });
        }
        self.open_in = 0;
        self.open_out = 0;
        for list in [&mut self.fast, &mut self.bulk, &mut self.owing] {
            list.clear();
        }
        self.control.clear();
        self.events.push_back(Event::Closed { code, text: text.to_owned() });
    }

    /// Looks at the time: sends PING, or finds the peer dead. Call at [`Session::deadline`].
    pub fn tick(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        match self.heartbeat.tick(now) {
            Beat::Quiet => {}
            Beat::Ping(payload) => self.ping_due = Some(payload),
            Beat::Dead => {
                let silence = self.settings.dead_after.as_secs();
                self.close(CloseCode::Silent, &format!("nothing came for {silence} s"));
            }
        }
    }

    /// When [`Session::tick`] is due.
    pub fn deadline(&self) -> Instant {
        self.heartbeat.deadline()
    }

    /// The measured round trip.
    pub fn round_trip(&self) -> Option<Duration> {
        self.heartbeat.round_trip()
    }

    /// Streams open now, both ways.
    pub fn open_streams(&self) -> u32 {
        self.open_in + self.open_out
    }

    /// New streams may be opened from here.
    pub fn is_usable(&self) -> bool {
        !self.closed && !self.drain_sent && !self.drain_seen
    }

    /// One more stream may be opened from here now.
    pub fn has_room(&self) -> bool {
        self.is_usable() && self.open_out < self.settings.max_streams_out
    }

    /// The session is over.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let mut stream = self.streams.remove(&id)?;
        stream.receive.window.release(&mut self.budget);
        if stream.ours {
            self.open_out = self.open_out.saturating_sub(1);
        } else {
            self.open_in = self.open_in.saturating_sub(1);
        }
        // Its entries in the lanes are skipped when their turn comes.
        Some(stream)
    }

    fn schedule(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.send.lane == Lane::None && !stream.send.queue.is_empty() {
            let lane = stream.send.natural_lane();
            stream.send.lane = lane;
            match lane {
                Lane::Bulk => self.bulk.push_back(id),
                _ => self.fast.push_back(id),
            }
        }
    }

    fn owe(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.receive.listed, true)
        {
            self.owing.push_back(id);
        }
    }

    fn push_reset(&mut self, id: StreamId, code: ResetCode) {
        self.push_control(frame::Kind::Reset, id, Bytes::copy_from_slice(&code.number().to_be_bytes()));
    }

    fn push_control(&mut self, kind: frame::Kind, stream: StreamId, payload: Bytes) {
        // Only a peer that opens and breaks streams faster than it reads our answers can fill this.
        if self.control.len() >= MAX_CONTROL_QUEUE {
            self.close(CloseCode::Flood, "answers to broken streams pile up unread");
            return;
        }
        self.control.push_back(frame::Frame { kind, flags: 0, stream, payload });
    }
}

fn shape(open: &Open) -> Shape {
    match open {
        Open::Http(_) => Shape::Http,
        Open::Bytes(_) => Shape::Bytes,
        Open::Notice(_) => Shape::Notice,
    }
}

const MAX_CONTROL_QUEUE: usize = 8192;

#[cfg(test)]
mod tests;
