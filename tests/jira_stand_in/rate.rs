//! Rate limiting as Data Center does it: a bucket of tokens for each user at each node, told in headers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Map;

use crate::app::App;
use crate::cluster::Node;
use crate::identity::Who;
use crate::wire::Fault;

/// What an administrator sets.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Limits {
    /// The most tokens a bucket holds; one request costs one.
    pub(crate) capacity: u64,
    /// How many come back in an interval.
    pub(crate) fill_rate: u64,
    pub(crate) interval_seconds: u64,
    /// Users who may call as often as they like; their answers carry no headers.
    #[serde(default)]
    pub(crate) exempt: Vec<String>,
    /// Users with a quota of zero.
    #[serde(default)]
    pub(crate) blocked: Vec<String>,
}

impl Limits {
    fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_seconds.max(1))
    }
}

/// Tokens left, and since when they have been counted.
#[derive(Clone, Copy)]
struct Bucket {
    tokens: u64,
    since: Instant,
}

/// The buckets of one node, by username.
#[derive(Default)]
pub(crate) struct Buckets(BTreeMap<String, Bucket>);

/// What a user with a quota of zero is told to wait: the largest number there is.
const FOR_EVER: &str = "9223372036854775807";

/// What became of one request.
pub(crate) struct Verdict {
    pub(crate) headers: HeaderMap,
    pub(crate) refused: Option<Fault>,
}

/// Takes a token, if this caller is limited at all.
pub(crate) fn judge(app: &App, node: &Node, who: &Who) -> Option<Verdict> {
    let limits = app.limits().clone()?;
    let user = match who.name() {
        Some(name) => name,
        None if app.is("rate-limit-anonymous", "limited") => "anonymous",
        None => return None,
    };
    if limits.exempt.iter().any(|one| one == user) {
        return None;
    }
    if limits.blocked.iter().any(|one| one == user) {
        let headers = headers(&Limits { capacity: 0, fill_rate: 0, ..limits }, 0, FOR_EVER);
        return Some(Verdict { headers, refused: Some(refusal(app)) });
    }
    let now = app.clock.now();
    let mut buckets = node.buckets();
    let fresh = Bucket { tokens: limits.capacity, since: now };
    let bucket = buckets.0.entry(user.to_owned()).or_insert(fresh);
    let step = if app.is("rate-limit-refill", "continuous") {
        (limits.interval() / u32::try_from(limits.fill_rate.max(1)).unwrap_or(u32::MAX), 1)
    } else {
        (limits.interval(), limits.fill_rate)
    };
    refill(bucket, step, limits.capacity, now);
    if bucket.tokens > 0 {
        bucket.tokens -= 1;
        return Some(Verdict { headers: headers(&limits, bucket.tokens, "0"), refused: None });
    }
    let wait = (bucket.since + step.0).saturating_duration_since(now).as_millis().div_ceil(1000).max(1);
    Some(Verdict { headers: headers(&limits, 0, &wait.to_string()), refused: Some(refusal(app)) })
}

/// So many tokens for each such time gone by.
fn refill(bucket: &mut Bucket, (time, tokens): (Duration, u64), capacity: u64, now: Instant) {
    while bucket.since + time <= now {
        bucket.since += time;
        bucket.tokens = (bucket.tokens + tokens).min(capacity);
        if bucket.tokens == capacity {
            bucket.since = now;
            return;
        }
    }
}

fn headers(limits: &Limits, left: u64, wait: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-ratelimit-limit", &limits.capacity.to_string());
    set("x-ratelimit-remaining", &left.to_string());
    set("x-ratelimit-fillrate", &limits.fill_rate.to_string());
    set("x-ratelimit-interval-seconds", &limits.interval_seconds.to_string());
    set("retry-after", wait);
    headers
}

fn refusal(app: &App) -> Fault {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let message = "Rate limit exceeded.".to_owned();
    if app.is("rate-limit-body", "html") {
        return Fault::Page(status, message);
    }
    if app.is("rate-limit-body", "core") {
        return Fault::Core(status, vec![message], Map::new());
    }
    Fault::Message(status, message)
}
