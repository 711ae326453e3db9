//! A service's own credential as the proxy needs it, and whether the upstream still takes it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, Method, header};
use zeroize::Zeroizing;

use super::identity::{Expected, Verdict};
use crate::agent::upstream::{Outbound, Outgoing, USER_AGENT, Upstream};
use crate::common::ids::UpstreamName;
use crate::common::secret::Secret;

/// How long an answer of `myself` holds.
const HOLDS: Duration = Duration::from_secs(30);

/// What makes a call a service's own.
#[derive(Clone)]
pub struct Credential {
    user: Arc<str>,
    authorization: HeaderValue,
}

impl Credential {
    /// A personal access token of this user. `None` if it can't stand in a header.
    pub fn token(user: &str, token: &Secret<String>) -> Option<Self> {
        Self::new(user, &Zeroizing::new(format!("Bearer {}", token.expose())))
    }

    /// A user and password. `None` if they can't stand in a header.
    pub fn password(user: &str, password: &Secret<String>) -> Option<Self> {
        if user.contains(':') {
            return None;
        }
        let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
        Self::new(user, &Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
    }

    fn new(user: &str, text: &str) -> Option<Self> {
        let mut authorization = HeaderValue::from_str(text).ok()?;
        authorization.set_sensitive(true);
        Some(Self { user: user.into(), authorization })
    }

    /// Whom the upstream must answer for.
    pub fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.authorization.clone()
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Credential({})", self.user)
    }
}

type Known = Arc<tokio::sync::Mutex<Option<(Instant, bool)>>>;

/// What `myself` said of the credentials of late, so that a dead one does not double every call.
#[derive(Debug, Default)]
pub struct Verdicts(Mutex<HashMap<(UpstreamName, Arc<str>), Known>>);

impl Verdicts {
    /// Whether the upstream no longer takes this credential. Asked of a Jira that answered 401, since it answers
    /// so for a missing right too.
    pub(super) async fn is_dead(&self, upstream: &Upstream, credential: &Credential) -> bool {
        let key = (upstream.config().name.clone(), Arc::clone(&credential.user));
        let known = {
            // As many entries as the configuration has pairs of upstream and service.
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(key).or_default())
        };
        // Held while asking: many calls that fail together ask once.
        let mut known = known.lock().await;
        let now = upstream.clock().now();
        if let Some((when, dead)) = *known
            && now.saturating_duration_since(when) < HOLDS
        {
            return dead;
        }
        let dead = ask(upstream, credential).await;
        *known = Some((now, dead));
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
    headers.insert(header::AUTHORIZATION, credential.header());
    let outbound = Outbound { method: Method::GET, target: "/rest/api/2/myself".to_owned(), headers };
    // A Jira that can't be asked has not said that the credential is dead.
    let Ok(answer) = upstream.send(outbound, Outgoing::empty(upstream.clock()), 0).await else {
        return false;
    };
    match Expected::User(&credential.user).judge(answer.status(), answer.headers()) {
        Verdict::Right => false,
        Verdict::Refused => true,
        Verdict::Wrong(_) => answer.status().is_success(),
    }
}
