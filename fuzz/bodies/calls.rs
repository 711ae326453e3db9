//! Any call against a policy with rules of every kind: it is decided, in the order that the policy promises.
//!
//! Input: method and target on the first line, a content type on the second, the body after it.

use std::sync::LazyLock;

use http::Method;
use outhaul::agent::config::Config;
use outhaul::agent::policy::{Call, CanonicalPath, Content, HeldBody, Query, Reason, decide};

const CONFIG: &str = r#"
[relay]
url = "wss://r"
[upstream.jira]
url = "http://j"
[policy]
profiles = ["jira-teams"]
[policy.profile.jira-teams]
accept-relay-trust = true
[[policy.rule]]
deny = "* /a/secret/**"
why = "w"
[[policy.rule]]
deny = "GET /a/*"
why = "w"
query = { mode = "x*y" }
[[policy.rule]]
allow = "POST /a/*"
why = "w"
as = "anonymous"
query = { expand = { optional = ["names", 5] } }
query-only = ["q"]
body = { "/k" = ["v*", true], "/a/0" = { absent = true } }
[[policy.rule]]
allow = ["GET|POST|PUT|PATCH|DELETE /**", "GET /b*c/d"]
why = "w"
as = "anonymous"
content-type = "application/json"
"#;

static SITE: LazyLock<Config> = LazyLock::new(|| Config::parse("fuzz", CONFIG).unwrap());

/// One run.
pub(super) fn run(input: &[u8]) {
    let policy = &SITE.policy;
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (line, kind, body) = (String::from_utf8_lossy(next()), String::from_utf8_lossy(next()), next());
    let (method, target) = line.split_once(' ').unwrap_or(("GET", &*line));
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let (Ok(path), Ok(query)) = (CanonicalPath::parse(path), Query::parse(query)) else { return };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let mut call = Call::new(method, "jira".parse().unwrap(), path, query, None);
    call.content = Content::with_type(&kind);
    let asked = policy.holds_body(&call).is_some();
    assert_eq!(asked, matches!(decide(policy, &call), Err(Reason::BodyNeeded { .. })), "asked for in vain");
    call.body = Some(HeldBody::read(body));
    let decided = decide(policy, &call);
    assert!(!matches!(decided, Err(Reason::BodyNeeded { .. })), "asked for what is there");
    let lower = call.path.segments().map(str::to_lowercase).collect::<Vec<_>>().join("/");
    if lower.starts_with("rest/pat/") || lower.starts_with("secure/admin/") || lower.starts_with("a/secret/")
    {
        assert!(decided.is_err(), "{lower} is denied");
    }
    if let Err(reason) = decided {
        assert!(!reason.problem(&call).detail.is_empty());
    }
}
