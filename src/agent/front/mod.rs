//! The one door of the agent: whatever way a request came, it passes the same steps in the same order.
//!
//! Paused? Which upstream? Which path? Who calls? Does the policy allow it, and as whom? With which credential? Then
//! the proxy sends it. Only where a rule looks into the body is the body held before. Entry point: [`Front`], a tower service that is cheap to clone. What it decides by lies in
//! one [`Site`] behind a swap, so that a reload counts from the next call on. It never keeps a request, and every
//! refusal is a problem document. Called by `agent::connection`.

mod act_as;
mod answers;
mod arrival;
mod caller;
mod digested;
mod hold;
mod keyed;
mod links;
mod record;
mod route;
mod signed;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

pub use arrival::{Arrival, Way};

use super::audit::Audit;
use super::callers::{self, Callers};
use super::counters::CallMetrics;
use super::credentials::{Credential, Credentials};
use super::issuers::Issuers;
use super::links::LinkDesk;
use super::mapping::Mappings;
use super::pause::Pause;
use super::policy::{Call, CanonicalPath, Content, Identity, Meters, Permit, Policy, Query, authorise};
pub use super::proxy::FrontBody;
use super::proxy::{Links, Means, Proxy};
use super::remembered::Remembered;
use super::signed::Signing;
use super::upstream::BoxError;
use crate::common::act_as::ActAs;
use crate::common::ids::{CallerName, RequestId, UpstreamName};
use crate::common::problem::{Code, Outcome, Problem};
use crate::common::tasks::Tasks;
use answers::Bound;
use caller::Identified;
use keyed::{Keyed, Sending, Sent};
use signed::Signed;

/// All that decides about a call, as one configuration has it.
pub struct Site {
    /// The rules.
    pub policy: Arc<Policy>,
    /// How far the rules' rates are used up; the same before and after a reload.
    pub meters: Arc<Meters>,
    /// The applications.
    pub upstreams: HashMap<UpstreamName, Proxy>,
    /// The callers' keys.
    pub callers: Arc<Callers>,
    /// Whose tokens are taken in place of a key.
    pub issuers: Arc<Issuers>,
    /// The services' accounts.
    pub credentials: Arc<Credentials>,
    /// Who is whom, for calls made as a person.
    pub mappings: Mappings,
    /// What the configuration says of callers; nothing of most.
    pub options: HashMap<CallerName, callers::Options>,
}

/// The door itself.
#[derive(Clone)]
pub struct Front {
    site: Arc<ArcSwap<Site>>,
    pause: Pause,
    metrics: CallMetrics,
    audit: Audit,
    keyed: Option<Arc<Keyed>>,
    desk: Option<LinkDesk>,
    signing: Option<Signing>,
}

impl Front {
    /// Whoever holds `site` may swap it at any time. Every call of a known caller is recorded. Calls with an
    /// `Idempotency-Key` are refused, until there is something to remember them by.
    pub fn new(site: Arc<ArcSwap<Site>>, pause: Pause, metrics: CallMetrics, audit: Audit) -> Self {
        Self { site, pause, metrics, audit, keyed: None, desk: None, signing: None }
    }

    /// The same with this memory of calls with a key, which run among these tasks.
    #[must_use]
    pub fn remembering(self, remembered: Remembered, tasks: Tasks) -> Self {
        Self { keyed: Some(Arc::new(Keyed { remembered, tasks })), ..self }
    }

    /// The same with this desk for links of people's accounts.
    #[must_use]
    pub fn linking(self, desk: LinkDesk) -> Self {
        Self { desk: Some(desk), ..self }
    }

    /// The same, which takes signed calls and signs its answers to them.
    #[must_use]
    pub fn signing(self, signing: Signing) -> Self {
        Self { signing: Some(signing), ..self }
    }

