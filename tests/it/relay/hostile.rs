use std::time::Duration;

use futures_util::SinkExt;
use outhaul::net::websocket;
use outhaul::tunnel::frame::Kind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::bench::{Bench, HOST, ZONE};
use super::fake_agent::{connected, open};

const SHORT: &str = "tls-handshake-time = \"1 s\"\nhead-time = \"1 s\"\nagent-handshake-time = \"1 s\"\n";

/// Waits until the other side closes, and gives what it said.
async fn to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    let _ = read.await.expect("closed within 10 s");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn garbage_and_silence_on_the_public_port_end_by_themselves() {
    let bench = Bench::with(SHORT, "").await;
    let (_agent, _tunnel) = connected(&bench).await;
    let mut silent = TcpStream::connect(bench.address).await.unwrap();
    let mut garbage = TcpStream::connect(bench.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    to_end(&mut garbage).await;
    to_end(&mut silent).await;
    // A head that comes byte by byte.
    let mut slow = bench.tls(HOST, b"http/1.1").await;
    slow.write_all(b"GET /jira/echo HT").await.unwrap();
    let answer = to_end(&mut slow).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    // HTTP/2 that is none.
    let mut rubbish = bench.tls(HOST, b"h2").await;
    rubbish.write_all(&[0xff; 64]).await.unwrap();
    to_end(&mut rubbish).await;
    for shape in [
        "\u{0}\u{1}\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /jira/ HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let answer = bench.say(shape).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 505"),
            "{answer}"
        );
    }
    assert_eq!(bench.get("/jira/echo").await.status, 200);
    bench.is_calm(1).await;
}

#[tokio::test]
async fn smuggling_shapes_never_become_two_requests() {
    let bench = Bench::new().await;
    let (agent, _tunnel) = connected(&bench).await;
    let hidden = format!("GET /jira/hidden HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    for fields in [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", hidden.len() + 5),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n\r\n0\r\n\r\n", hidden.len() + 5),
        "content-length: 0\r\ncontent-length: 5\r\n\r\n".to_owned(),
        "content-length: 0, 5\r\n\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n".to_owned(),
        "content-length: +0\r\n\r\n".to_owned(),
    ] {
        let request = format!("POST /jira/echo HTTP/1.1\r\nhost: {HOST}\r\n{fields}{hidden}");
        let answer = bench.say(&request).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{fields:?}: {answer}");
    }
    let heads = agent.shared.heads.lock().unwrap();
    assert!(heads.iter().all(|head| head.target != "/jira/hidden"), "{heads:?}");
    for head in heads.iter() {
        let both =
            head.headers.contains_key("content-length") && head.headers.contains_key("transfer-encoding");
        assert!(!both, "{head:?}");
    }
}

