//! What a peer's frames do to a session.

use std::time::Instant;

use bytes::{Buf, Bytes};

use super::{Event, Role, Session, StreamId, shape};
use crate::tunnel::code::{CloseCode, DrainCode, ResetCode};
use crate::tunnel::frame::{CRITICAL, END_STREAM, Frame, HOLD, Kind};
use crate::tunnel::head::{self, Open, ResponseHead};
use crate::tunnel::stream::Stream;

/// A fault of the session itself: it ends.
type Fatal = (CloseCode, String);

impl Session {
    /// Takes one message: a run of whole frames.
    pub fn receive(&mut self, mut message: Bytes, now: Instant) {
        self.heartbeat.heard(now);
        while !self.closed {
            let fatal = match Frame::decode(&mut message) {
                Ok(None) => return,
                Ok(Some(frame)) => self.on_frame(frame, now).err(),
                Err(fault) => Some((CloseCode::Protocol, fault.to_string())),
            };
            if let Some((code, text)) = fatal {
                self.close(code, &text);
            }
        }
    }

    fn on_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Fatal> {
        match frame.kind {
            Kind::Open => self.on_open(frame),
            Kind::Head | Kind::Data | Kind::End | Kind::Stop | Kind::Reset | Kind::Credit => {
                self.on_stream_frame(frame)
            }
            Kind::Pong => {
                self.spend(now)?;
                self.heartbeat.on_pong(eight(&frame)?, now);
                Ok(())
            }
            Kind::Ping => {
                self.spend(now)?;
                self.heartbeat.on_ping(eight(&frame)?);
                Ok(())
            }
            Kind::Drain => {
                self.spend(now)?;
                self.on_drain(frame.payload)
            }
            Kind::Status => {
                self.spend(now)?;
                self.events.push_back(Event::Status { payload: frame.payload });
                Ok(())
            }
            Kind::Hello
            | Kind::Challenge
            | Kind::Proof
            | Kind::Welcome
            | Kind::Confirm
            | Kind::Refuse
            | Kind::StartTls => {
                Err((CloseCode::Protocol, "a handshake frame after the handshake".to_owned()))
            }
            Kind::Unknown(number) if frame.flags & CRITICAL != 0 => {
                Err((CloseCode::Version, format!("frame type {number:#04x} is needed and not known here")))
            }
            Kind::Unknown(_) => self.spend(now),
        }
    }

    fn spend(&mut self, now: Instant) -> Result<(), Fatal> {
        if self.allowance.take(now) {
            Ok(())
        } else {
            Err((CloseCode::Flood, "too many control frames".to_owned()))
        }
    }

    fn on_open(&mut self, frame: Frame) -> Result<(), Fatal> {
        let id = frame.stream;
        if !self.is_peers(id) || self.last_peer_id.is_some_and(|last| id <= last) {
            return Err((CloseCode::Protocol, format!("stream {id} can't be opened by this peer now")));
        }
        self.last_peer_id = Some(id);
        if self.open_in >= self.settings.max_streams_in {
            self.push_reset(id, ResetCode::Refused);
            return Ok(());
        }
        let open = match Open::decode(frame.payload) {
            Ok(open) => open,
            Err(head::HeadFault::UnknownKind(_)) => {
                self.push_reset(id, ResetCode::Unsupported);
                return Ok(());
            }
            Err(_) => {
                self.push_reset(id, ResetCode::Protocol);
                return Ok(());
            }
        };
        let ended = frame.flags & END_STREAM != 0;
        let mut stream = Stream::new(false, shape(&open), frame.flags & HOLD != 0 && !ended);
        stream.receive.ended = ended;
        self.streams.insert(id, stream);
        self.open_in += 1;
        self.events.push_back(Event::Opened { stream: id, open, ended });
        Ok(())
    }

    fn on_stream_frame(&mut self, frame: Frame) -> Result<(), Fatal> {
        let id = frame.stream;
        if !self.streams.contains_key(&id) {
            // Late frames of a stream that is over are lawful: the peer may not have heard yet.
            return if self.was_opened(id) {
                Ok(())
            } else {
                Err((CloseCode::Protocol, format!("{:?} on stream {id}, which was never opened", frame.kind)))
            };
        }
        let lawful = match frame.kind {
            Kind::Head => self.on_head(id, frame),
            Kind::Data => self.on_data(id, frame),
            Kind::End => self.on_end(id, frame.payload),
            Kind::Credit => self.on_credit(id, &frame),
            Kind::Stop => {
                self.on_stop(id);
                true
            }
            _ => {
                self.on_reset(id, &frame);
                true
            }
        };
        if !lawful {
            self.fail(id, ResetCode::Protocol);
        }
        Ok(())
    }

