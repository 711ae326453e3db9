//! Reads a TLS ClientHello before TLS is ended: whose name it asks for decides whether it is ended here at all.
//!
//! The library reads it, however it is cut into records and packets; here its bytes are kept and bounded, so that they
//! can go on to a site as they came. Where TLS is ended here the library goes on from the same reading: the look costs
//! a copy of some hundred bytes.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A ClientHello, whole.
pub(super) struct Hello {
    /// To go on with the handshake.
    pub(super) accepted: Accepted,
    /// All that was read.
    pub(super) read: Bytes,
    /// How many bytes of it the library has not looked at.
    pub(super) rest: usize,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum HelloFault {
    /// The connection ended or broke before it was whole.
    Closed(io::Error),
    /// It is longer than anybody needs.
    TooLong,
    /// It is none. What to tell the peer.
    Wrong(rustls::Error, Box<AcceptedAlert>),
}

impl Hello {
    /// The name it asks for, if any (RFC 6066, section 3). With ECH it is the outer one.
    pub(super) fn server_name(&self) -> Option<String> {
        self.accepted.client_hello().server_name().map(str::to_owned)
    }
}

/// Reads until it is whole; the caller bounds the time.
pub(super) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Result<Hello, HelloFault> {
    let mut reading = Reading::default();
    let mut buffer = BytesMut::with_capacity(USUAL);
    loop {
        let before = buffer.len();
        let room = LONGEST.saturating_sub(before);
        if room == 0 {
            return Err(HelloFault::TooLong);
        }
        let read = socket.read_buf(&mut (&mut buffer).limit(room)).await.map_err(HelloFault::Closed)?;
        if read == 0 {
            return Err(HelloFault::Closed(io::ErrorKind::UnexpectedEof.into()));
        }
        let fresh = buffer.get(before..).unwrap_or_default();
        if let Some((accepted, rest)) = reading.take(fresh)? {
            return Ok(Hello { accepted, read: buffer.freeze(), rest });
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading(Acceptor);

impl Reading {
    /// Takes further bytes; gives the hello once it is whole, with the count of bytes that were not needed for it.
    fn take(&mut self, mut bytes: &[u8]) -> Result<Option<(Accepted, usize)>, HelloFault> {
        while bytes.has_remaining() {
            // It takes what it has room for, of a slice at once.
            match self.0.read_tls(&mut bytes) {
                Ok(0) | Err(_) => return Err(HelloFault::TooLong),
                Ok(_) => {}
            }
            match self.0.accept() {
                Ok(Some(accepted)) => return Ok(Some((accepted, bytes.len()))),
                Ok(None) => {}
                Err((error, alert)) => return Err(HelloFault::Wrong(error, Box::new(alert))),
            }
        }
        Ok(None)
    }
}

/// Most hellos are shorter; those with keys that withstand quantum computers have some 1,800 bytes.
const USUAL: usize = 2048;
/// None is longer: one record's worth (RFC 8446, section 5.1), with its head.
const LONGEST: usize = 16 * 1024 + 5;
