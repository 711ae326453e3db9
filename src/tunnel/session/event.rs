//! What a session tells its program.

use bytes::Bytes;
use http::HeaderMap;

use crate::tunnel::code::{CloseCode, DrainCode, ResetCode};
use crate::tunnel::head::{HeadFault, Open, ResponseHead};

/// A stream's number: even from the relay, odd from the agent, increasing.
pub type StreamId = u64;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The peer opened a stream.
    Opened {
        /// Its number.
        stream: StreamId,
        /// What it is.
        open: Open,
        /// No body follows.
        ended: bool,
    },
    /// The answer's head came.
    Head {
        /// On which stream.
        stream: StreamId,
        /// The head.
        head: ResponseHead,
    },
    /// A piece of a body came. Give the bytes back with [`Session::consumed`] once they are read.
    Data {
        /// On which stream.
        stream: StreamId,
        /// The bytes.
        bytes: Bytes,
    },
    /// The peer's direction ended.
    End {
        /// On which stream.
        stream: StreamId,
        /// Trailer fields.
        trailers: Option<HeaderMap>,
    },
    /// The peer needs no more of this end's body; END is sent for the program.
    Stopped {
        /// On which stream.
        stream: StreamId,
    },
    /// There is room again after [`Session::send_data`] took less than all.
    Writable {
        /// On which stream.
        stream: StreamId,
    },
    /// Both directions ended in order. The last event of a stream.
    Finished {
        /// Which stream.
        stream: StreamId,
    },
    /// The stream is gone: the peer reset it, or broke its rules. The last event of a stream.
    Reset {
        /// Which stream.
        stream: StreamId,
        /// Why.
        code: ResetCode,
        /// The peer asked for it; else this end found a fault.
        by_peer: bool,
    },
    /// The session ended under the stream. The last event of a stream.
    Lost {
        /// Which stream.
        stream: StreamId,
        /// OPEN had not been handed to the socket: the peer can't have acted on it.
        unsent: bool,
    },
    /// The peer told about itself.
    Status {
        /// A small document.
        payload: Bytes,
    },
    /// The peer takes no new streams.
    Draining {
        /// Why.
        code: DrainCode,
        /// More about it.
        text: String,
    },
    /// The session is over. The last event of all.
    Closed {
        /// Why.
        code: CloseCode,
        /// More about it.
        text: String,
    },
}

/// Why a stream can't be opened now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenFault {
    /// One of the ends is draining.
    #[error("the tunnel is draining")]
    Draining,
    /// Too many are open.
    #[error("too many streams are open on this tunnel")]
    TooMany,
    /// The session is over.
    #[error("the tunnel is closed")]
    Closed,
    /// The head does not fit into a frame.
    #[error(transparent)]
    Head(#[from] HeadFault),
}
