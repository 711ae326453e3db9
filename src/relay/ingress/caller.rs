//! A caller's request: which site, may it, which tunnel, and what comes back.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::Empty;
use hyper::body::Incoming;

use super::connection::Connection;
use super::route::{Route, clean};
use crate::common::ids::{RequestId, SiteName};
use crate::common::problem::{Code, Fault, Outcome, Problem, Retry};
use crate::net::http_server::body::{AnswerBody, CallerBody, Upload, UploadFault};
use crate::net::http_server::checks::{self, authority};
use crate::net::http_server::headers;
use crate::net::tunnel::{ExchangeFault, Tunnel, TunnelBody};
use crate::relay::registry::{Missing, Site};
use crate::relay::tenancy::Admitted;
use crate::tunnel::code::ResetCode;
use crate::tunnel::head::{RequestHead, Scheme};

/// Answers one request, whatever becomes of it.
pub(super) async fn answer(
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<AnswerBody<TunnelBody>> {
    let inner = &connection.inner;
    let counted = inner.metrics.call();
    let begun = inner.clock.now();
    let has_body = !request.body().is_end_stream();
    let mut call = Call { connection, request_id: RequestId::generate(), site: None, upload: None };
    let result = Box::pin(call.pass(request)).await;
    let after = inner.clock.now().saturating_duration_since(begun);
    let site = call.site.as_ref().map_or("", SiteName::as_str);
    let unread = has_body && !call.upload.as_ref().is_some_and(|upload| upload.is_over());
    let mut response = match result {
        Ok((mut response, admitted)) => {
            inner.metrics.call_ended(site, status_class(response.status().as_u16()), after);
            headers::answer(response.headers_mut());
            let held = Box::new((admitted, counted));
            response.map(|body| connection.session.answers.watch(body, inner.clock.clone(), held))
        }
        Err(problem) => {
            inner.metrics.call_ended(site, problem.code.as_str(), after);
            tracing::debug!(request = %call.request_id, site, code = %problem.code, "a call was refused or failed");
            problem.to_response(call.request_id).map(AnswerBody::from)
        }
    };
    if unread && !connection.session.http2 {
        // The rest of the body will not be read, so the connection ends with this answer; unannounced, a caller's
        // next request could go into it and be lost (RFC 9112, section 9.6).
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        connection.session.linger.ask();
    }
    response
}

struct Call<'a> {
    connection: &'a Connection,
    request_id: RequestId,
    site: Option<SiteName>,
    upload: Option<Arc<Upload>>,
}

impl Call<'_> {
    async fn pass(
        &mut self,
        request: Request<Incoming>,
    ) -> Result<(Response<TunnelBody>, Admitted), Problem> {
        let inner = &self.connection.inner;
        let (parts, body) = request.into_parts();
        checks::method(&parts)?;
        checks::coding(&parts.headers)?;
        let (authority, host) = authority(&parts.uri, &parts.headers, self.connection.session.http2)?;
        let target = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str).to_owned();
        let route = inner.names.route(&host, &target)?;
        let site = inner.registry.site(route.site).ok_or_else(|| unknown(route.site))?;
        self.site = Some(site.name().clone());
        if site.is_paused() {
            return Err(Problem::new(
                Code::SitePaused,
                "The relay's operator has paused this site; ask them why.",
            )
            .with_retry_after(60));
        }
        let admitted = site.quota().admit()?;
        checks::length(&parts.headers, inner.limits.body_size.0, too_large)?;
        let hold = headers::holds_body(&parts.headers);
        let head = RequestHead {
            request_id: self.request_id,
            method: parts.method,
            scheme: Scheme::Https,
            authority,
            target: target.clone(),
            route_length: route.route_length,
            peer: self.connection.peer_text.clone(),
            headers: headers::request(parts.headers),
        };
        let response = if body.is_end_stream() {
            self.without_body(&site, &route, head).await?
        } else {
            self.with_body(&site, &route, head, body, hold).await?
        };
        Ok((response, admitted))
    }

    /// A call without a body may be sent again as long as it was not sent at all.
    async fn without_body(
        &self,
        site: &Site<Tunnel>,
        route: &Route<'_>,
        head: RequestHead,
    ) -> Result<Response<TunnelBody>, Problem> {
        let method = head.method.clone();
        let mut left = ATTEMPTS;
        loop {
            let found = site.find(route.upstream).await.map_err(|missing| offline(site, missing))?;
            let request = found.line.request(&head, Empty::<Bytes>::new(), false);
            let limit = self.connection.inner.limits.first_byte_time;
            left -= 1;
            match tokio::time::timeout(limit, request).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(ExchangeFault::NotSent(reason))) if left > 0 => {
                    tracing::debug!(request = %self.request_id, reason, "a call was not sent and is sent again");
                }
                Ok(Err(fault)) => return Err(lost(&method, &fault)),
                Err(_) => return Err(too_slow(&method)),
            }
        }
    }

    async fn with_body(
        &mut self,
        site: &Site<Tunnel>,
        route: &Route<'_>,
        head: RequestHead,
        body: Incoming,
        hold: bool,
    ) -> Result<Response<TunnelBody>, Problem> {
        let inner = &self.connection.inner;
        let limits = &inner.limits;
        let method = head.method.clone();
        let found = site.find(route.upstream).await.map_err(|missing| offline(site, missing))?;
        let upload = Upload::new(inner.clock.clone());
        self.upload = Some(Arc::clone(&upload));
        let (http2, patience) = (self.connection.session.http2, limits.body_idle_time);
        let body = CallerBody::new(body, http2, limits.body_size.0, patience, Arc::clone(&upload));
        let mut request = std::pin::pin!(found.line.request(&head, body, hold));
        let mut wait = limits.first_byte_time;
        loop {
            tokio::select! {
                biased;
                result = request.as_mut() => return result.map_err(|fault| match upload.fault() {
                    // The tunnel gave up because the body did.
                    Some(fault) => upload_failed(fault, limits.body_size),
                    None => lost(&method, &fault),
                }),
                fault = upload.failed() => return Err(upload_failed(fault, limits.body_size)),
                () = tokio::time::sleep(wait) => {
                    // The time to the first byte counts from the last byte that went the other way.
                    wait = limits.first_byte_time.saturating_sub(upload.still_for());
                    if wait.is_zero() {
                        return Err(too_slow(&method));
                    }
                }
            }
        }
    }
}

