//! One request: judged by its head as the relay judges those it opens, and handed to the front.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, Uri, header};
use http_body::Body as _;
use hyper::body::Incoming;
use tower_service::Service as _;

use super::Inner;
use crate::agent::front::{Arrival, FrontBody, Way};
use crate::common::ids::RequestId;
use crate::common::problem::{Code, Problem};
use crate::net::http_server::Session;
use crate::net::http_server::body::{AnswerBody, CallerBody, Upload};
use crate::net::http_server::{checks, headers};
use crate::tunnel::head::Scheme;

/// A connection, as its requests see it.
pub(super) struct Connection {
    pub(super) inner: Arc<Inner>,
    /// The name that the client asked for in its ClientHello.
    pub(super) name: String,
    /// The caller's address, as the relay claims it.
    pub(super) peer: String,
    pub(super) session: Arc<Session<FrontBody>>,
}

/// Answers one request, whatever becomes of it.
pub(super) async fn answer(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<AnswerBody<FrontBody>> {
    let id = RequestId::generate();
    let has_body = !request.body().is_end_stream();
    let upload = Upload::new(connection.inner.clock.clone());
    let mut response = match prepare(&connection, id, request, &upload) {
        Ok(request) => {
            let Ok(mut response) = connection.inner.front.clone().call(request).await;
            headers::answer(response.headers_mut());
            let clock = connection.inner.clock.clone();
            response.map(|body| connection.session.answers.watch(body, clock, Box::new(())))
        }
        Err(problem) => {
            tracing::debug!(request = %id, code = %problem.code, "refused a call");
            let mut response = problem.to_response(id).map(AnswerBody::from);
            headers::answer(response.headers_mut());
            response
        }
    };
    if has_body && !upload.is_over() && !connection.session.http2 {
        // The rest of the body will not be read, so the connection ends with this answer; unannounced, a caller's
        // next request could go into it and be lost (RFC 9112, section 9.6).
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        connection.session.linger.ask();
    }
    response
}

/// What the relay does to a request that it opens: see `docs/headers.md`, "At the relay".
fn prepare(
    connection: &Connection,
    id: RequestId,
    request: Request<Incoming>,
    upload: &Arc<Upload>,
) -> Result<Request<CallerBody>, Problem> {
    let http2 = connection.session.http2;
    let (parts, body) = request.into_parts();
    checks::method(&parts)?;
    checks::coding(&parts.headers)?;
    let (authority, host) = checks::authority(&parts.uri, &parts.headers, http2)?;
    let way = connection.way(&host)?;
    // How long a body may be, each upstream says.
    checks::length(&parts.headers, u64::MAX, |_| Problem::new(Code::BodyTooLarge, "Send less."))?;
    let target = parts.uri.path_and_query().cloned();
    let target = target
        .ok_or_else(|| Problem::new(Code::BadRequest, "The request names no path; send one, such as /."))?;
    let arrival = Arrival {
        request_id: id,
        scheme: Scheme::Https,
        authority,
        target: target.as_str().to_owned(),
        route_length: 0,
        peer: connection.peer.clone(),
        way,
    };
    let mut fresh = Request::new(CallerBody::new(body, http2, u64::MAX, BODY_IDLE, Arc::clone(upload)));
    *fresh.method_mut() = parts.method;
    *fresh.uri_mut() = Uri::from(target);
    *fresh.headers_mut() = headers::request(parts.headers);
    fresh.extensions_mut().insert(arrival);
    Ok(fresh)
}

impl Connection {
    /// How far a request for this host is trusted: it must be the very one that the connection is for, and still be one
    /// of this agent's names. A client may use a connection for other hosts that its certificate covers (RFC 9113,
    /// section 9.1.1).
    fn way(&self, host: &str) -> Result<Way, Problem> {
        let channel = self.inner.names.load().get(self.name.as_str()).copied();
        match channel {
            Some(channel) if host == self.name => Ok(Way::PassThrough(channel)),
            _ => {
                self.inner.counters.misdirected();
                Err(Problem::new(
                    Code::Misdirected,
                    "This connection was made for another host than the request names. Connect anew, with the \
                     request's host in the TLS handshake (SNI).",
                ))
            }
        }
    }
}

/// Time without a byte of a request's body.
const BODY_IDLE: Duration = Duration::from_secs(30);
