//! Any message: it is refused, or what was read writes back to the same bytes.

use bytes::{Bytes, BytesMut};
use outhaul::tunnel::frame::{Frame, Kind};
use outhaul::tunnel::head::{Open, ResponseHead, decode_trailers, encode_trailers};

/// One run.
pub(crate) fn run(input: &[u8]) {
    let mut message = Bytes::copy_from_slice(input);
    let mut read = BytesMut::new();
    while let Ok(Some(frame)) = Frame::decode(&mut message) {
        frame.encode(&mut read);
        heads(&frame);
    }
    assert!(input.starts_with(&read), "what was read writes back differently");
}

fn heads(frame: &Frame) {
    let mut again = BytesMut::new();
    match frame.kind {
        Kind::Open => {
            if let Ok(open) = Open::decode(frame.payload.clone()) {
                open.encode(&mut again).unwrap();
                assert_eq!(Open::decode(again.freeze()).unwrap(), open);
            }
        }
        Kind::Head => {
            if let Ok(head) = ResponseHead::decode(frame.payload.clone()) {
                head.encode(&mut again).unwrap();
                assert_eq!(ResponseHead::decode(again.freeze()).unwrap(), head);
            }
        }
        Kind::End => {
            if let Ok(Some(trailers)) = decode_trailers(frame.payload.clone()) {
                encode_trailers(Some(&trailers), &mut again).unwrap();
                assert_eq!(decode_trailers(again.freeze()).unwrap(), Some(trailers));
            }
        }
        _ => {}
    }
}
