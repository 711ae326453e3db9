//! Holds a body whose content a rule looks at, until it is whole. It is passed on as it came.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body::Body;
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};

use crate::agent::policy::{HeldBody, held_too_large};
use crate::agent::upstream::BoxError;
use crate::common::limits::ByteSize;
use crate::common::problem::{Code, Fault, Problem};

/// A body that is whole.
type Whole = Either<Full<Bytes>, WithTrailers<Full<Bytes>, Trailers>>;
type Trailers = Ready<Option<Result<HeaderMap, Infallible>>>;

/// A request with its whole body.
pub(super) struct Held {
    request: Request<Whole>,
    judged: HeldBody,
}

impl Held {
    /// What the policy looks at.
    pub(super) fn judged(&self) -> HeldBody {
        self.judged.clone()
    }

    /// The request as it came: the same bytes, framed in the same way, and its trailers.
    pub(super) fn into_request(self) -> Request<Whole> {
        self.request
    }
}

/// Reads the body to its end, which asks for it where the caller waits with it (`Expect: 100-continue`).
pub(super) async fn hold<B>(request: Request<B>, limit: ByteSize, patience: Duration) -> Result<Held, Problem>
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
    let reading = Limited::new(body, limit.as_usize()).collect();
    let body = match tokio::time::timeout(patience, reading).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(held_too_large(limit)),
        Ok(Err(_)) => {
            let text = "The body broke off before its end; nothing was sent.";
            return Err(Problem::new(Code::BadRequest, text).with_fault(Fault::Network));
        }
        Err(_) => {
            let text = format!("The body was not there within {patience:?}; nothing was sent.");
            return Err(Problem::new(Code::CallerTooSlow, text));
        }
    };
    let trailers = body.trailers().cloned();
    let bytes = body.to_bytes();
    if declared.is_some_and(|length| length != bytes.len() as u64) {
        return Err(Problem::new(Code::BadRequest, "The body is not as long as Content-Length says."));
    }
    let judged = HeldBody::read(&bytes);
    let body = Full::new(bytes);
    let body = match trailers {
        None => Either::Left(body),
        Some(trailers) => Either::Right(body.with_trailers(ready(Some(Ok(trailers))))),
    };
    Ok(Held { request: Request::from_parts(head, body), judged })
}
