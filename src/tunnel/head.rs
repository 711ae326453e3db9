//! What opens a stream and what answers it: the payloads of OPEN, HEAD and END, in both directions.
//!
//! Uncompressed and length-prefixed: cheaper than any header compression at these sizes, and without shared
//! state that a peer could poison. Numbers are big-endian. See `docs/protocol.md`, "Heads".

use bytes::{Buf, BufMut, Bytes};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::common::ids::RequestId;
use crate::common::limits::decimal;

/// How a caller's request came to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// In the clear; only on a relay whose operator allows it.
    Http,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// A caller's request head, as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Given by the relay; the agent uses the same one in its answers and logs.
    pub request_id: RequestId,
    /// The method.
    pub method: Method,
    /// The scheme the caller used.
    pub scheme: Scheme,
    /// Host and port as the caller wrote them.
    pub authority: String,
    /// Path and query as the caller wrote them, byte for byte.
    pub target: String,
    /// How many bytes of `target` only led the relay to the site: the length of `/s/{site}`, or 0 in host form.
    pub route_length: u16,
    /// The caller's address, as the relay claims it.
    pub peer: String,
    /// All header fields but hop-by-hop ones; in order for each name.
    pub headers: HeaderMap,
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// All header fields but hop-by-hop ones.
    pub headers: HeaderMap,
}

/// What a `bytes` stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BytesHead {
    /// [`PASS_THROUGH`], `egress`; an end that does not know the purpose resets with `Unsupported`.
    pub purpose: String,
    /// Whom it is for: the SNI name, or `host:port` for egress.
    pub target: String,
    /// The far peer's address, as the opener claims it.
    pub peer: String,
}

/// The purpose of a stream that is a caller's connection, its TLS unopened.
pub const PASS_THROUGH: &str = "pass-through";

/// A message that needs no answer but its acknowledgement: the stream's END.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeHead {
    /// What it is about; unknown topics are reset with `Unsupported`.
    pub topic: String,
}

/// The payload of OPEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Open {
    /// An HTTP exchange.
    Http(Box<RequestHead>),
    /// A two-way run of bytes.
    Bytes(BytesHead),
    /// A one-way message.
    Notice(NoticeHead),
}

/// A head that can't be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// It ends too early.
    #[error("the head ends too early")]
    Short,
    /// Bytes follow where it should end.
    #[error("bytes follow the head")]
    Trailing,
    /// A part is not what it should be.
    #[error("the head's {0} can't be read")]
    Bad(&'static str),
    /// Longer than a frame may be, or of too many fields.
    #[error("the head is longer than {limit} bytes or of more than {MAX_FIELDS} fields", limit = super::frame::MAX_HEAD)]
    TooLarge,
    /// A kind of stream this version does not know.
    #[error("stream kind {0} is unknown")]
    UnknownKind(u8),
}

/// How many fields a head or trailers may have. Short ones fill a frame by the thousand, and each costs far more in memory
/// than on the wire.
pub const MAX_FIELDS: usize = 1024;

const KIND_HTTP: u8 = 1;
const KIND_BYTES: u8 = 2;
const KIND_NOTICE: u8 = 3;

impl Open {
    /// Writes the payload.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), HeadFault> {
        match self {
            Self::Http(head) => head.encode(out),
            Self::Bytes(head) => {
                out.put_u8(KIND_BYTES);
                put_short(out, head.purpose.as_bytes())?;
                put_short(out, head.target.as_bytes())?;
                put_short(out, head.peer.as_bytes())
            }
            Self::Notice(head) => {
                out.put_u8(KIND_NOTICE);
                put_short(out, head.topic.as_bytes())
            }
        }
    }

    /// Reads the payload; never panics, whatever the bytes.
    pub fn decode(mut payload: Bytes) -> Result<Self, HeadFault> {
        let input = &mut payload;
        let open = match take_u8(input)? {
            KIND_HTTP => {
                if input.remaining() < 16 {
                    return Err(HeadFault::Short);
                }
                let mut id = [0; 16];
                input.copy_to_slice(&mut id);
                let method = Method::from_bytes(&take_short(input)?).map_err(|_| HeadFault::Bad("method"))?;
                let scheme = match take_u8(input)? {
                    1 => Scheme::Https,
                    0 => Scheme::Http,
                    _ => return Err(HeadFault::Bad("scheme")),
                };
                let authority = take_text(input, "authority")?;
                let target = take_text(input, "target")?;
                let route_length = take_u16(input)?;
                if target.get(usize::from(route_length)..).is_none() {
                    return Err(HeadFault::Bad("route length"));
                }
                let peer = take_text(input, "peer")?;
                let headers = take_headers(input)?;
                let request_id = RequestId::from_bytes(id);
                Self::Http(Box::new(RequestHead {
                    request_id,
                    method,
                    scheme,
                    authority,
                    target,
                    route_length,
                    peer,
                    headers,
                }))
            }
            KIND_BYTES => Self::Bytes(BytesHead {
                purpose: take_text(input, "purpose")?,
                target: take_text(input, "target")?,
                peer: take_text(input, "peer")?,
            }),
            KIND_NOTICE => Self::Notice(NoticeHead { topic: take_text(input, "topic")? }),
            kind => return Err(HeadFault::UnknownKind(kind)),
        };
        end(input)?;
        Ok(open)
    }
}