    fn on_head(&mut self, id: StreamId, frame: Frame) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return true };
        if stream.receive.head_seen || stream.receive.ended {
            return false;
        }
        let Ok(head) = ResponseHead::decode(frame.payload) else { return false };
        stream.receive.head_seen = true;
        self.events.push_back(Event::Head { stream: id, head });
        if frame.flags & END_STREAM != 0 {
            self.receive_ended(id, None);
        }
        true
    }

    fn on_data(&mut self, id: StreamId, frame: Frame) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return true };
        let receive = &mut stream.receive;
        let length = u32::try_from(frame.payload.len()).unwrap_or(u32::MAX);
        let ends = frame.flags & END_STREAM != 0;
        if receive.ended || !receive.head_seen || (length == 0 && !ends) || !receive.window.receive(length) {
            return false;
        }
        if length > 0 && !receive.stopped {
            self.events.push_back(Event::Data { stream: id, bytes: frame.payload });
        }
        if ends {
            self.receive_ended(id, None);
        }
        true
    }

    fn on_end(&mut self, id: StreamId, payload: Bytes) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return true };
        let receive = &stream.receive;
        if receive.ended || !(receive.head_seen || receive.stopped) {
            return false;
        }
        let Ok(trailers) = head::decode_trailers(payload) else { return false };
        self.receive_ended(id, trailers);
        true
    }

    fn receive_ended(&mut self, id: StreamId, trailers: Option<http::HeaderMap>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.receive.ended = true;
        if !stream.receive.stopped {
            self.events.push_back(Event::End { stream: id, trailers });
        }
        if stream.is_finished() {
            self.remove(id);
            self.events.push_back(Event::Finished { stream: id });
        }
    }

    fn on_credit(&mut self, id: StreamId, frame: &Frame) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return true };
        let Ok(bytes) = <[u8; 4]>::try_from(&frame.payload[..]) else { return false };
        let credit = u32::from_be_bytes(bytes);
        if credit == 0 {
            return false;
        }
        // More than anybody grants is a fault, and keeps the sum from running over.
        let sum = stream.send.credit.saturating_add(u64::from(credit));
        if sum > u64::from(u32::MAX) {
            return false;
        }
        stream.send.credit = sum;
        if stream.send.refilled() {
            stream.send.starved = false;
            self.events.push_back(Event::Writable { stream: id });
        }
        true
    }

    fn on_stop(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.send.ended || stream.send.stopped {
            return;
        }
        stream.send.stop();
        self.events.push_back(Event::Stopped { stream: id });
        self.schedule(id);
    }

    fn on_reset(&mut self, id: StreamId, frame: &Frame) {
        let number = frame.payload.get(..2).map_or(0, |mut bytes| bytes.get_u16());
        self.remove(id);
        let code = ResetCode::from_number(number);
        self.events.push_back(Event::Reset { stream: id, code, by_peer: true });
    }

    fn on_drain(&mut self, mut payload: Bytes) -> Result<(), Fatal> {
        if payload.len() < 2 {
            return Err((CloseCode::Protocol, "a DRAIN without a code".to_owned()));
        }
        let code = DrainCode::from_number(payload.get_u16());
        if !std::mem::replace(&mut self.drain_seen, true) {
            let text = String::from_utf8_lossy(&payload).into_owned();
            self.events.push_back(Event::Draining { code, text });
        }
        Ok(())
    }

    /// The peer broke a rule of this stream: the stream ends, the session goes on.
    fn fail(&mut self, id: StreamId, code: ResetCode) {
        if self.remove(id).is_some() {
            self.push_reset(id, code);
            self.events.push_back(Event::Reset { stream: id, code, by_peer: false });
        }
    }

    fn is_peers(&self, id: StreamId) -> bool {
        match self.role {
            Role::Relay => !id.is_multiple_of(2),
            Role::Agent => id.is_multiple_of(2) && id > 0,
        }
    }

    fn was_opened(&self, id: StreamId) -> bool {
        if self.is_peers(id) {
            self.last_peer_id.is_some_and(|last| id <= last)
        } else {
            id > 0 && id < self.next_id
        }
    }
}

fn eight(frame: &Frame) -> Result<[u8; 8], Fatal> {
    <[u8; 8]>::try_from(&frame.payload[..])
        .map_err(|_| (CloseCode::Protocol, format!("a {:?} that is not 8 bytes long", frame.kind)))
}
