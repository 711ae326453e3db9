//! The steps of the front, and the bytes that reach an upstream.

use std::sync::{Arc, Mutex};

use http::{Method, Request};
use http_body_util::{Empty, StreamBody};
use outhaul::common::problem::Code;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An upstream that keeps heads and bodies as they came, and answers `ok`.
pub(super) async fn recording() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let log = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&log);
    let (address, _) = upstream(move |mut peer, head| {
        let kept = Arc::clone(&kept);
        async move {
            let mut next = Some(head);
            while let Some(head) = next {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .map_or(0, |length| length.parse().unwrap());
                let body = if head.contains("transfer-encoding: chunked") {
                    peer.until("0\r\n\r\n").await
                } else {
                    String::from_utf8(peer.take(length).await).unwrap()
                };
                kept.lock().unwrap().push(format!("{head}{body}"));
                peer.send(OK).await;
                next = peer.head().await;
            }
        }
    })
    .await;
    (address, log)
}

#[tokio::test]
async fn what_was_matched_is_sent_and_nothing_else() {
    let (address, log) = recording().await;
    let world = world(&[address], |_| {});
    let request = Request::get("/jira/anon/a%20b/%C3%A4?jql=a%20%3D+%22x%22&b=%2F")
        .header("Accept", "application/json")
        .header("Cookie", "JSESSIONID=1")
        .header("X-Forwarded-For", "10.0.0.1")
        .header("Origin", "https://evil.example")
        .header("User-Agent", "Mozilla/5.0")
        .header("Content-Type", "application/json")
        .header("Host", "acme.relay.example")
        .header("Expect", "100-continue");
    assert_eq!(read(world.call(request.body(Empty::new()).unwrap()).await).await.status, 200);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        log.lock().unwrap()[0],
        format!(
            "GET /jira/anon/a%20b/%C3%A4?jql=a%20%3D+%22x%22&b=%2F HTTP/1.1\r\n\
             host: jira.corp.example\r\n\
             user-agent: outhaul-agent/{version}\r\n\
             accept: application/json\r\n\
             content-type: application/json\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn bodies_are_framed_as_the_caller_framed_them() {
    let (address, log) = recording().await;
    let world = world(&[address], |_| {});
    assert_eq!(world.post("/jira/anon/x", "hello").await.status, 200);
    let chunked =
        || StreamBody::new(futures_util::stream::iter([Ok::<_, BoxError>(frame("hel")), Ok(frame("lo"))]));
    for method in [Method::POST, Method::GET] {
        let request = Request::builder().method(method).uri("/jira/anon/x").body(chunked()).unwrap();
        assert_eq!(read(world.call(request).await).await.status, 200);
    }
    let empty = Request::post("/jira/anon/x").body(Empty::<Bytes>::new()).unwrap();
    assert_eq!(read(world.call(empty).await).await.status, 200);
    // An end that comes late is no body.
    let late = StreamBody::new(futures_util::stream::iter(Vec::<Result<_, BoxError>>::new()));
    let late = Request::delete("/jira/anon/x").body(late).unwrap();
    assert_eq!(read(world.call(late).await).await.status, 200);

    let log = log.lock().unwrap();
    assert!(log[0].contains("content-length: 5\r\n") && log[0].ends_with("\r\n\r\nhello"), "{}", log[0]);
    for chunked in &log[1..3] {
        assert!(chunked.contains("transfer-encoding: chunked\r\n"), "{chunked}");
        assert!(!chunked.contains("content-length"), "{chunked}");
        assert!(chunked.ends_with("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), "{chunked}");
    }
    assert!(log[3].contains("content-length: 0\r\n"), "{}", log[3]);
    assert!(!log[4].contains("transfer-encoding"), "{}", log[4]);
    for (number, write) in [(0, true), (1, true), (2, false), (3, true), (4, true)] {
        assert_eq!(log[number].contains("x-atlassian-token: no-check\r\n"), write, "{}", log[number]);
    }
}

fn frame(text: &'static str) -> http_body::Frame<Bytes> {
    http_body::Frame::data(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn each_step_refuses_in_its_own_words() {
    let (address, seen) = answering(OK).await;
    let world = world(&[address], |_| {});
    for (path, code) in [
        ("/", "not-found"),
        ("/other/anon/x", "not-found"),
        ("/%6aira/anon/x", "not-found"),
        ("/scim/v2/Users", "not-found"),
        ("/teams/messages", "not-found"),
        ("/events", "not-found"),
        ("/jira/anon/../x", "ambiguous-path"),
        ("/jira/anon/%2e%2e/x", "ambiguous-path"),
        ("/jira/anon//x", "ambiguous-path"),
        ("/jira/anon/a;b", "ambiguous-path"),
        ("/jira/anon/a%2fb", "ambiguous-path"),
        ("/jira/anon/x?os_username=admin", "bad-request"),
        ("/jira/secret", "policy-refused"),
        ("/jira", "policy-refused"),
        ("/jira/person/x", "act-as-required"),
        ("/jira/none/x", "credential-missing"),
    ] {
        let answer = world.get(path).await;
        assert_eq!((answer.code().as_str(), answer.problem().1.as_str()), (code, "not-sent"), "{path}");
    }
    let call = |change: fn(http::request::Builder) -> http::request::Builder| {
        let request = change(Request::get("/jira/anon/x")).body(Full::<Bytes>::default()).unwrap();
        async { read(world.call(request).await).await }
    };
    assert_eq!(call(|it| it.header("Authorization", "Bearer nonsense")).await.code(), "caller-unknown");
    assert_eq!(call(|it| it.header("Upgrade", "WebSocket")).await.code(), "upgrade-refused");
    assert_eq!(call(|it| it.header("Sec-WebSocket-Key", "x")).await.code(), "upgrade-refused");
    assert_eq!(call(|it| it.method("CONNECT")).await.code(), "upgrade-refused");
    assert_eq!(call(|it| it.method("TRACE")).await.code(), "method-refused");
    assert_eq!(call(|it| it.header("Content-Length", "1, 2")).await.code(), "bad-request");
    let head = call(|it| it.uri("/jira/secret").method("HEAD")).await;
    assert_eq!(head.headers["outhaul-problem"], "policy-refused");
    assert!(head.body.is_empty() && head.headers.contains_key("content-length"));
    world.pause.pause().unwrap();
    assert_eq!(world.get("/jira/anon/x").await.code(), "paused");
    world.pause.resume().unwrap();
    assert_eq!(seen.requests(), 0, "nothing refused reaches the upstream");
    assert_eq!(world.get("/jira/anon/x").await.status, 200);
    assert_eq!(world.metrics.refusals(Code::NotFound), 6);
    assert_eq!(world.metrics.under_way(), 0);
}

#[tokio::test]
async fn a_request_without_its_arrival_is_not_served() {
    let (address, seen) = answering(OK).await;
    let mut front = world(&[address], |_| {}).front.clone();
    let Ok(response) = front.call(get("/jira/anon/x")).await;
    assert_eq!(response.headers()["outhaul-problem"], "internal");
    assert_eq!(seen.requests(), 0);
}

#[tokio::test]
async fn an_upstream_is_reached_by_name_and_in_host_form_by_its_context_path() {
    let (address, log) = recording().await;
    let world = world(&[address], |wish| {
        wish.config.nodes = vec![format!("http://{address}/ctx").parse().unwrap()];
        wish.config.base_url = "https://jira.corp.example/ctx".parse().unwrap();
    });
    for (route, path, code) in [
        ("", "/jira/anon/1", 200),
        ("", "/ctx/anon/2", 200),
        ("/s/acme", "/jira/anon/3", 200),
        ("/s/acme", "/ctx/anon/4", 404),
        ("", "/ctxt/anon/5", 404),
    ] {
        assert_eq!(read(world.call_on(route, get(path)).await).await.status, code, "{route}{path}");
    }
    let log = log.lock().unwrap();
    let lines: Vec<&str> = log.iter().filter_map(|head| head.lines().next()).collect();
    assert_eq!(lines, ["GET /ctx/anon/1 HTTP/1.1", "GET /ctx/anon/2 HTTP/1.1", "GET /ctx/anon/3 HTTP/1.1"]);
}

#[tokio::test]
async fn the_public_page_needs_no_key_and_tells_no_secret() {
    let world = world(&["127.0.0.1:1".parse().unwrap()], |_| {});
    let request = Request::get("/.well-known/outhaul").header("Authorization", "Bearer wrong");
    let answer = read(world.call(request.body(Empty::new()).unwrap()).await).await;
    assert_eq!(answer.status, 200);
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        document,
        serde_json::json!({"software": "outhaul-agent", "version": env!("CARGO_PKG_VERSION")})
    );
}

#[tokio::test]
async fn a_reload_counts_from_the_next_call_on() {
    let (address, _) = answering(OK).await;
    let world = world(&[address], |_| {});
    assert_eq!(world.get("/jira/anon/x").await.status, 200);
    let old = world.site.load_full();
    world.site.store(Arc::new(Site {
        meters: Arc::default(),
        policy: Policy::compile(Vec::new()).into(),
        upstreams: old.upstreams.clone(),
        callers: Arc::clone(&old.callers),
        issuers: Arc::clone(&old.issuers),
        credentials: Arc::clone(&old.credentials),
        mappings: old.mappings.clone(),
        options: old.options.clone(),
    }));
    assert_eq!(world.get("/jira/anon/x").await.code(), "policy-refused");
}

#[tokio::test]
async fn redirects_and_errors_of_the_upstream_pass_unchanged() {
    let (address, _) = answering(
        "HTTP/1.1 302 Found\r\nLocation: https://jira.corp.example/jira/login.jsp\r\nSet-Cookie: a=b\r\n\
         Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=20\r\nContent-Length: 5\r\n\r\nmoved",
    )
    .await;
    let world = world(&[address], |_| {});
    let answer = world.get("/jira/anon/x").await;
    assert_eq!((answer.status, &answer.body[..]), (302, &b"moved"[..]));
    assert_eq!(answer.headers["location"], "https://jira.corp.example/jira/login.jsp");
    let mut names: Vec<&str> = answer.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "location"]);
}
