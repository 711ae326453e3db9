//! Whether the upstream still takes a service's credential.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, header};

use super::identity::{Expected, Verdict};
use crate::agent::credentials::Credential;
use crate::agent::upstream::{Outbound, Outgoing, USER_AGENT, Upstream};
use crate::common::ids::UpstreamName;

/// How long an answer of `myself` holds.
const HOLDS: Duration = Duration::from_secs(30);
/// The caller of the call that was refused waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// When it was asked, with which credential, and whether that was dead.
type Known = Arc<tokio::sync::Mutex<Option<(Instant, HeaderValue, bool)>>>;

/// What `myself` said of the credentials of late, so that a dead one does not double every call.
#[derive(Debug, Default)]
pub struct Verdicts(Mutex<HashMap<(UpstreamName, Arc<str>), Known>>);

impl Verdicts {
    /// Whether the upstream no longer takes this credential. Asked of a Jira that answered 401, since it answers
    /// so for a missing right too.
    pub(super) async fn is_dead(&self, upstream: &Upstream, credential: &Credential) -> bool {
        let key = (upstream.config().name.clone(), credential.user().into());
        let known = {
            // As many entries as the configuration has pairs of upstream and service.
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(key).or_default())
        };
        // Held while asking: many calls that fail together ask once.
        let mut known = known.lock().await;
        let now = upstream.clock().now();
        // A new secret is not judged by what was said of the old one.
        if let Some((when, asked, dead)) = &*known
            && now.saturating_duration_since(*when) < HOLDS
            && asked == credential.authorization()
        {
            return *dead;
        }
        let dead = ask(upstream, credential).await;
        *known = Some((now, credential.authorization().clone(), dead));
        dead
    }
}

async fn ask(upstream: &Upstream, credential: &Credential) -> bool {
    let mut headers = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_str(&upstream.config().base_url.authority()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::AUTHORIZATION, credential.authorization().clone());
    let outbound = Outbound { method: Method::GET, target: "/rest/api/2/myself".to_owned(), headers };
    // A Jira that can't be asked has not said that the credential is dead.
    let asking = upstream.ask(&outbound, Outgoing::empty(upstream.clock()));
    let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asking).await else { return false };
    match Expected::User(credential.user()).judge(answer.status(), answer.headers()) {
        Verdict::Right => false,
        Verdict::Refused => true,
        Verdict::Nobody | Verdict::Wrong(_) => answer.status().is_success(),
    }
}
