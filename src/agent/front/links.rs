//! `POST /link/start` and `POST /link/finish`: a caller lets a person link an account. Nothing of it goes to an
//! application.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answers::Bound;
use super::caller::{self, Identified};
use super::signed::{Signed, mismatch};
use super::{Arrival, FrontBody, Site, act_as, hold, record};
use crate::agent::audit::Audit;
use crate::agent::links::{LinkDesk, Wish};
use crate::agent::policy::{EXPOSED, new_key_for};
use crate::agent::signed::Signing;
use crate::agent::upstream::BoxError;
use crate::common::act_as::ActAs;
use crate::common::ids::{CallerName, UpstreamName};
use crate::common::limits::ByteSize;
use crate::common::problem::{Code, Problem};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Start,
    Finish,
}

/// What a step is taken with.
pub(super) struct At<'a> {
    pub(super) desk: &'a LinkDesk,
    pub(super) site: &'a Site,
    pub(super) audit: &'a Audit,
    pub(super) signing: Option<&'a Signing>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Start {
    upstream: Option<UpstreamName>,
    display_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    code: String,
}

impl Step {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            START => Some(Self::Start),
            FINISH => Some(Self::Finish),
            _ => None,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Start => START,
            Self::Finish => FINISH,
        }
    }

    /// The caller is known by its key, and the person is one whom it may name.
    pub(super) async fn take<B>(
        self,
        At { desk, site, audit, signing }: At<'_>,
        request: Request<B>,
        arrival: &Arrival,
        bound: &mut Option<Bound>,
    ) -> Result<Response<FrontBody>, Problem>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if *request.method() != Method::POST {
            return Err(Problem::new(Code::MethodRefused, "Use POST here."));
        }
        let (mut parts, body) = request.into_parts();
        let identified = caller::identify(&mut parts, arrival, site, signing).await?;
        let Identified { caller, trust, person, issuer, signed } = identified;
        *bound = signed.as_ref().map(Bound::to);
        let by = record::By::of(arrival.request_id, issuer.as_ref(), signed.as_ref());
        let refused = |person: Option<&ActAs>, problem: &Problem| {
            record::step_refused(audit, self.path(), &caller, person, by, problem);
        };
        let person = act_as::named(&parts.headers, &caller, site.options.get(&caller), person);
        let person = person.and_then(|person| {
            person.ok_or_else(|| {
                Problem::new(
                    Code::ActAsRequired,
                    "Name the person whose account is to be linked in Outhaul-Act-As, as in teams:4f2c….",
                )
            })
        });
        let person = person.inspect_err(|problem| refused(None, problem))?;
        let request = Request::from_parts(parts, body);
        let is_proved = trust.holds_against_the_relay();
        let answered =
            Box::pin(self.answer(desk, request, signed.as_ref(), is_proved, &caller, &person)).await;
        let answered = answered.map_err(|mut problem| {
            if problem.code == Code::TrustRequired && trust.fails_by_exposure() {
                let _ = write!(problem.detail, " Here {EXPOSED}.{}", new_key_for(Some(&caller)));
            }
            problem
        });
        answered.inspect_err(|problem| refused(Some(&person), problem))
    }

    /// The step itself.
    async fn answer<B>(
        self,
        desk: &LinkDesk,
        request: Request<B>,
        signed: Option<&Signed>,
        is_proved: bool,
        caller: &CallerName,
        person: &ActAs,
    ) -> Result<Response<FrontBody>, Problem>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = hold::bytes(request, MAX_BODY, PATIENCE).await.map_err(|problem| match problem.code {
            Code::BodyTooLarge => {
                Problem::new(problem.code, format!("The body has at most {MAX_BODY} here."))
            }
            _ => problem,
        })?;
        if signed.is_some_and(|signed| !signed.digests.fit_whole(&body)) {
            return Err(mismatch());
        }
        match self {
            Self::Start => {
                let Start { upstream, display_name } = read(&body, "{\"upstream\":\"jira\"}")?;
                let (caller, act_as) = (caller.clone(), person.clone());
                let wish = Wish { caller, act_as, upstream, display_name, is_proved };
                let started = desk.start(wish).await.map_err(|fault| fault.problem())?;
                let document =
                    json!({ "url": started.url, "expires": started.expires, "upstream": started.upstream });
                Ok(answer(StatusCode::CREATED, &document))
            }
            Self::Finish => {
                let Finish { code } = read(&body, "{\"code\":\"7KQM-2X9D\"}")?;
                let finished = desk.finish(caller, person, &code, is_proved).await;
                let finished = finished.map_err(|fault| fault.problem())?;
                let document = json!({
                    "upstream": finished.upstream,
                    "act_as": finished.act_as,
                    "account": { "name": finished.account.name, "display_name": finished.account.display_name },
                });
                Ok(answer(StatusCode::OK, &document))
            }
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|fault| {
        let line = fault.line();
        Problem::new(
            Code::BadRequest,
            format!("The body is not the JSON that is read here (line {line}). Send for example {example}."),
        )
    })
}

fn answer(status: StatusCode, document: &serde_json::Value) -> Response<FrontBody> {
    let text = Bytes::from(document.to_string());
    let length = text.len();
    let mut response = Response::new(FrontBody::whole(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const START: &str = "/link/start";
const FINISH: &str = "/link/finish";
const MAX_BODY: ByteSize = ByteSize::kib(4);
const PATIENCE: Duration = Duration::from_secs(10);
