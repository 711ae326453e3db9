//! Whether the upstream still takes a service's credential.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, header};

use super::identity::{Expected, Verdict};
use crate::agent::audit::{As, Audit, Event, Facts, Record};
use crate::agent::credentials::Credential;
use crate::agent::policy::Identity;
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
pub struct Verdicts {
    known: Mutex<HashMap<(UpstreamName, Arc<str>), Known>>,
    audit: OnceLock<Audit>,
}

impl Verdicts {
    /// From here on each use of a secret, other than for a call, is recorded there.
    pub fn record_in(&self, audit: Audit) {
        // The first one stays: there is one audit.
        let _ = self.audit.set(audit);
    }

    /// Whether the upstream no longer takes this credential. Asked of a Jira that answered 401, since it answers
    /// so for a missing right too.
    pub(super) async fn is_dead(
        &self,
        upstream: &Upstream,
        identity: &Identity,
        credential: &Credential,
    ) -> bool {
        let key = (upstream.config().name.clone(), credential.user().into());
        let known = {
            // As many entries as the configuration has pairs of upstream and service.
            let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.note(upstream, identity, credential);
        let dead = ask(upstream, credential).await;
        *known = Some((now, credential.authorization().clone(), dead));
        dead
    }
}

impl Verdicts {
    fn note(&self, upstream: &Upstream, identity: &Identity, credential: &Credential) {
        let service = match identity {
            Identity::Service(name) => Some(As::Service(name.as_str())),
            Identity::User | Identity::Anonymous => None,
        };
        let facts = Facts {
            identity: service,
            jira_user: Some(credential.user()),
            upstream: Some(upstream.config().name.as_str()),
            ..Facts::default()
        };
        if let Some(audit) = self.audit.get() {
            audit.note(
                &Record::new(Event::SecretUsed).about(facts).detail("asked whose it is, after a refusal"),
            );
        }
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