#[tokio::test]
async fn oversize_heads_are_refused_and_harm_nobody() {
    let bench = Bench::with("head-fields = 20\n", "").await;
    let (_agent, tunnel) = connected(&bench).await;
    let large = format!("x: {}\r\n", "a".repeat(75_000));
    let many = "x: a\r\n".repeat(50);
    for fields in [large, many] {
        let answer = bench.say(&format!("GET /jira/echo HTTP/1.1\r\nhost: {HOST}\r\n{fields}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let mut http2 = bench.http2().await;
    let request = http::Request::get(format!("https://{HOST}/jira/echo"))
        .header("x", "a".repeat(60_000))
        .body(http_body_util::Full::default())
        .unwrap();
    let refused = super::bench::over_http2(&mut http2, request).await;
    assert!(refused.is_err() || refused.as_ref().is_ok_and(|answer| answer.status == 431), "{refused:?}");
    assert!(tunnel.is_usable());
    assert_eq!(bench.get("/jira/echo").await.status, 200);
    drop(http2);
    bench.is_calm(1).await;
}

#[tokio::test]
async fn a_websocket_that_sends_rubbish_is_closed() {
    let bench = Bench::with(SHORT, "").await;
    for message in [
        Message::text("hello"),
        Message::binary(vec![0xff; 100]),
        Message::binary(Vec::new()),
        Message::binary(vec![0; 200_000]),
    ] {
        let mut socket = open(&bench).await;
        socket.send(message).await.unwrap();
        let _ = websocket::receive_frame(&mut socket, Duration::from_secs(5)).await;
    }
    let mut socket = open(&bench).await;
    websocket::send_frame(&mut socket, Kind::Hello, "{\"no\": 1}".into(), Duration::from_secs(1))
        .await
        .unwrap();
    let frame = websocket::receive_frame(&mut socket, Duration::from_secs(5)).await.unwrap();
    assert_eq!(frame.kind, Kind::Refuse);
    // One that says nothing at all.
    let mut silent = open(&bench).await;
    assert!(websocket::receive_frame(&mut silent, Duration::from_secs(5)).await.is_err());
    drop((socket, silent));
    bench.is_calm(0).await;
    let (_agent, _tunnel) = connected(&bench).await;
    assert_eq!(bench.get("/jira/echo").await.status, 200);
}

#[tokio::test]
async fn upgrades_that_are_none_are_explained() {
    let bench = Bench::new().await;
    let head = format!("GET /agent/v1 HTTP/1.1\r\nhost: {ZONE}\r\n");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let answer = bench.say(&format!("{head}connection: close\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 426") && answer.contains("upgrade: websocket"), "{answer}");
    // Kept alive by the relay after its answer, so it is the test that ends it.
    let mut stream = bench.tls(ZONE, b"http/1.1").await;
    let request = format!("{head}{upgrade}sec-websocket-protocol: other\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 2048];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("outhaul.v1"), "{answer}");
}

#[tokio::test]
async fn connections_are_bounded_for_each_address() {
    let bench = Bench::with("connections-per-address = 3\n", "").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(bench.tls(HOST, b"http/1.1").await);
    }
    let mut fourth = TcpStream::connect(bench.address).await.unwrap();
    assert_eq!(to_end(&mut fourth).await, "");
    drop(held);
    bench.is_calm(0).await;
    bench.tls(HOST, b"http/1.1").await;
    let turned_away = bench.page("/metrics").await;
    assert!(turned_away.contains("turned_away_total{reason=\"connections-per-address\"} 1"), "{turned_away}");
}

#[tokio::test]
async fn a_crowd_that_leaves_at_once_harms_nobody() {
    let bench = Bench::new().await;
    let (_agent, tunnel) = connected(&bench).await;
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let mut stream = bench.tls(HOST, b"http/1.1").await;
        stream
            .write_all(format!("GET /jira/hang HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes())
            .await
            .unwrap();
        crowd.push(stream);
    }
    drop(crowd);
    assert_eq!(bench.get("/jira/echo").await.status, 200);
    assert!(tunnel.is_usable());
    bench.is_calm(1).await;
}

#[tokio::test]
async fn rapid_resets_in_http2_cost_at_most_their_own_connection() {
    let bench = Bench::new().await;
    let (_agent, tunnel) = connected(&bench).await;
    let http2 = bench.http2().await;
    for _ in 0..20 {
        let burst: Vec<_> = (0..50)
            .map(|_| {
                let request = http::Request::get(format!("https://{HOST}/jira/hang"));
                let mut sender = http2.clone();
                Box::pin(async move {
                    let request = request.body(http_body_util::Full::<bytes::Bytes>::default()).unwrap();
                    // Sent, and given up at once.
                    let _ =
                        tokio::time::timeout(Duration::from_millis(1), sender.send_request(request)).await;
                })
            })
            .collect();
        futures_util::future::join_all(burst).await;
    }
    assert_eq!(bench.get("/jira/echo").await.status, 200);
    assert!(tunnel.is_usable());
    drop(http2);
    bench.is_calm(1).await;
}
