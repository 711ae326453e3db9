//! Holds a body whose content a rule looks at, until it is whole. It is passed on as it came.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, header};
use http_body::Body;
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt as _, Either, Full};

use crate::agent::policy::{HeldBody, held_too_large};
use crate::agent::upstream::BoxError;
use crate::common::limits::ByteSize;
use crate::common::problem::{Code, Fault, Problem};
use crate::identity::signatures::Digests;

/// A body that is whole.
type Whole = Either<Full<Bytes>, WithTrailers<Full<Bytes>, Trailers>>;
type Trailers = Ready<Option<Result<HeaderMap, Infallible>>>;

/// A request with its whole body.
pub(super) struct Held {
    request: Box<Request<Whole>>,
    bytes: Bytes,
    judged: HeldBody,
}

impl Held {
    /// Whether it is the body that was signed.
    pub(super) fn fits(&self, digests: &Digests) -> bool {
        digests.fit_whole(&self.bytes)
    }

    /// What the policy looks at.
    pub(super) fn judged(&self) -> HeldBody {
        self.judged.clone()
    }

    /// The request as it came: the same bytes, framed in the same way, and its trailers.
    pub(super) fn into_request(self) -> Request<Whole> {
        *self.request
    }
}

/// Reads the body to its end, which asks for it where the caller waits with it (`Expect: 100-continue`).
pub(super) async fn hold<B>(request: Request<B>, limit: ByteSize, patience: Duration) -> Result<Held, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, bytes, trailers) = whole(request, limit, patience).await?;
    let judged = HeldBody::read(&bytes);
    let body = Full::new(bytes.clone());
    let body = match trailers {
        None => Either::Left(body),
        Some(trailers) => Either::Right(body.with_trailers(ready(Some(Ok(trailers))))),
    };
    Ok(Held { request: Box::new(Request::from_parts(head, body)), bytes, judged })
}

/// The whole body, of a request that the agent answers itself.
pub(super) async fn bytes<B>(
    request: Request<B>,
    limit: ByteSize,
    patience: Duration,
) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    whole(request, limit, patience).await.map(|(_, bytes, _)| bytes)
}

async fn whole<B>(
    request: Request<B>,
    limit: ByteSize,
    patience: Duration,
) -> Result<(Parts, Bytes, Option<HeaderMap>), Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let declared =
        head.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > limit.0) {
        return Err(held_too_large(limit));
    }
    let (bytes, trailers) = match tokio::time::timeout(patience, read(body, limit.as_usize())).await {
        Ok(Ok(whole)) => whole,
        Ok(Err(Unread::TooLarge)) => return Err(held_too_large(limit)),
        Ok(Err(Unread::BrokeOff)) => {
            let text = "The body broke off before its end; nothing was sent.";
            return Err(Problem::new(Code::BadRequest, text).with_fault(Fault::Network));
        }
        Err(_) => {
            let text = format!("The body was not there within {patience:?}; nothing was sent.");
            return Err(Problem::new(Code::CallerTooSlow, text));
        }
    };
    if declared.is_some_and(|length| length != bytes.len() as u64) {
        return Err(Problem::new(Code::BadRequest, "The body is not as long as Content-Length says."));
    }
    Ok((head, bytes, trailers))
}

enum Unread {
    TooLarge,
    BrokeOff,
}

/// Reads it into memory of its own: each piece is a part of a larger buffer of the connection's, and would keep all
/// of that as long as it is held.
async fn read<B>(body: B, limit: usize) -> Result<(Bytes, Option<HeaderMap>), Unread>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let (mut bytes, mut trailers) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame.map_err(|_| Unread::BrokeOff)?.into_data() {
            Ok(data) if data.len() > limit.saturating_sub(bytes.len()) => return Err(Unread::TooLarge),
            Ok(data) => bytes.extend_from_slice(&data),
            Err(other) => trailers = other.into_trailers().ok(),
        }
    }
    Ok((bytes.into(), trailers))
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    /// Pieces are parts of larger buffers, which each would keep.
    #[tokio::test]
    async fn what_is_held_keeps_no_memory_but_its_own() {
        let buffer = Bytes::from(vec![b'1'; 1 << 20]);
        for count in [1, 7] {
            let pieces: Vec<_> =
                (0..count).map(|at| Ok::<_, Infallible>(Frame::data(buffer.slice(at..=at)))).collect();
            let body = StreamBody::new(futures_util::stream::iter(pieces));
            let held = hold(Request::new(body), ByteSize::kib(1), Duration::from_secs(9)).await;
            let request = held.unwrap_or_else(|problem| panic!("{problem:?}")).into_request();
            assert!(buffer.is_unique(), "{count}");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, vec![b'1'; count]);
        }
    }

    #[tokio::test]
    async fn what_is_too_large_ends_at_the_limit_and_trailers_pass() {
        for (length, fits) in [(1024, true), (1025, false), (5000, false)] {
            let trailers = HeaderMap::from_iter([(header::ETAG, "x".parse().unwrap())]);
            let data = (0..length).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"1"))));
            let frames = data.chain([Ok(Frame::trailers(trailers))]);
            let body = StreamBody::new(futures_util::stream::iter(frames));
            match hold(Request::new(body), ByteSize::kib(1), Duration::from_secs(9)).await {
                Ok(held) => {
                    let body = held.into_request().into_body().collect().await.unwrap();
                    assert_eq!(body.trailers().unwrap()[header::ETAG], "x");
                    assert!(fits && body.to_bytes().len() == length);
                }
                Err(problem) => assert!(!fits && problem.code == Code::BodyTooLarge, "{problem:?}"),
            }
        }
    }
}
