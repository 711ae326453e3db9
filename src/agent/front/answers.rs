//! The answer to a signed call is signed too, and bound to the call.
//!
//! A short one is held up to its end and signed in its head. A longer one, and one that may never end, is signed in
//! trailers, where its caller takes these; else it passes unsigned, and proves nothing.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;

use super::FrontBody;
use super::signed::Signed;
use crate::agent::proxy::Seal;
use crate::agent::signed::{LITTLE, Room, Signing};
use crate::identity::signatures::{Binding, Hashing, SignedFields};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const INPUT: HeaderName = HeaderName::from_static("signature-input");

/// The call that an answer is bound to.
pub(super) struct Bound {
    binding: Binding,
    takes_trailers: bool,
}

impl Bound {
    pub(super) fn to(signed: &Signed) -> Self {
        Self { binding: signed.binding.clone(), takes_trailers: signed.takes_trailers }
    }
}

pub(super) async fn sign(
    response: Response<FrontBody>,
    bound: Bound,
    signing: &Signing,
) -> Response<FrontBody> {
    let (mut head, mut body) = response.into_parts();
    // What the application says of signatures is not ours.
    for name in [CONTENT_DIGEST, SIGNATURE, INPUT] {
        head.headers.remove(name);
    }
    let limit = signing.settings().hold_answer.as_usize();
    if may_not_end(&head.headers) || body.size_hint().lower() > limit as u64 {
        return in_trailers(head, body, bound, signing);
    }
    let (mut bytes, mut hashing, mut trailers) = (Vec::new(), Hashing::own(), None);
    let mut room = None;
    loop {
        match body.frame().await {
            None => break,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !fits(&mut room, bytes.len() + data.len(), limit, signing).await => {
                    let begun = [Bytes::from(bytes), data].into_iter().filter(|piece| !piece.is_empty());
                    let begun = begun.map(|piece| Ok(Frame::data(piece))).collect();
                    return in_trailers(head, FrontBody::begun(begun, Some(body)), bound, signing);
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
    let fields =
        bound.binding.sign(head.status, &head.headers, &digest, false, signing.signer(), signing.now());
    put(&mut head.headers, fields);
    let body = match trailers {
        None => FrontBody::whole(bytes.into()),
        Some(trailers) => FrontBody::begun([Ok(Frame::data(bytes.into())), Ok(trailers)].into(), None),
    };
    Response::from_parts(head, body.keeping(room))
}

/// Whether so many bytes may be held. Beyond a few, it takes a place among those who hold much.
async fn fits(room: &mut Option<Room>, length: usize, limit: usize, signing: &Signing) -> bool {
    if length > limit {
        return false;
    }
    if length > LITTLE && room.is_none() {
        *room = signing.room_for_answer(PATIENCE).await;
        return room.is_some();
    }
    true
}

fn put(fields: &mut HeaderMap, signed: Option<SignedFields>) {
    if let Some(signed) = signed {
        fields.insert(CONTENT_DIGEST, signed.digest);
        fields.insert(INPUT, signed.input);
        fields.insert(SIGNATURE, signed.signature);
    }
}

fn in_trailers(
    mut head: http::response::Parts,
    body: FrontBody,
    bound: Bound,
    signing: &Signing,
) -> Response<FrontBody> {
    if !bound.takes_trailers {
        return Response::from_parts(head, body);
    }
    // With a length there is no room for trailers in HTTP/1.1; and they must be announced to be sent.
    head.headers.remove(header::CONTENT_LENGTH);
    let names = HeaderValue::from_static("content-digest, signature-input, signature");
    head.headers.insert(header::TRAILER, names);
    let seal = SignedTrailers {
        hashing: Hashing::own(),
        status: head.status,
        fields: head.headers.clone(),
        binding: bound.binding,
        signing: signing.clone(),
    };
    Response::from_parts(head, body.sealed(Box::new(seal)))
}

struct SignedTrailers {
    hashing: Hashing,
    status: StatusCode,
    fields: HeaderMap,
    binding: Binding,
    signing: Signing,
}

impl Seal for SignedTrailers {
    fn piece(&mut self, data: &[u8]) {
        self.hashing.update(data);
    }

    fn trailers(self: Box<Self>) -> HeaderMap {
        let Self { hashing, status, fields, binding, signing } = *self;
        let mut trailers = HeaderMap::with_capacity(3);
        let digest = hashing.into_field();
        put(&mut trailers, binding.sign(status, &fields, &digest, true, signing.signer(), signing.now()));
        trailers
    }
}

fn may_not_end(fields: &HeaderMap) -> bool {
    let kind = fields.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.get(..STREAM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(STREAM))
}

/// Rather unsigned than later.
const PATIENCE: Duration = Duration::from_secs(5);
const STREAM: &[u8] = b"text/event-stream";