fn too_large(limit: u64) -> Problem {
    let limit = crate::common::limits::ByteSize(limit);
    Problem::new(
        Code::BodyTooLarge,
        format!(
            "This relay passes bodies up to {limit}. Send less, or ask its operator to raise `body-size`."
        ),
    )
}

fn upload_failed(fault: UploadFault, limit: crate::common::limits::ByteSize) -> Problem {
    // Head and part of the body are at the agent already, and perhaps at the application.
    match fault {
        UploadFault::TooLarge => too_large(limit.0).with_outcome(Outcome::OutcomeUnknown),
        UploadFault::TooSlow => Problem::new(
            Code::CallerTooSlow,
            "No byte of the request's body came for too long; it was given up.",
        )
        .with_outcome(Outcome::OutcomeUnknown),
        UploadFault::Broken => {
            Problem::new(Code::BadRequest, "The request's body broke off or is malformed; it was given up.")
                .with_outcome(Outcome::OutcomeUnknown)
        }
    }
}

fn unknown(site: &str) -> Problem {
    let site = clean(site);
    Problem::new(
        Code::SiteUnknown,
        format!(
            "There is no site “{site}” at this relay. Check the base URL; the operator adds sites with \
                 `outhaul-relay site add`."
        ),
    )
}

fn offline(site: &Site<Tunnel>, missing: Missing) -> Problem {
    let name = site.name();
    match missing {
        Missing::Offline | Missing::Waited => Problem::new(
            Code::SiteOffline,
            format!("No agent of site {name} is connected. At the site: `outhaul-agent status` tells why."),
        )
        .with_retry_after(if missing == Missing::Waited { 2 } else { 10 }),
        Missing::StandbyOnly => Problem::new(
            Code::SiteOffline,
            format!(
                "Only a standby agent of site {name} is connected, and it may take calls only for upstreams marked \
                 stateless. Start the active agent, or let the operator run `outhaul-relay agent activate`."
            ),
        )
        .with_retry_after(10),
        Missing::Crowded => Problem::new(
            Code::SiteOffline,
            format!("The agent of site {name} is away for a moment, and too many calls wait for it. Try again."),
        )
        .with_retry_after(3),
    }
}

/// A call that can't change anything may always be sent again.
fn forgive(problem: Problem, method: &Method) -> Problem {
    let safe = *method == Method::GET || *method == Method::HEAD || *method == Method::OPTIONS;
    if safe { problem.with_retry(Retry::Safe) } else { problem }
}

fn too_slow(method: &Method) -> Problem {
    let problem = Problem::new(
        Code::AgentTooSlow,
        "The agent took the call and did not answer in time. The application may have acted on it: look before \
         sending it again.",
    );
    forgive(problem, method)
}

fn lost(method: &Method, fault: &ExchangeFault) -> Problem {
    let unsure = "The application may have acted on the call: look before sending it again.";
    match fault {
        ExchangeFault::NotSent(_) => Problem::new(
            Code::AgentLostUnsent,
            "The agent was lost before it had the call. Nothing was done; send it again.",
        ),
        ExchangeFault::HeadTooLarge => Problem::new(
            Code::HeadTooLarge,
            "The request's head is larger than 64 KB. Send fewer or shorter headers.",
        ),
        ExchangeFault::TooMany => Problem::new(
            Code::SiteBusy,
            "The agent has as many calls under way as it takes. Send fewer at once.",
        )
        .with_retry_after(1),
        ExchangeFault::OutcomeUnknown(_) => {
            let text = format!("The connection to the agent broke with the call under way. {unsure}");
            forgive(Problem::new(Code::AgentLost, text), method)
        }
        ExchangeFault::Reset(code) => forgive(reset(*code, unsure), method),
    }
}

fn reset(code: ResetCode, unsure: &str) -> Problem {
    match code {
        ResetCode::Timeout => {
            Problem::new(Code::AgentTooSlow, format!("A time ran out at the agent. {unsure}"))
        }
        ResetCode::Upstream => {
            Problem::new(Code::UpstreamBroke, format!("The application broke the connection off. {unsure}"))
        }
        ResetCode::TooLarge => Problem::new(
            Code::UpstreamAnswer,
            format!("The application's answer has a head too large to be passed on. {unsure}"),
        ),
        ResetCode::Unsupported => {
            Problem::new(Code::Internal, "The agent does not take this kind of call. Update the agent.")
                .with_outcome(Outcome::NotSent)
        }
        _ => Problem::new(Code::Internal, format!("The agent gave the call up: {code}. {unsure}"))
            .with_fault(Fault::Agent),
    }
}

fn status_class(status: u16) -> &'static str {
    match status {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

/// How often a call that was not sent is tried in all.
const ATTEMPTS: u32 = 3;
