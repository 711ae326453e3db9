//! The header fields, as data: what becomes of each, and why. `docs/headers.md` shows the same table; a test compares.

use std::sync::LazyLock;

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It passes with all its values, as written.
    Pass,
    /// What was given ends at the agent, which writes its own.
    Set,
    /// The agent reads it; the reason says what goes on.
    Judged,
    /// It never passes.
    Drop,
}

impl Verdict {
    /// As in the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Set => "set",
            Self::Judged => "judged",
            Self::Drop => "drop",
        }
    }
}

/// One field, or with `*` at its end all whose names begin so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// In lower case.
    pub name: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why, for people.
    pub reason: &'static str,
}

const fn pass(name: &'static str, reason: &'static str) -> Field {
    Field { name, verdict: Verdict::Pass, reason }
}

const fn set(name: &'static str, reason: &'static str) -> Field {
    Field { name, verdict: Verdict::Set, reason }
}

const fn judged(name: &'static str, reason: &'static str) -> Field {
    Field { name, verdict: Verdict::Judged, reason }
}

const fn never(name: &'static str, reason: &'static str) -> Field {
    Field { name, verdict: Verdict::Drop, reason }
}

const ADDRESS: &str = "Claims where the call comes from; Jira's allow-lists of addresses would believe it";
const CONDITION: &str = "Conditional calls (RFC 9110, section 13)";
const DIGEST: &str = "A digest of the body, which passes unchanged (RFC 9530)";
const FORWARDED: &str =
    "Claims another host, scheme or address; the application is told what the agent knows";
const HOP: &str = "Speaks of one connection only (RFC 9110, section 7.6.1)";
const METHOD: &str = "Would make another method of the one that the policy allowed";
const NEGOTIATION: &str = "Content negotiation (RFC 9110, section 12.5)";
const PATH: &str = "Would make another path of the one that the policy matched";
const TRACE: &str = "Trace Context: one trace from the program to Jira";
const USER: &str = "Claims a user; the policy alone says as whom a call is made";

/// Towards the application. A field that is not here does not pass.
pub const REQUEST: &[Field] = &[
    pass("accept", NEGOTIATION),
    pass("accept-charset", NEGOTIATION),
    pass(
        "accept-encoding",
        "Compressed answers pass as they are; with `rewrite-links` the agent asks for plain ones",
    ),
    pass("accept-language", NEGOTIATION),
    set(
        "authorization",
        "The caller's key ends here; the credential of the identity that the rule names goes on",
    ),
    pass("cache-control", "A program may ask for a fresh answer"),
    never("client-ip", ADDRESS),
    judged("connection", "The fields it names do not pass; the agent speaks of its own connection"),
    pass("content-digest", DIGEST),
    pass("content-disposition", "The name of an uploaded file, where a body is not multipart"),
    pass("content-encoding", "Speaks of the body, which passes unchanged"),
    pass("content-language", "Speaks of the body"),
    judged("content-length", "One number, and the body must be as long; else the call is refused"),
    pass("content-md5", "An older digest of the body"),
    pass("content-type", "Speaks of the body; Jira's clients send it with GET too"),
    never("cookie", "A session is a credential, and two callers could come to share one"),
    never("cookie2", "As cookie"),
    never("destination", PATH),
    judged(
        "expect",
        "`100-continue` is answered by the relay once the agent wants the body; nothing else passes",
    ),
    never("forwarded", FORWARDED),
    set("host", "The host of `base-url`, whatever address the agent connects to"),
    never("http2-settings", HOP),
    judged("idempotency-key", "The agent remembers it (docs/idempotency.md); Jira knows no such field"),
    pass("if-match", CONDITION),
    pass("if-modified-since", CONDITION),
    pass("if-none-match", CONDITION),
    pass("if-range", CONDITION),
    pass("if-unmodified-since", CONDITION),
    never("keep-alive", HOP),
    never("origin", "A browser's; Jira's cross-site checks would compare it with its base URL"),
    never("outhaul-*", "Between the caller and Outhaul"),
    pass("pragma", "The older form of cache-control"),
    pass("prefer", "Wishes that a server may leave aside (RFC 7240)"),
    never("proxy-*", "Between the caller and a proxy"),
    pass("range", "Parts of large attachments (RFC 9110, section 14)"),
    never("referer", "May hold another system's address; Jira's cross-site checks would compare it"),
    never("remote-user", USER),
    pass("repr-digest", DIGEST),
    never("sec-*", "A browser's; Jira's checks grow stricter with them"),
    never("sudo", "Would make the call as somebody else"),
    judged("te", "Of it only `trailers` goes on"),
    pass("traceparent", TRACE),
    pass("tracestate", TRACE),
    never("trailer", "Trailers of a request end at the agent: nothing in them was judged"),
    set(
        "transfer-encoding",
        "The agent frames the body anew: by its length where the caller gave one, else in chunks",
    ),
    never("true-client-ip", ADDRESS),
    never("upgrade", HOP),
    set(
        "user-agent",
        "The agent's own: a browser's would put Jira's cross-site checks into their strict mode",
    ),
    never("via", "The agent is the client of the application"),
    pass("want-content-digest", DIGEST),
    pass("want-repr-digest", DIGEST),
    never("x-atlassian-sudo", "Would make the call as somebody else"),
    judged(
        "x-atlassian-token",
        "`no-check` on every call that writes, as Jira asks for; as written on those that read",
    ),
    never("x-ausername", USER),
    never("x-client-ip", ADDRESS),
    never("x-cluster-client-ip", ADDRESS),
    pass("x-experimentalapi", "Opens parts of the Service Management API"),
    pass("x-force-accept-language", "Makes Jira heed accept-language"),
    never("x-forwarded-*", FORWARDED),
    never("x-host", FORWARDED),
    never("x-http-method", METHOD),
    never("x-http-method-override", METHOD),
    never("x-method-override", METHOD),
    never("x-original-*", PATH),
    never("x-real-ip", ADDRESS),
    never("x-remote-user", USER),
    never("x-requested-with", "A browser's; Jira's checks treat such calls in another way"),
    never("x-rewrite-url", PATH),
    never("x-seraph-*", USER),
    never("x-sudo", "Would make the call as somebody else"),
];

