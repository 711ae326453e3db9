//! Sends a permitted call to its upstream and passes the answer on.
//!
//! Entry point: [`Proxy::forward`], which can't be called without a [`Permit`]. It sends exactly the path that the
//! policy matched, only header fields that are on the list, and the credential of the permit's identity; it checks
//! as whom the upstream answered before any of the answer leaves. It never follows a redirect, repeats a call or
//! changes a body, but for `rewrite-links`. Called by `agent::front`.

mod body;
pub mod headers;
mod identity;
mod judge;
mod problems;
mod rewrite;
mod verdicts;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt as _;

use body::Begun;
pub use body::{FrontBody, Piece, Seal};
pub use identity::Expected;
use judge::Judged;
pub use problems::too_large;
pub use rewrite::{Links, Rewriter};
pub use verdicts::Verdicts;

use crate::agent::audit::{Answered, UnderWay};
use crate::agent::credentials::Credential;
use crate::agent::policy::Permit;
use crate::agent::upstream::{AnswerBody, BoxError, Outbound, Outgoing, Upstream};
use crate::common::ids::RequestId;
use crate::common::problem::{Code, Problem};

/// What a call is sent with, beside its permit.
#[derive(Debug)]
pub struct Means<'a> {
    /// The credential of the permit's identity; none for `anonymous`.
    pub credential: Option<&'a Credential>,
    /// Where links in JSON answers are to lead, for a caller that wants it.
    pub links: Option<Links>,
    /// For the log.
    pub request_id: RequestId,
    /// The record of it: made before the call leaves where it may act, and completed with its answer's last byte.
    pub record: UnderWay,
}

/// As whom a call is made, and which call it is.
#[derive(Clone, Copy)]
struct Made<'a> {
    credential: Option<&'a Credential>,
    request_id: RequestId,
}

impl<'a> Made<'a> {
    fn with(self, credential: &'a Credential) -> Self {
        Self { credential: Some(credential), ..self }
    }
}

/// Sends calls to one upstream.
#[derive(Clone)]
pub struct Proxy {
    upstream: Arc<Upstream>,
    host: HeaderValue,
    verdicts: Arc<Verdicts>,
}

impl Proxy {
    /// For this upstream. The verdicts on credentials may be shared with others.
    pub fn new(upstream: Arc<Upstream>, verdicts: Arc<Verdicts>) -> Self {
        let authority = upstream.config().base_url.authority();
        // A configured host is plain ASCII; an empty field would be refused by the upstream, not misread.
        let host = HeaderValue::from_str(&authority).unwrap_or(HeaderValue::from_static(""));
        Self { upstream, host, verdicts }
    }

