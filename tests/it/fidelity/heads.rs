//! Heads both ways: what is end to end arrives value by value, byte by byte.

use std::fmt::Write as _;

use http::{HeaderValue, Method};

use crate::support::door::{Version, empty, full};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::Step;

/// What a caller may say to the upstream (`docs/headers.md`), with values that are easily damaged.
fn sent() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("accept", b"application/json".to_vec()),
        ("accept", b"text/html;q=0.5, */*;q=0.1".to_vec()),
        ("accept-language", b"de-CH, fr;q=0.9".to_vec()),
        ("accept-encoding", b"gzip, br;q=0".to_vec()),
        ("if-none-match", b"\"a,b\", W/\"c\"".to_vec()),
        ("if-modified-since", b"Tue, 24 Nov 2026 12:00:00 GMT".to_vec()),
        ("range", b"bytes=0-1,5-".to_vec()),
        ("content-type", b"multipart/form-data; boundary=\"=_\xe4\xff\"".to_vec()),
        ("content-disposition", b"attachment; filename=\"caf\xe9.txt\"".to_vec()),
        ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec()),
        ("x-experimentalapi", b"opt-in".to_vec()),
        ("prefer", vec![b'x'; 8000]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requests_fields_arrive_as_they_were_sent() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        for method in [Method::GET, Method::POST] {
            site.odd.forget();
            let mut request = OddSite::request(method.clone(), "fields?a=%2F&b=%20+%C3%A4'()", full("body"));
            for (name, value) in sent() {
                request.headers_mut().append(name, HeaderValue::from_bytes(&value).unwrap());
            }
            // Never to the upstream.
            for name in
                ["cookie", "x-forwarded-for", "forwarded", "origin", "referer", "x-http-method-override"]
            {
                request.headers_mut().append(name, HeaderValue::from_static("hidden"));
            }
            assert_eq!(site.call(version, request).await.unwrap().status, 200);
            let found = site.odd.heard("/fields?").unwrap().parsed().unwrap();
            let [(head, body)] = &found[..] else { panic!("{found:?}") };
            assert_eq!(head.target, "/rest/api/2/odd/fields?a=%2F&b=%20+%C3%A4'()");
            assert_eq!((head.method.as_str(), &body[..]), (method.as_str(), &b"body"[..]));
            for (name, _) in sent() {
                let expected: Vec<Vec<u8>> =
                    sent().into_iter().filter(|(sent, _)| *sent == name).map(|(_, value)| value).collect();
                assert_eq!(head.all(name), expected, "{version:?} {name}");
            }
            assert_eq!(head.all("host"), [b"jira.example"]);
            assert_eq!(head.all("authorization"), [b"Bearer pat-reader"]);
            assert_eq!(head.all("content-length"), [b"4"]);
            let own = ["host", "user-agent", "authorization", "content-length", "x-atlassian-token"];
            for (name, _) in &head.fields {
                let known = own.contains(&name.as_str()) || sent().iter().any(|(sent, _)| sent == name);
                assert!(known, "{name} was not to be sent");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answers_fields_arrive_as_they_were_sent() {
    let site = OddSite::start().await;
    let long = "v".repeat(8192);
    let mut head =
        format!("HTTP/1.1 200 Gut gemacht\r\nX-Long: {long}\r\nX-Many: 1\r\nx-many: 2\r\nX-MANY: 1\r\n");
    head += "WWW-Authenticate: Basic realm=\"a, b\"\r\nWWW-Authenticate: Bearer\r\nVary: *\r\n";
    head += "Link: <a>; rel=next\r\nX-Space: \t a \t b \t\r\nX-Tab: a\tb\r\nX-Empty:\r\n";
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(b"X-Obs: \x80\xfe\xff\r\nContent-Length: 2\r\n\r\nok");
    site.odd.on("answer", [Step::Say(bytes.into())]);
    for version in [Version::One, Version::Two] {
        let answer = site.get(version, "answer").await.unwrap();
        let all = |name: &str| {
            answer.headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(all("x-long"), [long.as_bytes()]);
        assert_eq!(all("x-many"), [b"1", b"2", b"1"]);
        assert_eq!(all("www-authenticate"), [&b"Basic realm=\"a, b\""[..], b"Bearer"]);
        assert_eq!((all("x-space"), all("x-tab")), (vec![b"a \t b".to_vec()], vec![b"a\tb".to_vec()]));
        assert_eq!((all("x-empty"), all("x-obs")), (vec![Vec::new()], vec![b"\x80\xfe\xff".to_vec()]));
        assert_eq!(&answer.body[..], b"ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_heads_pass_whole_or_are_refused_and_harm_nobody() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        for (lines, passes) in [(1, true), (5, true), (7, true), (8, false), (12, false), (100, false)] {
            let mut text = String::from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n");
            for line in 0..lines {
                write!(text, "X-Line-{line}: {}\r\n", "h".repeat(8000)).unwrap();
            }
            site.odd.on("large", [Step::say(&(text + "\r\nok"))]);
            let answer = site.get(version, "large").await.unwrap();
            if passes {
                assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"ok"[..]));
                let count = answer.headers.keys().filter(|name| name.as_str().starts_with("x-line-")).count();
                assert_eq!(count, lines, "{version:?}");
                assert!(answer.headers.values().filter(|value| value.len() == 8000).count() == lines);
            } else {
                assert_eq!(answer.problem().unwrap().0, "upstream-answer", "{version:?} {lines}");
            }
        }
        // And the caller's own.
        for (lines, passes) in [(5, true), (9, false)] {
            let mut request = OddSite::request(Method::GET, "x", empty());
            for _ in 0..lines {
                request.headers_mut().append("prefer", HeaderValue::from_str(&"h".repeat(8000)).unwrap());
            }
            match site.call(version, request).await {
                Ok(answer) if passes => assert_eq!(answer.status, 200),
                Ok(answer) => assert_eq!(answer.status, 431),
                Err(error) => assert!(!passes, "{error}"),
            }
        }
        assert_eq!(site.get(version, "x").await.unwrap().status, 200);
    }
}