const BROWSERS: &str = "Answers are for programs: no cross-origin reading from pages";
const DOMAIN: &str = "Speaks for a whole domain, and the domain here is the relay's";

/// Towards the caller. A field that is not here passes.
pub const ANSWER: &[Field] = &[
    never("access-control-*", BROWSERS),
    never("alt-svc", "Names other addresses for the application, where the caller can't reach it"),
    judged("connection", "The fields it names do not pass, but for Content-Length and Content-Type"),
    never("keep-alive", HOP),
    never("outhaul-*", "Marks what Outhaul itself says; an application can't"),
    never("proxy-authenticate", "Between the agent and a proxy"),
    never("proxy-authentication-info", "Between the agent and a proxy"),
    never("proxy-connection", HOP),
    never("set-cookie", "A session is a credential"),
    never("set-cookie2", "As set-cookie"),
    never("strict-transport-security", DOMAIN),
    never("te", HOP),
    never("transfer-encoding", HOP),
    never("upgrade", HOP),
];

/// Trailers pass towards callers that take them; none of these may stand among them (RFC 9110, section 6.5.1).
pub(super) const NO_TRAILERS: &[&str] =
    &["content-encoding", "content-length", "content-range", "content-type", "trailer"];

/// What becomes of a request's field; `None` is one that is not listed, and so does not pass.
pub fn request_field(name: &str) -> Option<&'static Field> {
    find(REQUEST, name)
}

/// What becomes of an answer's field; `None` is one that is not listed, and so passes.
pub fn answer_field(name: &str) -> Option<&'static Field> {
    find(ANSWER, name)
}

fn find(table: &'static [Field], name: &str) -> Option<&'static Field> {
    let exact = table.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    exact.or_else(|| {
        table.iter().find(|field| {
            let stem = field.name.strip_suffix('*');
            stem.is_some_and(|stem| {
                name.get(..stem.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(stem))
            })
        })
    })
}

/// Names by their length: nearly every name that does not fit ends at an empty place.
#[derive(Debug, Default)]
struct Names {
    by_length: Vec<Vec<&'static str>>,
    stems: Vec<&'static str>,
}

impl Names {
    fn of(table: &'static [Field], wanted: &[Verdict]) -> Self {
        let mut names = Self::default();
        for field in table.iter().filter(|field| wanted.contains(&field.verdict)) {
            if let Some(stem) = field.name.strip_suffix('*') {
                names.stems.push(stem);
                continue;
            }
            let places = names.by_length.len().max(field.name.len() + 1);
            names.by_length.resize(places, Vec::new());
            if let Some(place) = names.by_length.get_mut(field.name.len()) {
                place.push(field.name);
            }
        }
        names
    }

    fn holds(&self, name: &str) -> bool {
        self.by_length.get(name.len()).is_some_and(|same| same.contains(&name))
            || self.stems.iter().any(|stem| name.starts_with(stem))
    }
}

/// Whether a request's field goes on as written. The name in lower case.
pub(super) fn passes(name: &str) -> bool {
    static PASSING: LazyLock<Names> = LazyLock::new(|| Names::of(REQUEST, &[Verdict::Pass]));
    // On calls that write, the agent's own value follows.
    PASSING.holds(name) || name == "x-atlassian-token"
}

/// Whether an answer's field ends here. The name in lower case.
pub(super) fn ends(name: &str) -> bool {
    static DROPPED: LazyLock<Names> = LazyLock::new(|| Names::of(ANSWER, &[Verdict::Drop, Verdict::Judged]));
    DROPPED.holds(name)
}
