//! The answer to a signed call is signed too, and bound to the call.

use bytes::Bytes;
use http::{HeaderName, Response, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;

use super::FrontBody;
use crate::agent::signed::Signing;
use crate::identity::signatures::{Binding, Hashing};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const INPUT: HeaderName = HeaderName::from_static("signature-input");

/// Holds an answer up to its end and signs it, if it is no longer than is held; else it passes as it is.
pub(super) async fn sign(
    response: Response<FrontBody>,
    binding: &Binding,
    signing: &Signing,
) -> Response<FrontBody> {
    let (mut head, mut body) = response.into_parts();
    // What the application says of signatures is not ours.
    for name in [CONTENT_DIGEST, SIGNATURE, INPUT] {
        head.headers.remove(name);
    }
    let limit = signing.settings().hold_answer.as_usize();
    let streams = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().get(..STREAM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(STREAM))
    });
    if streams || body.size_hint().lower() > limit as u64 {
        return Response::from_parts(head, body);
    }
    let (mut bytes, mut hashing, mut trailers) = (Vec::new(), Hashing::own(), None);
    loop {
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.len() > limit.saturating_sub(bytes.len()) => {
                    let begun = [Bytes::from(bytes), data].into_iter().filter(|piece| !piece.is_empty());
                    let begun = begun.map(|piece| Ok(Frame::data(piece))).collect();
                    return Response::from_parts(head, FrontBody::begun(begun, Some(body)));
                }
                Ok(data) => {
                    hashing.update(&data);
                    bytes.extend_from_slice(&data);
                }
                Err(frame) => trailers = Some(frame),
            },
            Some(Err(fault)) => {
                let begun = [Ok(Frame::data(Bytes::from(bytes))), Err(fault)];
                return Response::from_parts(head, FrontBody::begun(begun.into(), None));
            }
        }
    }
    let digest = hashing.into_field();
    let fields = binding.sign(head.status, &head.headers, &digest, false, signing.signer(), signing.now());
    if let Some(fields) = fields {
        head.headers.insert(CONTENT_DIGEST, fields.digest);
        head.headers.insert(INPUT, fields.input);
        head.headers.insert(SIGNATURE, fields.signature);
    }
    let body = match trailers {
        None => FrontBody::whole(bytes.into()),
        Some(trailers) => FrontBody::begun([Ok(Frame::data(bytes.into())), Ok(trailers)].into(), None),
    };
    Response::from_parts(head, body)
}

/// Its end may never come.
const STREAM: &[u8] = b"text/event-stream";