    async fn answer<B>(self, mut request: Request<B>) -> Response<FrontBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let under_way = self.metrics.begin();
        let head = *request.method() == Method::HEAD;
        let mut bound = None;
        let (id, result) = match request.extensions_mut().remove::<Arrival>() {
            Some(arrival) => (arrival.request_id, self.pass(request, &arrival, &mut bound).await),
            None => (RequestId::generate(), Err(no_arrival())),
        };
        let response = result.unwrap_or_else(|problem| {
            self.metrics.refused(problem.code);
            tracing::debug!(request = %id, code = %problem.code, "refused a call");
            let whole = |bytes| if head { Bytes::new() } else { bytes };
            problem.to_response(id).map(|bytes| FrontBody::whole(whole(bytes)))
        });
        let response = match (bound, &self.signing) {
            (Some(bound), Some(signing)) => Box::pin(answers::sign(response, bound, signing)).await,
            _ => response,
        };
        response.map(|body| body.counted(under_way))
    }

    /// `bound` is set once the answer, or the refusal, is to be signed.
    async fn pass<B>(
        &self,
        request: Request<B>,
        arrival: &Arrival,
        bound: &mut Option<Bound>,
    ) -> Result<Response<FrontBody>, Problem>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let site = self.site.load_full();
        caller::note_exposure(request.headers(), arrival.way, &site.callers).await;
        self.refuse_while_paused()?;
        refuse_upgrades(&request)?;
        let target = arrival.target.get(usize::from(arrival.route_length)..).unwrap_or("");
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        if path == route::WELL_KNOWN {
            return route::well_known(request.method());
        }
        if let (Some(step), Some(desk)) = (links::Step::of(path), &self.desk) {
            let at = links::At { desk, site: &site, audit: &self.audit, signing: self.signing.as_ref() };
            return Box::pin(step.take(at, request, arrival, bound)).await;
        }
        let route = route::split(path, &site.upstreams, arrival.is_host_form())
            .ok_or_else(|| route::nothing_here(path))?;
        let path = CanonicalPath::parse(route.rest).map_err(super::policy::PathFault::problem)?;
        let query = Query::parse(query).map_err(super::policy::PathFault::problem)?;
        let (mut parts, body) = request.into_parts();
        let identified = caller::identify(&mut parts, arrival, &site, self.signing.as_ref()).await?;
        let Identified { caller, trust, person, issuer, signed } = identified;
        *bound = signed.as_ref().map(Bound::to);
        let by = record::By::of(arrival.request_id, issuer.as_ref(), signed.as_ref());
        let options = site.options.get(&caller);
        let act_as = act_as::named(&parts.headers, &caller, options, person);
        let request = Request::from_parts(parts, body);
        let links = options.filter(|options| options.rewrite_links).map(|_| links_of(&route, arrival));
        let upstream = route.proxy.upstream();
        let mut call = Call {
            method: request.method().clone(),
            upstream: upstream.config().name.clone(),
            path,
            query,
            caller: Some(caller),
            trust,
            content: Content::of(request.headers()),
            body: None,
        };
        // From here on it is known who is refused.
        let refused = |call: &Call, act_as: Option<&ActAs>, problem: &Problem| {
            record::refused(&self.audit, call, act_as, by, problem);
        };
        let act_as = act_as.inspect_err(|problem| refused(&call, None, problem))?;
        let request = match site.policy.holds_body(&call) {
            None => Held::Not(request),
            Some(limit) => {
                let held = Box::pin(hold::hold(request, limit, upstream.config().idle_timeout)).await;
                // That may have taken a while.
                let held = held.and_then(|held| self.refuse_while_paused().map(|()| held));
                let held = held.and_then(|held| match &signed {
                    Some(signed) if !held.fits(&signed.digests) => Err(signed::mismatch()),
                    _ => Ok(held),
                });
                let held = held.inspect_err(|problem| refused(&call, act_as.as_ref(), problem))?;
                call.body = Some(held.judged());
                Held::Whole(held)
            }
        };
        let now = upstream.clock().now();
        let permit = authorise(&site.policy, &site.meters, call, now).map_err(|refusal| {
            let problem = refusal.problem();
            self.metrics.by_policy().count(refusal.call(), problem.code, upstream.clock().wall());
            refused(refusal.call(), act_as.as_ref(), &problem);
            problem
        })?;
        let credential = credential(&permit, act_as.as_ref(), &site).await;
        let known = credential.as_ref().ok().and_then(Option::as_deref);
        let facts = record::facts(&permit, act_as.as_ref(), known, by);
        let record = self.audit.begin(facts);
        let credential = match credential {
            Ok(credential) => credential,
            Err(problem) => {
                record.not_made(&problem);
                return Err(problem);
            }
        };
        let request_id = arrival.request_id;
        let sending = Sending { proxy: route.proxy, permit, credential, links, request_id, record };
        match (request, signed) {
            (Held::Not(request), None) => self.send(sending, request).await,
            (Held::Not(request), Some(signed)) => {
                Box::pin(self.send_signed(sending, request, signed, upstream.config().idle_timeout)).await
            }
            (Held::Whole(held), _) => Box::pin(self.send(sending, held.into_request())).await,
        }
    }

    /// Sends a call whose body must be the one that was signed.
    async fn send_signed<B>(
        &self,
        sending: Sending<'_>,
        request: Request<B>,
        signed: Signed,
        patience: Duration,
    ) -> Result<Response<FrontBody>, Problem>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let Some(signing) = &self.signing else { return Err(no_arrival()) };
        let judged = digested::judge(request, signed.digests, signing, patience).await;
        match judged.and_then(|request| self.refuse_while_paused().map(|()| request)) {
            Ok(request) => self.send(sending, request).await,
            Err(problem) => {
                sending.record.not_made(&problem);
                Err(problem)
            }
        }
    }

    fn refuse_while_paused(&self) -> Result<(), Problem> {
        if self.pause.is_on() {
            return Err(Problem::new(
                Code::Paused,
                "The site's administrator has stopped all calls; `outhaul-agent resume` at the site lets them pass.",
            ));
        }
        Ok(())
    }

    /// Sends a call that may pass; one with a key is looked up first.
    async fn send<B>(&self, sending: Sending<'_>, request: Request<B>) -> Result<Response<FrontBody>, Problem>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let key = keyed::key(&request).and_then(|key| match (key, &self.keyed) {
            (None, _) => Ok(None),
            (Some(key), Some(keyed)) => Ok(Some((key, keyed))),
            (Some(_), None) => Err(remembers_nothing()),
        });
        let key = match key {
            Ok(key) => key,
            Err(problem) => {
                sending.record.not_made(&problem);
                return Err(problem);
            }
        };
        if let Some((key, keyed)) = key {
            return match Box::pin(keyed.send(key, sending, request)).await? {
                Sent::Fresh(response) => {
                    self.metrics.answered(response.status());
                    Ok(response)
                }
                Sent::Replayed(response) => {
                    self.metrics.replayed();
                    Ok(response)
                }
            };
        }
        let Sending { proxy, permit, credential, links, request_id, record } = sending;
        let means = Means { credential: credential.as_deref(), links, request_id, record };
        let response = proxy.forward(permit, request, means).await?;
        self.metrics.answered(response.status());
        Ok(response)
    }
}