    /// The upstream.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Sends the call and gives the upstream's own answer, or says why there is none. Either is recorded.
    pub async fn forward<B>(
        &self,
        permit: Permit,
        request: Request<B>,
        mut means: Means<'_>,
    ) -> Result<Response<FrontBody>, Problem>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match self.make(permit, request, &mut means).await {
            Ok(response) => {
                means.record.ended.result = Some(Answered::Status(response.status().as_u16()));
                Ok(response.map(|body| body.recorded(means.record)))
            }
            Err(problem) => {
                means.record.refused(&problem);
                Err(problem)
            }
        }
    }

    async fn make<B>(
        &self,
        permit: Permit,
        request: Request<B>,
        means: &mut Means<'_>,
    ) -> Result<Response<FrontBody>, Problem>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let method = permit.method();
        let expected = self.expected(&permit, means.credential)?;
        let mut prepared = headers::request(&request, method, &self.host)
            .map_err(|fault| Problem::new(Code::BadRequest, format!("{fault}.")))?;
        if let Some(credential) = means.credential {
            prepared.headers.insert(header::AUTHORIZATION, credential.authorization().clone());
        }
        if means.links.is_some() {
            Links::prepare(&mut prepared.headers);
        }
        let own = self.upstream.config().max_request_body;
        let limit = permit.max_body().map_or(own, |rule| rule.min(own)).0;
        // A body that was held is known to be too long even if nobody said so.
        let at_least = request.body().size_hint().lower();
        if prepared.length.unwrap_or(at_least).max(at_least) > limit {
            return Err(too_large(limit));
        }
        let clock = self.upstream.clock();
        let body = request.into_body();
        let body = if prepared.length.is_none() && rarely_has_body(method) && !body.is_end_stream() {
            let patience = self.upstream.config().idle_timeout;
            let first = Box::pin(tokio::time::timeout(patience, first_frame(body))).await.map_err(|_| {
                Problem::new(Code::CallerTooSlow, format!("No byte of the body arrived for {patience:?}."))
            })?;
            Outgoing::new(first, None, limit, clock)
        } else {
            Outgoing::new(body, prepared.length, limit, clock)
        };
        frame(&mut prepared, &body, method);
        means.record.ended.bytes_in = if body.is_empty() { None } else { prepared.length };
        let recorded = if method.is_safe() { means.record.check() } else { means.record.intent().await };
        recorded.map_err(|fault| fault.problem())?;
        let made = Made { credential: means.credential, request_id: means.request_id };
        let mut outbound =
            Outbound { method: method.clone(), target: target(&permit), headers: prepared.headers };
        let repeatable = body.is_empty() && matches!(*method, Method::GET | Method::HEAD);
        let mut answer = self.exchange(&permit, &outbound, body, limit, made).await?;
        if let Judged::Renewed(credential) = self.judge(&permit, expected, &answer, made).await? {
            if !repeatable {
                return Err(problems::renewed(&self.upstream));
            }
            drop(answer);
            outbound.headers.insert(header::AUTHORIZATION, credential.authorization().clone());
            answer = Box::pin(self.once_more(&permit, &outbound, limit, made.with(&credential))).await?;
        }
        Ok(passed(answer, &permit, prepared.trailers, means.links.take()))
    }

    async fn exchange(
        &self,
        permit: &Permit,
        outbound: &Outbound,
        body: Outgoing,
        limit: u64,
        made: Made<'_>,
    ) -> Result<Response<AnswerBody>, Problem> {
        self.upstream.send(outbound, body, stick(permit)).await.map_err(|fault| {
            tracing::debug!(request = %made.request_id, upstream = %permit.upstream(), error = %fault, "no answer");
            problems::of(&fault, &outbound.method, &self.upstream, limit)
        })
    }

    /// A call that only reads, with the credential that is in the dead one's place. It is not made a third time.
    async fn once_more(
        &self,
        permit: &Permit,
        outbound: &Outbound,
        limit: u64,
        made: Made<'_>,
    ) -> Result<Response<AnswerBody>, Problem> {
        let expected = self.expected(permit, made.credential)?;
        let nothing = Outgoing::empty(self.upstream.clock());
        let answer = self.exchange(permit, outbound, nothing, limit, made).await?;
        match self.judge(permit, expected, &answer, made).await? {
            Judged::Passes => Ok(answer),
            Judged::Renewed(_) => Err(problems::renewed(&self.upstream)),
        }
    }
}

/// For these an end that is still on its way is waited for: a body of unknown length would go out in chunks, and
/// keep a stale connection from being seen through.
fn rarely_has_body(method: &Method) -> bool {
    method.is_safe() || *method == Method::DELETE
}

/// The same body, of which the first piece has arrived.
async fn first_frame<B>(body: B) -> Begun<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = Box::pin(body);
    let first = body.frame().await.map(|frame| frame.map_err(Into::into));
    Begun { ended: first.is_none(), first, body }
}

/// Tells the connection how the body is framed; left to itself it would drop a GET's body of unknown length.
fn frame(prepared: &mut headers::Prepared, body: &Outgoing, method: &Method) {
    let headers = &mut prepared.headers;
    match prepared.length {
        Some(length) if !body.is_empty() => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        None if !body.is_empty() => {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // Said outright where a body would be expected (RFC 9110, section 8.6).
        _ if !rarely_has_body(method) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        }
        _ => {}
    }
}

/// Exactly the path that was matched, and the query byte for byte.
fn target(permit: &Permit) -> String {
    let path = permit.path().as_str();
    match permit.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    }
}

fn stick(permit: &Permit) -> u64 {
    let mut hasher = DefaultHasher::new();
    permit.caller().hash(&mut hasher);
    hasher.finish()
}

fn passed(
    answer: Response<AnswerBody>,
    permit: &Permit,
    trailers: bool,
    links: Option<Links>,
) -> Response<FrontBody> {
    let (mut head, body) = answer.into_parts();
    headers::answer(&mut head.headers);
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = match links {
        Some(links) if links.head(permit.method(), head.status, &mut head.headers) && !bodiless => {
            FrontBody::rewritten(body, Rewriter::new(links), trailers)
        }
        _ => FrontBody::passed(body, trailers),
    };
    Response::from_parts(head, body)
}

#[cfg(test)]
mod tests;