impl RequestHead {
    /// Writes the payload of the OPEN that begins this exchange.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), HeadFault> {
        out.put_u8(KIND_HTTP);
        out.put_slice(self.request_id.as_bytes());
        put_short(out, self.method.as_str().as_bytes())?;
        out.put_u8(match self.scheme {
            Scheme::Https => 1,
            Scheme::Http => 0,
        });
        put_short(out, self.authority.as_bytes())?;
        put_short(out, self.target.as_bytes())?;
        out.put_u16(self.route_length);
        put_short(out, self.peer.as_bytes())?;
        put_headers(out, &self.headers)
    }
}

impl ResponseHead {
    /// Writes the payload of HEAD.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), HeadFault> {
        out.put_u16(self.status.as_u16());
        put_headers(out, &self.headers)
    }

    /// Reads the payload of HEAD.
    pub fn decode(mut payload: Bytes) -> Result<Self, HeadFault> {
        let input = &mut payload;
        let status = StatusCode::from_u16(take_u16(input)?).map_err(|_| HeadFault::Bad("status"))?;
        // Interim answers end at the agent; 600 and above mean nothing in HTTP.
        if status.as_u16() < 200 || status.as_u16() > 599 {
            return Err(HeadFault::Bad("status"));
        }
        let headers = take_headers(input)?;
        end(input)?;
        one_length(&headers)?;
        Ok(Self { status, headers })
    }
}

/// Writes the payload of END: nothing, or trailer fields.
pub fn encode_trailers(trailers: Option<&HeaderMap>, out: &mut impl BufMut) -> Result<(), HeadFault> {
    trailers.map_or(Ok(()), |trailers| put_headers(out, trailers))
}

/// Reads the payload of END.
pub fn decode_trailers(mut payload: Bytes) -> Result<Option<HeaderMap>, HeadFault> {
    if payload.is_empty() {
        return Ok(None);
    }
    let trailers = take_headers(&mut payload)?;
    end(&payload)?;
    Ok(Some(trailers))
}

fn put_short(out: &mut impl BufMut, bytes: &[u8]) -> Result<(), HeadFault> {
    let length = u16::try_from(bytes.len()).map_err(|_| HeadFault::TooLarge)?;
    out.put_u16(length);
    out.put_slice(bytes);
    Ok(())
}

fn put_headers(out: &mut impl BufMut, headers: &HeaderMap) -> Result<(), HeadFault> {
    if headers.len() > MAX_FIELDS {
        return Err(HeadFault::TooLarge);
    }
    out.put_u16(u16::try_from(headers.len()).map_err(|_| HeadFault::TooLarge)?);
    for (name, value) in headers {
        put_short(out, name.as_str().as_bytes())?;
        put_short(out, value.as_bytes())?;
    }
    Ok(())
}

fn take_u8(input: &mut Bytes) -> Result<u8, HeadFault> {
    if input.remaining() < 1 { Err(HeadFault::Short) } else { Ok(input.get_u8()) }
}

fn take_u16(input: &mut Bytes) -> Result<u16, HeadFault> {
    if input.remaining() < 2 { Err(HeadFault::Short) } else { Ok(input.get_u16()) }
}

fn take_short(input: &mut Bytes) -> Result<Bytes, HeadFault> {
    let length = usize::from(take_u16(input)?);
    if input.remaining() < length { Err(HeadFault::Short) } else { Ok(input.split_to(length)) }
}

fn take_text(input: &mut Bytes, what: &'static str) -> Result<String, HeadFault> {
    let bytes = take_short(input)?;
    std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| HeadFault::Bad(what))
}

fn take_headers(input: &mut Bytes) -> Result<HeaderMap, HeadFault> {
    let count = usize::from(take_u16(input)?);
    if count > MAX_FIELDS {
        return Err(HeadFault::TooLarge);
    }
    // A field takes four bytes at the least, so a lying count can't make us reserve much.
    if count > input.remaining() / 4 {
        return Err(HeadFault::Short);
    }
    let mut headers = HeaderMap::with_capacity(count);
    for _ in 0..count {
        let name = HeaderName::from_bytes(&take_short(input)?).map_err(|_| HeadFault::Bad("field name"))?;
        let value =
            HeaderValue::from_maybe_shared(take_short(input)?).map_err(|_| HeadFault::Bad("field value"))?;
        headers.try_append(name, value).map_err(|_| HeadFault::TooLarge)?;
    }
    Ok(headers)
}

/// The next reader of this head must find one length in it, or none (RFC 9112, section 6.3).
fn one_length(headers: &HeaderMap) -> Result<(), HeadFault> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(length), None) if decimal(length.as_bytes()).is_some() => Ok(()),
        _ => Err(HeadFault::Bad("length")),
    }
}

fn end(input: &Bytes) -> Result<(), HeadFault> {
    if input.is_empty() { Ok(()) } else { Err(HeadFault::Trailing) }
}
