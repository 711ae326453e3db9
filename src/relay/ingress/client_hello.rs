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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

    use super::*;

    /// A ClientHello as the library's client writes it.
    fn hello(
        name: &str,
        sni: bool,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.enable_sni = sni;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The handshake message of a hello that stands in one record.
    fn message(hello: &[u8]) -> &[u8] {
        assert_eq!(hello[0], 22);
        &hello[5..]
    }

    /// The same message in records of so many bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |piece: &[u8]| {
            let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&[22, 3, 1][..], &length, piece].concat()
        };
        message.chunks(size).flat_map(record).collect()
    }

    /// A message with further extensions, their order last; lengths are mended.
    fn with_extension(message: &[u8], kind: u16, body: &[u8]) -> Vec<u8> {
        // Behind the head: version 2, random 32, session id, suites, compressions.
        let mut at = 4 + 2 + 32;
        at += 1 + usize::from(message[at]);
        at += 2 + usize::from(u16::from_be_bytes([message[at], message[at + 1]]));
        at += 1 + usize::from(message[at]);
        let extensions = u16::from_be_bytes([message[at], message[at + 1]]);
        let length = u16::try_from(body.len()).unwrap();
        let mut fresh = message[..at].to_vec();
        fresh.extend((extensions + 4 + length).to_be_bytes());
        // First, because a pre-shared key must be last (RFC 8446, section 4.2.11).
        fresh.extend(kind.to_be_bytes());
        fresh.extend(length.to_be_bytes());
        fresh.extend(body);
        fresh.extend(&message[at + 2..]);
        let whole = u32::try_from(fresh.len() - 4).unwrap().to_be_bytes();
        fresh[1..4].copy_from_slice(&whole[1..]);
        fresh
    }

    fn taken(pieces: &[&[u8]]) -> Result<Option<Accepted>, HelloFault> {
        let mut reading = Reading::default();
        for piece in pieces {
            if let Some((accepted, _)) = reading.take(piece)? {
                return Ok(Some(accepted));
            }
        }
        Ok(None)
    }

    fn name_in(pieces: &[&[u8]]) -> Option<String> {
        match taken(pieces) {
            Ok(Some(accepted)) => accepted.client_hello().server_name().map(str::to_owned),
            Ok(None) => panic!("not whole"),
            Err(fault) => panic!("{fault:?}"),
        }
    }

    #[test]
    fn the_name_is_read_wherever_the_hello_is_cut() {
        let name = "acme.direct.relay.example.com";
        for versions in [&[&TLS13][..], &[&TLS12], &[&TLS12, &TLS13]] {
            for alpn in [&[][..], &[&b"h2"[..], b"http/1.1"], &[b"acme-tls/1"]] {
                let bytes = hello(name, true, versions, alpn);
                for cut in 1..bytes.len() {
                    let (one, other) = bytes.split_at(cut);
                    assert!(matches!(taken(&[one]), Ok(None)), "whole before its last byte, at {cut}");
                    assert_eq!(name_in(&[one, other]).as_deref(), Some(name), "cut at {cut}");
                }
                let single: Vec<&[u8]> = bytes.chunks(1).collect();
                assert_eq!(name_in(&single).as_deref(), Some(name));
                for size in [1, 2, 3, 7, 100, 16_384] {
                    let cut = records(message(&bytes), size);
                    assert_eq!(name_in(&[&cut]).as_deref(), Some(name), "records of {size}");
                    let single: Vec<&[u8]> = cut.chunks(1).collect();
                    assert_eq!(name_in(&single).as_deref(), Some(name), "records of {size}, byte by byte");
                }
            }
        }
    }

    #[test]
    fn a_hello_without_a_name_and_with_strange_extensions_is_one() {
        let versions = &[&TLS13, &TLS12];
        assert_eq!(name_in(&[&hello("a.example", false, versions, &[])]), None);
        // Who connects to an address sends no name.
        assert_eq!(name_in(&[&hello("192.0.2.1", true, versions, &[])]), None);
        let plain = hello("a.example", true, versions, &[b"h2"]);
        // GREASE (RFC 8701), ECH with what looks like a sealed inner hello, padding, and one that nobody knows.
        let sealed = [&[0, 0, 1, 0, 1, 7, 0, 32][..], &[9; 32], &[0, 144], &[8; 144]].concat();
        for (kind, body) in [
            (0x0a0a, &[][..]),
            (0xfafa, &[0]),
            (0xfe0d, &sealed),
            (0xfe0d, &[1]),
            (21, &[0; 400]),
            (0xffce, &[3; 1000]),
            (0x1234, &[1; 12_000]),
        ] {
            let fresh = with_extension(message(&plain), kind, body);
            let bytes = records(&fresh, 16_384);
            assert_eq!(name_in(&[&bytes]).as_deref(), Some("a.example"), "extension {kind:x}");
        }
    }

    #[tokio::test]
    async fn all_that_was_read_goes_on_and_the_rest_is_known() {
        let bytes = hello("a.example", true, &[&TLS13], &[]);
        let sent = [&bytes[..], b"early data"].concat();
        let mut socket = &sent[..];
        let read = read(&mut socket).await.unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(read.server_name().as_deref(), Some("a.example"));
        assert_eq!(read.read, sent);
        // What the library has not looked at lies at the end.
        assert!(read.rest <= b"early data".len());
    }

    /// Counts what is read from an endless run of the same bytes.
    struct Endless<'a> {
        bytes: &'a [u8],
        piece: usize,
        read: usize,
    }

    impl AsyncRead for Endless<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            into: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let at = self.read % self.bytes.len();
            let count = self.piece.min(into.remaining()).min(self.bytes.len() - at);
            into.put_slice(&self.bytes[at..at + count]);
            self.read += count;
            std::task::Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn no_more_is_read_than_a_hello_can_have() {
        // A handshake message that says it has 16 MB; one that dribbles on in small records; empty records.
        let long = [&[22, 3, 1, 64, 0, 1, 255, 255, 255][..], &[0; 16_380]].concat();
        let dribble = records(&[&[1, 0, 255, 255][..], &[0; 4000]].concat(), 3);
        for (what, bytes) in [("long", long), ("dribble", dribble), ("empty", vec![22, 3, 1, 0, 0])] {
            for piece in [1, 1000, 100_000] {
                let mut socket = Endless { bytes: &bytes, piece, read: 0 };
                assert!(read(&mut socket).await.is_err(), "{what}");
                assert!(socket.read <= LONGEST, "{what}: {} bytes", socket.read);
            }
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_waited_for(bytes in proptest::collection::vec(any::<u8>(), 0..600), piece in 1_usize..200) {
            let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
            let _ = taken(&pieces);
        }

        #[test]
        fn a_damaged_hello_never_panics(at in any::<prop::sample::Index>(), with in any::<u8>(), cut in 1_usize..300) {
            let mut bytes = hello("acme.direct.example.com", true, &[&TLS13, &TLS12], &[b"h2"]);
            let at = at.index(bytes.len());
            bytes[at] = with;
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let _ = taken(&pieces);
        }

        #[test]
        fn what_is_read_is_bounded(bytes in proptest::collection::vec(any::<u8>(), 1..50), piece in 1_usize..5000) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut socket = Endless { bytes: &bytes, piece, read: 0 };
            let found = runtime.block_on(read(&mut socket));
            prop_assert!(found.is_err());
            prop_assert!(socket.read <= LONGEST);
        }
    }
}
