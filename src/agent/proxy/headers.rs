//! Which header fields pass, both ways.
//!
//! Towards the upstream only what this list names: a field that nobody thought of can't carry an identity, a
//! session or another method past the policy. Towards the caller everything but what belongs to one connection,
//! and cookies, which are credentials.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};

use crate::agent::upstream::USER_AGENT;

/// The request fields that pass as the caller wrote them. `Content-Length` and `TE` are judged apart.
pub const REQUEST: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-digest",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "prefer",
    "range",
    "repr-digest",
    "traceparent",
    "tracestate",
    "x-atlassian-token",
    "x-experimentalapi",
    "x-force-accept-language",
];

/// The answer's fields that belong to the connection between agent and upstream (RFC 9110, section 7.6.1), and
/// cookies. So do all that `Connection` names.
pub const ANSWER_DROPPED: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "set-cookie",
    "set-cookie2",
    "te",
    "transfer-encoding",
    "upgrade",
];

const NO_CHECK: HeaderValue = HeaderValue::from_static("no-check");
const ATLASSIAN_TOKEN: HeaderName = HeaderName::from_static("x-atlassian-token");

/// Faults of the caller's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// More than one length, or one that is no number.
    #[error("Content-Length must be one number")]
    Length,
}

/// What goes to the upstream.
#[derive(Debug)]
pub struct Prepared {
    /// The fields.
    pub headers: HeaderMap,
    /// The length the caller declares for its body.
    pub length: Option<u64>,
    /// The caller takes trailers.
    pub trailers: bool,
}

/// Picks what passes and adds what the agent sets, but for the credential.
pub fn request<B>(
    request: &Request<B>,
    method: &Method,
    host: &HeaderValue,
) -> Result<Prepared, HeaderFault> {
    let given = request.headers();
    let length = content_length(given)?;
    let named = Named::read(given);
    let mut headers = HeaderMap::with_capacity(given.len() + 6);
    headers.insert(header::HOST, host.clone());
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in given {
        if passes(name) && !named.holds(name) {
            headers.append(name, value.clone());
        }
    }
    let trailers = takes_trailers(given);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if !method.is_safe() {
        headers.insert(ATLASSIAN_TOKEN, NO_CHECK);
    }
    Ok(Prepared { headers, length, trailers })
}

/// Takes out of an answer what must not pass.
pub fn answer(headers: &mut HeaderMap) {
    for name in Named::read(headers).0 {
        // The framing of the body is not for Connection to decide.
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            headers.remove(name);
        }
    }
    for name in ANSWER_DROPPED {
        headers.remove(*name);
    }
}

fn passes(name: &HeaderName) -> bool {
    REQUEST.binary_search(&name.as_str()).is_ok()
}

/// The fields that `Connection` names.
struct Named(Vec<HeaderName>);

impl Named {
    fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CONNECTION).iter();
        let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        Self(words.filter_map(|word| HeaderName::from_bytes(word.trim_ascii()).ok()).take(64).collect())
    }

    fn holds(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, HeaderFault> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|value| value != first) {
        return Err(HeaderFault::Length);
    }
    let text = first.to_str().map_err(|_| HeaderFault::Length)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HeaderFault::Length);
    }
    text.parse().map(Some).map_err(|_| HeaderFault::Length)
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|word| {
            let word = word.split(|byte| *byte == b';').next().unwrap_or_default();
            word.trim_ascii().eq_ignore_ascii_case(b"trailers")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(method: &Method, lines: &[(&str, &str)]) -> Prepared {
        let mut builder = Request::builder().method(method);
        for (name, value) in lines {
            builder = builder.header(*name, *value);
        }
        let host = HeaderValue::from_static("jira.corp.example");
        request(&builder.body(()).unwrap(), method, &host).unwrap()
    }

    #[test]
    fn the_list_is_sorted_for_the_search_in_it() {
        assert!(REQUEST.is_sorted());
        for name in REQUEST.iter().chain(ANSWER_DROPPED) {
            assert_eq!(HeaderName::from_static(name).as_str(), *name);
        }
    }

    #[test]
    fn what_could_carry_an_identity_or_another_meaning_never_passes() {
        for name in [
            "authorization",
            "cookie",
            "origin",
            "referer",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-user",
            "x-real-ip",
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
            "sudo",
            "x-atlassian-sudo",
            "x-ausername",
            "remote-user",
            "x-requested-with",
            "sec-fetch-site",
            "proxy-authorization",
            "outhaul-act-as",
            "upgrade",
            "expect",
            "keep-alive",
            "transfer-encoding",
            "http2-settings",
            "x-anything",
        ] {
            let headers = prepared(&Method::GET, &[(name, "x")]).headers;
            let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["host", "user-agent"], "{name}");
        }
    }

    #[test]
    fn what_a_client_needs_passes_with_all_its_values() {
        let lines = [
            ("accept", "a/b"),
            ("accept", "c/d"),
            ("range", "bytes=0-1"),
            ("if-none-match", "\"x\""),
            ("content-type", "application/json"),
            ("x-experimentalapi", "opt-in"),
            ("traceparent", "00-1"),
        ];
        let headers = prepared(&Method::GET, &lines).headers;
        for (name, value) in lines {
            assert!(headers.get_all(name).iter().any(|found| found == value), "{name}: {value}");
        }
        assert!(!headers.contains_key("x-atlassian-token"));
    }

    #[test]
    fn the_agent_speaks_for_itself() {
        let lines = [("host", "evil"), ("user-agent", "Mozilla/5.0"), ("x-atlassian-token", "check")];
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let headers = prepared(&method, &lines).headers;
            assert_eq!(headers["host"], "jira.corp.example");
            assert!(headers["user-agent"].to_str().unwrap().starts_with("outhaul-agent/"));
            assert_eq!(headers.get_all("x-atlassian-token").iter().collect::<Vec<_>>(), ["no-check"]);
        }
    }

    #[test]
    fn what_connection_names_ends_here() {
        let headers =
            prepared(&Method::GET, &[("connection", "close, Accept ,x"), ("accept", "a/b")]).headers;
        assert!(!headers.contains_key("accept") && !headers.contains_key("connection"));

        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "X-Private, keep-alive"),
            ("keep-alive", "timeout=20"),
            ("x-private", "1"),
            ("set-cookie", "JSESSIONID=1"),
            ("set-cookie", "b=2"),
            ("transfer-encoding", "chunked"),
            ("etag", "\"1\""),
            ("trailer", "x-sum"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        answer(&mut headers);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["etag", "trailer"]);
    }

    #[test]
    fn trailers_only_when_asked_for() {
        assert!(!prepared(&Method::GET, &[("te", "gzip")]).trailers);
        let asked = prepared(&Method::GET, &[("te", "gzip, Trailers;q=0.5")]);
        assert!(asked.trailers);
        assert_eq!(
            (&asked.headers["te"], &asked.headers["connection"]),
            (&"trailers".parse().unwrap(), &"te".parse().unwrap())
        );
    }

    #[test]
    fn a_length_has_one_reading() {
        let length = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in lines {
                headers.append("content-length", HeaderValue::from_str(value).unwrap());
            }
            content_length(&headers)
        };
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&["12"]), Ok(Some(12)));
        assert_eq!(length(&["12", "12"]), Ok(Some(12)));
        for bad in [&["1", "2"][..], &[""], &["+1"], &["-1"], &["1, 1"], &["0x1"], &["99999999999999999999"]]
        {
            assert_eq!(length(bad), Err(HeaderFault::Length), "{bad:?}");
        }
    }
}
