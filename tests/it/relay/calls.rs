use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bench::{Bench, HOST, ZONE, over_http2};
use super::fake_agent::connected;
use crate::support::eventually;

fn post(host: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let uri = format!("https://{host}{path}");
    Request::builder().method(Method::POST).uri(uri).body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn both_forms_in_both_versions_reach_the_agent() {
    let bench = Bench::new().await;
    let (agent, _tunnel) = connected(&bench).await;
    let body = Bytes::from(vec![b'b'; 300_000]);

    let request = Request::post("/jira/echo?q=%2F").header("x-hop", "1").header("connection", "x-hop");
    let answer = bench.client.call(HOST, request.body(body.clone()).unwrap()).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, body.len()));
    assert!(!answer.headers.contains_key("set-cookie"));
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["content-security-policy"], "sandbox");
    let head = agent.last();
    assert_eq!(
        (head.target.as_str(), head.route_length, head.peer.as_str()),
        ("/jira/echo?q=%2F", 0, "127.0.0.1")
    );
    assert_eq!(head.authority, format!("{HOST}:{}", bench.address.port()));
    assert!(!head.headers.contains_key("x-hop") && !head.headers.contains_key("host"));

    let answer = bench.client.get(ZONE, "/s/acme/jira/echo").await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!((agent.last().target.as_str(), agent.last().route_length), ("/s/acme/jira/echo", 7));

    let mut http2 = bench.http2().await;
    let answer = over_http2(&mut http2, post(HOST, "/jira/echo", body.clone())).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, body.len()));
    assert_eq!(agent.last().authority, HOST);
    let answer = over_http2(&mut http2, post(ZONE, "/s/acme/jira/echo", "x")).await.unwrap();
    assert_eq!(answer.status, 200);
    drop(http2);
    bench.is_calm(1).await;
}

#[tokio::test]
async fn heads_trailers_and_expectations_pass() {
    let bench = Bench::new().await;
    let (agent, _tunnel) = connected(&bench).await;
    let request = Request::head("/jira/echo").body(Bytes::new()).unwrap();
    let answer = bench.client.call(HOST, request).await.unwrap();
    assert_eq!((answer.headers["content-length"].as_bytes(), answer.body.len()), (&b"0"[..], 0));

    let host = format!("host: {HOST}\r\nconnection: close\r\n");
    let answer = bench.say(&format!("GET /jira/trailers HTTP/1.1\r\n{host}te: trailers\r\n\r\n")).await;
    assert!(answer.contains("x-sum: 7"), "{answer}");
    assert_eq!(agent.last().headers["te"], "trailers");

    // The relay says 100 only when the agent wants the body.
    let expect = format!("{host}expect: 100-continue\r\ncontent-length: 5\r\n\r\n");
    let answer = bench.say(&format!("POST /jira/early HTTP/1.1\r\n{expect}")).await;
    assert!(answer.starts_with("HTTP/1.1 417"), "{answer}");
    let mut stream = bench.tls(HOST, b"http/1.1").await;
    stream.write_all(format!("POST /jira/echo HTTP/1.1\r\n{expect}").as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.ends_with("hello"), "{rest}");
    bench.is_calm(1).await;
}

