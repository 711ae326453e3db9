//! Frames: `length (u32) · type (u8) · flags (u8) · stream (u64) · payload`, big-endian.
//!
//! A WebSocket message carries one or more whole frames; a frame is never split over messages. Unknown types are
//! skipped by their length, so that a newer peer can say more; an unknown type with [`CRITICAL`] set ends the
//! session.

use bytes::{Buf, BufMut, Bytes};

/// Bytes before the payload.
pub const HEADER: usize = 14;
/// The longest payload of DATA.
pub const MAX_DATA: usize = 64 * 1024;
/// The longest payload of OPEN, HEAD and END.
pub const MAX_HEAD: usize = 64 * 1024;
/// The longest payload of any other frame.
pub const MAX_CONTROL: usize = 4 * 1024;
/// The longest message: a full frame behind a full batch.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// On OPEN, HEAD and DATA: nothing more follows in this direction, as if an empty END came next.
pub const END_STREAM: u8 = 0x01;
/// On OPEN: the opener holds its body back until it is given credit (`Expect: 100-continue`).
pub const HOLD: u8 = 0x02;
/// On any type: a receiver that does not know it must end the session.
pub const CRITICAL: u8 = 0x80;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Handshake, agent's first word.
    Hello,
    /// Handshake, the relay's proof.
    Challenge,
    /// Handshake, the agent's proof.
    Proof,
    /// Handshake, the agent is let in.
    Welcome,
    /// Handshake, the agent has stored its join state.
    Confirm,
    /// Handshake, refused; carries the reason as a document.
    Refuse,
    /// Handshake, the agent begins TLS inside the WebSocket; empty.
    StartTls,
    /// Opens a stream.
    Open,
    /// The answer's head.
    Head,
    /// A piece of a body.
    Data,
    /// The end of one direction, with trailers.
    End,
    /// The receiver needs no more of this body; its answer follows.
    Stop,
    /// The stream is gone, both ways.
    Reset,
    /// More bytes may be sent on this stream.
    Credit,
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// No new streams, please connect anew.
    Drain,
    /// What the sender tells about itself.
    Status,
    /// A type of a newer version.
    Unknown(u8),
}

impl Kind {
    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Hello => 0x01,
            Self::Challenge => 0x02,
            Self::Proof => 0x03,
            Self::Welcome => 0x04,
            Self::Confirm => 0x05,
            Self::Refuse => 0x06,
            Self::StartTls => 0x07,
            Self::Open => 0x10,
            Self::Head => 0x11,
            Self::Data => 0x12,
            Self::End => 0x13,
            Self::Stop => 0x14,
            Self::Reset => 0x15,
            Self::Credit => 0x16,
            Self::Ping => 0x20,
            Self::Pong => 0x21,
            Self::Drain => 0x22,
            Self::Status => 0x23,
            Self::Unknown(number) => number,
        }
    }

    /// From the number on the wire.
    pub fn from_number(number: u8) -> Self {
        match number {
            0x01 => Self::Hello,
            0x02 => Self::Challenge,
            0x03 => Self::Proof,
            0x04 => Self::Welcome,
            0x05 => Self::Confirm,
            0x06 => Self::Refuse,
            0x07 => Self::StartTls,
            0x10 => Self::Open,
            0x11 => Self::Head,
            0x12 => Self::Data,
            0x13 => Self::End,
            0x14 => Self::Stop,
            0x15 => Self::Reset,
            0x16 => Self::Credit,
            0x20 => Self::Ping,
            0x21 => Self::Pong,
            0x22 => Self::Drain,
            0x23 => Self::Status,
            other => Self::Unknown(other),
        }
    }

    /// The longest payload it may have.
    pub fn max_payload(self) -> usize {
        match self {
            Self::Data => MAX_DATA,
            // What a newer version may invent is bounded like a head.
            Self::Open | Self::Head | Self::End | Self::Unknown(_) => MAX_HEAD,
            _ => MAX_CONTROL,
        }
    }
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// [`END_STREAM`], [`HOLD`], [`CRITICAL`]; unknown bits are ignored.
    pub flags: u8,
    /// Which stream; 0 for the session itself.
    pub stream: u64,
    /// What it carries.
    pub payload: Bytes,
}

/// A message that is no run of frames. The session can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// The message ends inside a frame.
    #[error("a message ends inside a frame")]
    Cut,
    /// A payload over its limit.
    #[error("a {kind:?} frame of {length} bytes is over its limit")]
    TooLong {
        /// Its type.
        kind: Kind,
        /// Its stated length.
        length: u32,
    },
}

impl Frame {
    /// Writes the frame.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_header(out, self.payload.len(), self.kind, self.flags, self.stream);
        out.put_slice(&self.payload);
    }

    /// Takes the next frame off the front of a message; `None` at its end. The payload shares the message's memory.
    pub fn decode(message: &mut Bytes) -> Result<Option<Self>, FrameFault> {
        if message.is_empty() {
            return Ok(None);
        }
        if message.len() < HEADER {
            return Err(FrameFault::Cut);
        }
        let length = message.get_u32();
        let kind = Kind::from_number(message.get_u8());
        let flags = message.get_u8();
        let stream = message.get_u64();
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > kind.max_payload() {
            return Err(FrameFault::TooLong { kind, length });
        }
        if message.len() < size {
            return Err(FrameFault::Cut);
        }
        Ok(Some(Self { kind, flags, stream, payload: message.split_to(size) }))
    }
}

/// Writes a frame's header alone; the caller appends exactly `length` bytes.
pub fn put_header(out: &mut impl BufMut, length: usize, kind: Kind, flags: u8, stream: u64) {
    debug_assert!(length <= kind.max_payload());
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out.put_u8(kind.number());
    out.put_u8(flags);
    out.put_u64(stream);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(number in any::<u8>(), flags in any::<u8>(), stream in any::<u64>(),
                                      payload in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let frame = Frame { kind: Kind::from_number(number), flags, stream, payload: payload.into() };
            let mut wire = BytesMut::new();
            frame.encode(&mut wire);
            frame.encode(&mut wire);
            let mut message = wire.freeze();
            prop_assert_eq!(Frame::decode(&mut message).unwrap().unwrap(), frame.clone());
            prop_assert_eq!(Frame::decode(&mut message).unwrap().unwrap(), frame);
            prop_assert_eq!(Frame::decode(&mut message).unwrap(), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut message = Bytes::from(bytes);
            while let Ok(Some(_)) = Frame::decode(&mut message) {}
        }
    }
}
