//! Header fields and trailers on the wire, both ways.

use std::sync::Mutex;

use http_body::Frame;
use http_body_util::StreamBody;

use super::*;

/// An upstream that keeps all that comes on a connection, and answers once with this text.
async fn wire(answer: &'static str) -> (SocketAddr, Arc<Mutex<String>>) {
    let log = Arc::<Mutex<String>>::default();
    let kept = Arc::clone(&log);
    let (address, _) = upstream(move |mut peer, head| {
        let kept = Arc::clone(&kept);
        async move {
            let chunked = head.contains("transfer-encoding: chunked");
            let body = if chunked { peer.until("\r\n\r\n").await } else { String::new() };
            *kept.lock().unwrap() = head + &body;
            peer.send(answer).await;
        }
    })
    .await;
    (address, log)
}

const NEVER: &[(&str, &str)] = &[
    ("Cookie", "JSESSIONID=1"),
    ("Origin", "https://evil.example"),
    ("Referer", "https://evil.example/x"),
    ("Forwarded", "for=10.0.0.1;host=jira;proto=https"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-Host", "jira"),
    ("X-Forwarded-Proto", "https"),
    ("X-Real-IP", "10.0.0.1"),
    ("sudo", "admin"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("X-HTTP-Method", "DELETE"),
    ("X-Method-Override", "DELETE"),
    ("X-Original-URL", "/secure/admin"),
    ("X-Rewrite-URL", "/secure/admin"),
    ("X-AUSERNAME", "admin"),
    ("Remote-User", "admin"),
    ("Remote_User", "admin"),
    ("Proxy-Authorization", "Basic x"),
    ("Keep-Alive", "timeout=5"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABk"),
    ("Connection", "X-ExperimentalApi, close"),
    ("X-ExperimentalApi", "opt-in"),
    ("User-Agent", "Mozilla/5.0"),
    ("Host", "evil.example"),
];

#[tokio::test]
async fn what_never_passes_is_not_on_the_wire() {
    let (address, log) = wire("HTTP/1.1 204 No Content\r\n\r\n").await;
    let world = world(&[address], |_| {});
    for (method, own) in [("GET", ""), ("POST", "x-atlassian-token: no-check\r\ncontent-length: 0\r\n")] {
        let mut request = Request::builder().method(method).uri("/jira/anon/x");
        for (name, value) in NEVER {
            request = request.header(*name, *value).header(name.to_uppercase(), *value);
        }
        // More than one would be refused.
        let request = request.header("Outhaul-Act-As", "entra:1");
        let answer = read(world.call(request.body(Full::<Bytes>::default()).unwrap()).await).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            *log.lock().unwrap(),
            format!(
                "{method} /jira/anon/x HTTP/1.1\r\nhost: jira.corp.example\r\nuser-agent: outhaul-agent/{version}\r\n{own}\r\n"
            )
        );
    }
}

#[tokio::test]
async fn trailers_of_a_request_end_at_the_agent() {
    let (address, log) = wire("HTTP/1.1 204 No Content\r\n\r\n").await;
    let world = world(&[address], |_| {});
    let mut trailers = http::HeaderMap::new();
    for name in ["x-sum", "authorization", "x-http-method-override"] {
        trailers.insert(name, "x".parse().unwrap());
    }
    let frames = [Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"body"))), Ok(Frame::trailers(trailers))];
    let request = Request::post("/jira/anon/x")
        .header("Trailer", "X-Sum, Authorization, X-HTTP-Method-Override")
        .header("TE", "trailers")
        .body(StreamBody::new(futures_util::stream::iter(frames)))
        .unwrap();
    assert_eq!(read(world.call(request).await).await.status, 204);
    let seen = log.lock().unwrap().clone();
    assert!(seen.ends_with("\r\n\r\n4\r\nbody\r\n0\r\n\r\n"), "{seen}");
    assert!(!seen.to_lowercase().contains("x-sum"), "{seen}");
}

#[tokio::test]
async fn what_ends_at_the_agent_is_not_in_the_answer() {
    let (address, _) = wire(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\nSet-Cookie2: e=f\r\nAccess-Control-Allow-Origin: *\r\n\
         Access-Control-Allow-Credentials: true\r\nAlt-Svc: h3=\":443\"\r\nStrict-Transport-Security: max-age=1\r\n\
         Keep-Alive: timeout=5\r\nX-One: 1\r\nX-Two: 2\r\nX-One: 3\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    let world = world(&[address], |_| {});
    let answer = world.get("/jira/anon/x").await;
    let mut lines: Vec<String> =
        answer.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    assert_eq!(lines, ["x-one: 1", "x-one: 3", "x-two: 2"]);
    assert_eq!(&answer.body[..], b"ok");
}