#[tokio::test]
async fn refusals_say_what_is_wrong() {
    let bench = Bench::new().await;
    let (_agent, _tunnel) = connected(&bench).await;
    for (host, path, status, code) in [
        ("none.relay.localhost", "/jira/", 404, "site-unknown"),
        (ZONE, "/", 404, "not-found"),
        (ZONE, "/s/none/jira/", 404, "site-unknown"),
        (ZONE, "/agent/v1", 426, "upgrade-required"),
        (HOST, "/jira/drop", 500, "internal"),
    ] {
        let answer = bench.client.get(host, path).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.problem()), (status, Some(code)), "{host}{path}");
        assert!(!answer.json()["detail"].as_str().unwrap().is_empty());
    }
    let request = Request::get("/jira/").header("host", "other.example").body(Bytes::new()).unwrap();
    assert_eq!(bench.client.call(HOST, request).await.unwrap().problem(), Some("misdirected"));
    let request = Request::builder().method("TRACE").uri("/jira/").body(Bytes::new()).unwrap();
    assert_eq!(bench.client.call(HOST, request).await.unwrap().problem(), Some("method-refused"));
    let request = Request::get("/jira/").header("upgrade", "websocket").header("connection", "upgrade");
    let answer = bench.client.call(HOST, request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.problem(), Some("upgrade-refused"));
    let mut http2 = bench.http2().await;
    let mut request = post(HOST, "/jira/echo", "x");
    request.headers_mut().insert("host", "other.relay.localhost".parse().unwrap());
    // Refused by us, or by the HTTP/2 library before us.
    match over_http2(&mut http2, request).await {
        Ok(answer) => assert_eq!(answer.status, 400),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    bench.admin("/sites/acme/pause", serde_json::Value::Null).await;
    assert_eq!(bench.get("/jira/echo").await.problem(), Some("site-paused"));
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_at_the_agent() {
    let bench = Bench::new().await;
    let (agent, _tunnel) = connected(&bench).await;
    for path in ["/jira/hang", "/jira/stream"] {
        let before = *agent.shared.cancelled.lock().unwrap();
        let mut stream = bench.tls(HOST, b"http/1.1").await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        eventually("arrival", Duration::from_secs(5), async || {
            agent.shared.heads.lock().unwrap().last().is_some_and(|head| head.target == path)
        })
        .await;
        drop(stream);
        eventually("cancel", Duration::from_secs(5), async || {
            *agent.shared.cancelled.lock().unwrap() > before
        })
        .await;
    }
    bench.is_calm(1).await;
}

#[tokio::test]
async fn limits_answer_with_their_problem() {
    let limits = "body-size = \"100 KB\"\nbody-idle-time = \"1 s\"\nfirst-byte-time = \"2 s\"\n\
                  site-calls-at-once = 2\n";
    let bench = Bench::with(limits, "").await;
    let (_agent, _tunnel) = connected(&bench).await;
    let request = Request::post("/jira/echo").body(Bytes::from(vec![0; 200_000])).unwrap();
    assert_eq!(bench.client.call(HOST, request).await.unwrap().problem(), Some("body-too-large"));
    let host = format!("host: {HOST}\r\nconnection: close\r\n");
    let chunk = format!("{:x}\r\n{}\r\n", 0x20000, "x".repeat(0x20000));
    let request = format!("POST /jira/echo HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n{chunk}");
    let answer = bench.say(&request).await;
    assert!(answer.contains("outhaul-problem: body-too-large"), "{answer}");
    let answer = bench.say(&format!("POST /jira/echo HTTP/1.1\r\n{host}content-length: 5\r\n\r\nab")).await;
    assert!(answer.contains("outhaul-problem: caller-too-slow"), "{answer}");
    let hang = bench.get("/jira/hang").await;
    assert_eq!((hang.status.as_u16(), hang.problem()), (504, Some("agent-too-slow")));
    assert_eq!(hang.json()["retry"], "safe", "it was a GET");
    let three = tokio::join!(bench.get("/jira/hang"), bench.get("/jira/hang"), bench.get("/jira/hang"));
    let codes = [three.0.problem(), three.1.problem(), three.2.problem()];
    assert_eq!(codes.iter().filter(|code| **code == Some("rate-limited")).count(), 1, "{codes:?}");
    bench.is_calm(1).await;
}

#[tokio::test]
async fn too_many_calls_a_second_are_told_when_to_come_again() {
    let bench = Bench::with("site-calls-a-second = 1\nsite-burst = 3\n", "").await;
    let (_agent, _tunnel) = connected(&bench).await;
    let mut refused = None;
    for _ in 0..6 {
        let answer = bench.get("/jira/echo").await;
        if answer.problem() == Some("rate-limited") {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("one is refused");
    assert_eq!((refused.status.as_u16(), refused.headers["retry-after"].as_bytes()), (429, &b"1"[..]));
}

#[tokio::test]
async fn a_caller_who_takes_nothing_is_cut_off_and_others_go_on() {
    let bench = Bench::with("answer-idle-time = \"1 s\"\n", "").await;
    let (agent, _tunnel) = connected(&bench).await;
    let mut stuck = bench.tls(HOST, b"http/1.1").await;
    stuck.write_all(format!("GET /jira/stream HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
    // In HTTP/2 the connection lives on and only the stream is cut.
    let mut http2 = bench.http2().await;
    let request = Request::get(format!("https://{HOST}/jira/stream")).body(Full::<Bytes>::default()).unwrap();
    let unread = http2.send_request(request).await.unwrap();
    eventually("both cut", Duration::from_secs(10), async || *agent.shared.cancelled.lock().unwrap() == 2)
        .await;
    let answer = over_http2(&mut http2, post(HOST, "/jira/echo", "x")).await.unwrap();
    assert_eq!(answer.status, 200);
    drop((stuck, unread, http2));
    bench.is_calm(1).await;
}
