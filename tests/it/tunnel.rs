//! The protocol's golden frames, and the fuzz targets' bodies over their corpora and over random input.

use std::fmt::Write as _;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use outhaul::common::ids::RequestId;
use outhaul::tunnel::frame::{CRITICAL, END_STREAM, Frame, HOLD, Kind};
use outhaul::tunnel::head::{
    BytesHead, NoticeHead, Open, RequestHead, ResponseHead, Scheme, encode_trailers,
};
use proptest::prelude::*;

#[path = "../../fuzz/bodies/frames.rs"]
mod fuzz_frames;
#[path = "../../fuzz/bodies/session.rs"]
mod fuzz_session;

const VECTORS: &str = include_str!("../vectors/frames.txt");

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

fn open(open: &Open) -> Bytes {
    let mut payload = BytesMut::new();
    open.encode(&mut payload).unwrap();
    payload.freeze()
}

/// One of each: what `docs/protocol.md` describes, built by hand.
fn golden() -> Vec<(&'static str, Frame)> {
    let frame = |kind, flags, stream, payload: &[u8]| Frame {
        kind,
        flags,
        stream,
        payload: Bytes::copy_from_slice(payload),
    };
    let request = Open::Http(Box::new(RequestHead {
        request_id: RequestId::from_bytes([0x11; 16]),
        method: Method::GET,
        scheme: Scheme::Https,
        authority: "acme.relay.example".into(),
        target: "/s/acme/jira/rest/api/2/myself?expand=groups".into(),
        route_length: 7,
        peer: "192.0.2.7".into(),
        headers: headers(&[("accept", "application/json"), ("x-a", "1"), ("x-a", "2")]),
    }));
    let egress = Open::Bytes(BytesHead {
        purpose: "egress".into(),
        target: "login.example:443".into(),
        peer: String::new(),
    });
    let notice = Open::Notice(NoticeHead { topic: "audit-head".into() });
    let mut head = BytesMut::new();
    ResponseHead { status: StatusCode::OK, headers: headers(&[("content-length", "2")]) }
        .encode(&mut head)
        .unwrap();
    let mut trailers = BytesMut::new();
    encode_trailers(Some(&headers(&[("x-sum", "42")])), &mut trailers).unwrap();
    vec![
        ("open-http", frame(Kind::Open, END_STREAM, 2, &open(&request))),
        ("open-http-held", frame(Kind::Open, HOLD, 4, &open(&request))),
        ("open-bytes", frame(Kind::Open, 0, 1, &open(&egress))),
        ("open-notice", frame(Kind::Open, 0, 3, &open(&notice))),
        ("head", frame(Kind::Head, 0, 2, &head)),
        ("data", frame(Kind::Data, END_STREAM, 2, b"{}")),
        ("end", frame(Kind::End, 0, 2, b"")),
        ("end-trailers", frame(Kind::End, 0, 2, &trailers)),
        ("stop", frame(Kind::Stop, 0, 2, b"")),
        ("reset-cancel", frame(Kind::Reset, 0, 2, &1u16.to_be_bytes())),
        ("credit-64k", frame(Kind::Credit, 0, 2, &65_536u32.to_be_bytes())),
        ("ping", frame(Kind::Ping, 0, 0, &7u64.to_be_bytes())),
        ("pong", frame(Kind::Pong, 0, 0, &7u64.to_be_bytes())),
        ("drain-operator", frame(Kind::Drain, 0, 0, b"\x00\x01maintenance")),
        ("status", frame(Kind::Status, 0, 0, b"{\"version\":\"0.1.0\"}")),
        ("unknown-critical", frame(Kind::Unknown(0x7e), CRITICAL, 0, b"?")),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[test]
fn golden_frames_are_written_and_read_as_they_always_were() {
    let mut expected = String::new();
    for (name, frame) in golden() {
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        let _ = writeln!(expected, "{name} {}", hex(&wire));
        let mut message = wire.freeze();
        let read = Frame::decode(&mut message).unwrap().unwrap();
        assert_eq!(read, frame, "{name}");
        if read.kind == Kind::Open {
            assert!(Open::decode(read.payload).is_ok(), "{name}");
        }
    }
    let golden: Vec<&str> = VECTORS.lines().filter(|line| !line.starts_with('#')).collect();
    let expected: Vec<&str> = expected.lines().collect();
    assert_eq!(golden, expected, "the wire format changed: that needs a new protocol version");
}

fn corpus(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        run(&std::fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 0, "{} is empty", folder.display());
}

#[test]
fn the_fuzz_corpora_pass() {
    corpus("frames", fuzz_frames::run);
    corpus("session", fuzz_session::run);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_pass_the_fuzz_bodies(input in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzz_frames::run(&input);
        fuzz_session::run(&input);
    }
}
