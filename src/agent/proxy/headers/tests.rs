use std::fmt::Write as _;

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
fn the_tables_are_sorted_and_name_fields_as_http_does() {
    for table in [REQUEST, ANSWER] {
        assert!(table.is_sorted_by(|one, other| one.name < other.name));
        for field in table {
            let name = field.name.strip_suffix('*').unwrap_or(field.name);
            let name = name.strip_suffix('-').unwrap_or(name);
            assert_eq!(HeaderName::from_static(name).as_str(), name);
            assert!(!field.reason.is_empty() && !field.reason.ends_with('.') && !field.reason.contains('|'));
        }
    }
}

#[test]
fn what_the_table_says_is_what_is_done() {
    for field in REQUEST.iter().filter(|field| field.verdict != Verdict::Set) {
        let name = field.name.replace('*', "x");
        let sent = prepared(&Method::GET, &[(&name, "17")]).headers;
        let passed = sent.get(&name).is_some_and(|value| value == "17");
        let expected = field.verdict == Verdict::Pass || name == "x-atlassian-token";
        assert_eq!(passed, expected, "{name}");
    }
    for field in ANSWER {
        let mut headers = HeaderMap::new();
        let name: HeaderName = field.name.replace('*', "x").parse().unwrap();
        headers.insert(name, HeaderValue::from_static("x"));
        answer(&mut headers);
        assert!(headers.is_empty(), "{}", field.name);
    }
}

#[test]
fn a_field_is_found_by_any_spelling_of_its_name() {
    let verdict = |name| request_field(name).map(|field| field.verdict);
    assert_eq!(verdict("Accept"), Some(Verdict::Pass));
    assert_eq!(verdict("X-Forwarded-Whatever"), Some(Verdict::Drop));
    assert_eq!(verdict("SEC-Fetch-Site"), Some(Verdict::Drop));
    assert_eq!(verdict("AUTHORIZATION"), Some(Verdict::Set));
    assert_eq!(verdict("x-unheard-of"), None);
    assert_eq!(verdict("sec"), None);
    assert_eq!(verdict("sé"), None);
    assert_eq!(answer_field("Set-Cookie").map(|field| field.verdict), Some(Verdict::Drop));
    assert_eq!(answer_field("etag"), None);
}

/// Each in the spellings that reach other systems' checks: as documented, in lower and upper case, and with what some
/// servers read as the same (CGI makes one name of `-` and `_`).
#[test]
fn what_could_carry_an_identity_or_another_meaning_never_passes() {
    for name in [
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Cookie2",
        "Origin",
        "Referer",
        "Referrer",
        "Forwarded",
        "X-Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-User",
        "X-Real-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "Client-IP",
        "Via",
        "X-Host",
        "X-HTTP-Host-Override",
        "X-Original-URL",
        "X-Original-Host",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-HTTP-Override",
        "Sudo",
        "X-Sudo",
        "X-Atlassian-Sudo",
        "X-AUSERNAME",
        "X-Seraph-LoginReason",
        "Remote-User",
        "X-Remote-User",
        "X-Authenticated-User",
        "X-Requested-With",
        "Sec-Fetch-Site",
        "Outhaul-Act-As",
        "Idempotency-Key",
        "Destination",
        "Upgrade",
        "Expect",
        "Keep-Alive",
        "Proxy-Connection",
        "Transfer-Encoding",
        "Trailer",
        "HTTP2-Settings",
        "Max-Forwards",
        "X-Anything",
    ] {
        for spelling in [name.to_owned(), name.to_lowercase(), name.to_uppercase(), name.replace('-', "_")] {
            for method in [Method::GET, Method::POST] {
                let headers = prepared(&method, &[(&spelling, "x")]).headers;
                let names = headers.keys().map(HeaderName::as_str);
                let further: Vec<&str> = names
                    .filter(|name| !["host", "user-agent", "x-atlassian-token"].contains(name))
                    .collect();
                assert!(further.is_empty(), "{method} {spelling}: {further:?}");
            }
        }
    }
}

/// What Jira's and Service Management's clients send, and what conditional, partial and traced calls need.
#[test]
fn what_is_needed_is_on_the_list() {
    for name in [
        "Accept",
        "Accept-Encoding",
        "Accept-Language",
        "Content-Type",
        "Content-Encoding",
        "Content-Language",
        "Content-Disposition",
        "Range",
        "If-Range",
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-Unmodified-Since",
        "Cache-Control",
        "X-Atlassian-Token",
        "X-ExperimentalApi",
        "X-Force-Accept-Language",
        "traceparent",
        "tracestate",
    ] {
        let headers = prepared(&Method::GET, &[(name, "17")]).headers;
        assert_eq!(headers[name], "17", "{name}");
    }
}

#[test]
fn trailers_hold_no_session_and_no_framing() {
    let mut fields = HeaderMap::new();
    for name in ["set-cookie", "content-length", "transfer-encoding", "trailer", "x-sum", "server-timing"] {
        fields.append(name, HeaderValue::from_static("1"));
    }
    trailers(&mut fields);
    let mut names: Vec<&str> = fields.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["server-timing", "x-sum"]);
}

const DOCUMENT: &str = include_str!("../../../../docs/headers.md");

#[test]
fn the_document_shows_the_tables() {
    for (title, table) in [("Requests", REQUEST), ("Answers", ANSWER)] {
        let mut shown = String::from("| field | verdict | why |\n|---|---|---|\n");
        for Field { name, verdict, reason } in table {
            writeln!(shown, "| `{name}` | {} | {reason} |", verdict.as_str()).unwrap();
        }
        let section = DOCUMENT.split("\n## ").find(|section| section.starts_with(title)).unwrap_or("");
        let found: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).collect();
        assert!(
            found.into_iter().eq(shown.lines()),
            "docs/headers.md, section {title}, must show this table:\n\n{shown}"
        );
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
    let headers = prepared(&Method::GET, &[("connection", "close, Accept ,x"), ("accept", "a/b")]).headers;
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
    for bad in [&["1", "2"][..], &[""], &["+1"], &["-1"], &["1, 1"], &["0x1"], &["99999999999999999999"]] {
        assert_eq!(length(bad), Err(HeaderFault::Length), "{bad:?}");
    }
}