impl<B> Service<Request<B>> for Front
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<FrontBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<FrontBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}

/// A request whose body is still on its way, or was held.
enum Held<B> {
    Not(Request<B>),
    Whole(hold::Held),
}

/// The credential of the permit's identity. Never another's.
async fn credential(
    permit: &Permit,
    act_as: Option<&ActAs>,
    site: &Site,
) -> Result<Option<Arc<Credential>>, Problem> {
    match permit.identity() {
        Identity::Anonymous => Ok(None),
        Identity::Service(name) => site.credentials.credential(name).await.map(Some),
        Identity::User => match act_as {
            Some(person) => {
                let found = site.mappings.credential(permit.upstream(), person).await;
                found.map(Some).map_err(|fault| fault.problem())
            }
            None => Err(super::policy::nobody_named()),
        },
    }
}

/// From what the upstream calls itself to what the caller called it.
fn links_of(route: &route::Route<'_>, arrival: &Arrival) -> Links {
    let base = &route.proxy.upstream().config().base_url;
    let from = format!("{}://{}{}", base.scheme.as_str(), base.authority(), base.path);
    let to = format!("{}://{}{}{}", arrival.scheme.as_str(), arrival.authority, arrival.route(), route.mount);
    Links::new(&from, &to)
}

fn refuse_upgrades<B>(request: &Request<B>) -> Result<(), Problem> {
    let headers = request.headers();
    let websocket = headers.contains_key(header::SEC_WEBSOCKET_KEY)
        || headers.contains_key(header::SEC_WEBSOCKET_VERSION)
        || headers.get_all(header::UPGRADE).iter().any(|value| {
            value.as_bytes().to_ascii_lowercase().windows(9).any(|window| window == b"websocket")
        });
    if websocket || *request.method() == Method::CONNECT {
        return Err(Problem::new(
            Code::UpgradeRefused,
            "WebSocket, CONNECT and other upgrades do not pass. Use plain HTTP requests.",
        ));
    }
    Ok(())
}

fn remembers_nothing() -> Problem {
    Problem::new(
        Code::StoreUnavailable,
        "The agent has nothing to remember a call with a key by; it was not made.",
    )
}

fn no_arrival() -> Problem {
    Problem::new(Code::Internal, "A request came in without saying how. Report this as a bug.")
        .with_outcome(Outcome::NotSent)
}
