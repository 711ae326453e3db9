//! Heads that a relay writes so that Jira reads another request than the agent, or two of them. The proof is the bytes that
//! the upstream reply.

use outhaul::tunnel::frame::{END_STREAM, Kind};

use super::site::{LiarSite, PATH};
use super::wire::{RawHead, flagged, frame};
use crate::support::odd_upstream::wire;
use crate::support::world::{World, host};

const HIDDEN: &str =
    "GET /rest/api/2/odd/hidden HTTP/1.1\r\nHost: jira.example\r\nX-AUSERNAME: admin\r\n\r\n";

/// One attempt: its name, head and body.
type Attempt = (&'static str, RawHead, Vec<u8>);

fn attempts(key: &str) -> Vec<Attempt> {
    let mut all: Vec<Attempt> = Vec::new();
    let head = |method: &str, number: usize| {
        RawHead::new(method, &host(), &format!("{PATH}/attack-{number}")).bearer(key)
    };
    let mut add = |name, change: &dyn Fn(RawHead) -> RawHead, body: &[u8]| {
        let head = change(head("POST", all.len()));
        all.push((name, head, body.to_vec()));
    };
    let chunks = format!("0\r\n\r\n{HIDDEN}");
    let hidden = HIDDEN.as_bytes();
    // Two framings, and framings with two readings.
    let length = chunks.len().to_string();
    add(
        "CL.TE",
        &|head| head.with("content-length", &length).with("transfer-encoding", "chunked"),
        chunks.as_bytes(),
    );
    add(
        "TE.CL",
        &|head| head.with("transfer-encoding", "chunked").with("content-length", "4"),
        chunks.as_bytes(),
    );
    add("TE alone, chunks in the body", &|head| head.with("transfer-encoding", "chunked"), chunks.as_bytes());
    add(
        "TE.TE",
        &|head| head.with("transfer-encoding", "chunked").with("transfer-encoding", "x"),
        chunks.as_bytes(),
    );
    add("TE spelled oddly", &|head| head.with("transfer-encoding", "\tchunked\u{b}"), chunks.as_bytes());
    for lengths in [
        &["0", "5"][..],
        &["5", "0"],
        &["0", "0"],
        &["0, 5"],
        &["+0"],
        &["-1"],
        &["0x0"],
        &["0 "],
        &[""],
        &["1e1"],
    ] {
        add(
            "Content-Length with two readings",
            &|head| lengths.iter().fold(head, |head, length| head.with("content-length", length)),
            hidden,
        );
    }
    add("a body longer than its length", &|head| head.with("content-length", "0"), hidden);
    add("a body where none is said", &|head| head, hidden);
    add(
        "Connection names the length",
        &|head| head.with("connection", "content-length").with("content-length", "0"),
        hidden,
    );
    // Bytes that end a line, where a field or its name may be.
    for value in [
        "a\r\nX-Hidden: 1",
        "a\r\n\r\nGET /hidden HTTP/1.1\r\n",
        "a\nX-Hidden: 1",
        "a\rX-Hidden: 1",
        "a\0b",
        "a\u{1}",
    ] {
        add("a field's value with line ends or controls", &|head| head.with("accept", value), b"");
        add("such a value in a field that is dropped", &|head| head.with("x-dropped", value), b"");
    }
    for name in [
        "accept\r\nx-hidden",
        "accept: 1\r\nx-hidden",
        "accept ",
        " accept",
        "acc\0ept",
        "accept:",
        "",
        "x\u{e9}",
    ] {
        add("a field's name that is none", &|head| head.with(name, "1"), b"");
    }
    // The request line.
    for method in ["GET /hidden HTTP/1.1\r\nX:", "G ET", "GET\r\n", "GET\0", "", "get", "GET\t"] {
        add(
            "a method that is none",
            &|mut head| {
                head.method = method.into();
                head
            },
            b"",
        );
    }
    for suffix in [
        " HTTP/1.1\r\nX-Hidden: 1\r\n\r\n",
        "\r\n\r\nGET /hidden HTTP/1.1",
        " /hidden",
        "\0",
        "\t",
        "\r",
        "\n",
        "\u{7f}",
        "?a b",
        "?a\r\nb",
        "#hidden",
        "?x#hidden",
        "\u{e9}",
        "%0d%0aX-Hidden:%201",
        "%00",
        "\\hidden",
        "/../hidden",
        "/%2e%2e/hidden",
    ] {
        add(
            "a target with spaces, controls or a second reading",
            &|mut head| {
                head.target.extend_from_slice(suffix.as_bytes());
                head
            },
            b"",
        );
    }
    for target in [
        "http://jira.example/rest/api/2/odd/hidden",
        "//jira.example/rest/api/2/odd/hidden",
        "jira.example:443",
        "*",
        " ",
    ] {
        add(
            "another form of target",
            &|mut head| {
                head.target = target.into();
                head
            },
            b"",
        );
    }
    add(
        "bytes that are no UTF-8 in the target",
        &|mut head| {
            head.target.extend_from_slice(b"/\xff\xfe");
            head
        },
        b"",
    );
    for authority in ["jira.example\r\nX-Hidden: 1", "a b", "a\0", ""] {
        add(
            "an authority that ends its line",
            &|mut head| {
                head.authority = authority.into();
                head
            },
            b"",
        );
    }
    add(
        "an upgrade",
        &|head| head.with("upgrade", "h2c").with("connection", "upgrade").with("http2-settings", "AA"),
        hidden,
    );
    add(
        "Expect in two readings",
        &|head| head.with("expect", "100-continue, x").with("expect", "y"),
        b"body",
    );
    add(
        "scheme of no meaning",
        &|mut head| {
            head.scheme = 9;
            head
        },
        b"",
    );
    all
}

fn rules(world: &World) {
    world.edit_agent(
        "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
        "[[policy.rule]]\nallow = \"GET|POST /rest/api/2/odd/**\"\nwhy = \"Tests\"\nas = { service = \"reader\" }\n\n\
         [[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
    );
}

/// Whatever bytes a relay puts into OPEN, DATA and END, Jira hears whole, well-formed requests with one framing each: one
/// for an attempt, or none, never a hidden one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_head_of_a_relays_becomes_two_requests_at_jira() {
    let mut site = LiarSite::start_with(rules).await;
    let attempts = attempts(&site.key);
    let mut reached = 0;
    for (name, head, body) in &attempts {
        let reply = site.ask(head, body).await;
        assert!(reply.closed.is_none(), "{name}: the session goes on: {reply:?}");
        reached += usize::from(reply.status == Some(200));
    }
    // Trailers with a request of their own, on a body without a length.
    for trailer in [
        ("x-hidden", "1"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("a", "b\r\n\r\nGET /hidden"),
    ] {
        let stream = site.stream();
        let mut end = bytes::BytesMut::new();
        super::wire::put_fields(&mut end, &[(trailer.0.into(), trailer.1.into())]);
        let head = site.head("POST", "trailers");
        let frames = [
            frame(Kind::Open, stream, head.payload()),
            frame(Kind::Data, stream, "body"),
            frame(Kind::End, stream, end),
        ];
        site.tunnel.say(&frames).await;
        site.tunnel.heard(stream).await;
    }
    site.still_serves().await;
    let mut wrong = Vec::new();
    let mut whole = 0;
    for connection in site.odd.connections() {
        let raw = connection.raw();
        let reading = wire::read(&raw);
        wrong.extend(reading.fault.map(|fault| format!("{fault}: {:?}", String::from_utf8_lossy(&raw))));
        for (head, _) in reading.whole.iter().filter(|(head, _)| head.target != "/status") {
            let named = head.fields.iter().any(|(name, _)| name.contains("hidden"));
            let first = head.target.split('?').next().unwrap();
            if named || first.contains("hidden") || head.target.contains('#') {
                wrong.push(format!("hidden: {head:?}"));
            }
            if head.all("host") != [b"jira.example"] || head.all("authorization") != [b"Bearer pat-reader"] {
                wrong.push(format!("not as the agent says: {head:?}"));
            }
        }
        whole += reading.whole.len();
    }
    println!(
        "smuggling by a relay: {} attempts, {reached} answered, {whole} whole requests at the upstream",
        attempts.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(whole >= 5, "control: some were harmless and arrived: {whole}");
}

/// A request whose body is split over frames as a relay likes is one request with that body, however it is split.
#[tokio::test]
async fn a_body_in_any_pieces_is_one_body() {
    let mut site = LiarSite::start_with(rules).await;
    let body = HIDDEN.as_bytes();
    for size in [1, 7, 40, body.len()] {
        let stream = site.stream();
        let head = site.head("POST", "pieces").with("content-length", body.len().to_string());
        let mut frames = vec![frame(Kind::Open, stream, head.payload())];
        frames.extend(body.chunks(size).map(|piece| frame(Kind::Data, stream, piece)));
        frames.last_mut().unwrap().flags = END_STREAM;
        for frame in frames {
            site.tunnel.say(&[frame]).await;
        }
        let reply = site.tunnel.heard(stream).await;
        assert_eq!(reply.status, Some(200), "{reply:?}");
    }
    let arrived = site.arrived();
    assert_eq!(arrived.len(), 4);
    assert!(arrived.iter().all(|call| call.body == body));
    let stream = site.stream();
    let empty =
        [frame(Kind::Open, stream, site.head("POST", "x").payload()), flagged(Kind::Data, 0, stream, "")];
    site.tunnel.say(&empty).await;
    let reply = site.tunnel.heard(stream).await;
    assert!(reply.reset.is_some() && reply.status.is_none(), "{reply:?}");
}
