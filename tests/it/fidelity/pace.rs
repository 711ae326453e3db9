//! Nothing is held back: what one side has sent arrives before it sends more. Proven by cause, not by the clock: the
//! second piece is only sent once the first has arrived.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::door::{Version, empty, fed, full, whole};
use crate::support::odd_site::{MOUNT, OddSite, PATH};
use crate::support::odd_upstream::{Gate, Step, seeded};

/// Waits for bytes, however they are cut into frames.
async fn take(body: &mut Incoming, count: usize) -> Bytes {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let frame = tokio::time::timeout(Duration::from_secs(30), body.frame());
        let frame = frame.await.expect("a piece is not held back").unwrap().unwrap();
        bytes.extend_from_slice(&frame.into_data().unwrap());
    }
    bytes.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_piece_arrives_before_the_second_is_sent() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        for (head, first, second, end) in [
            ("Content-Length: 6", "abc", "def", ""),
            ("Transfer-Encoding: chunked", "3\r\nabc\r\n", "3\r\ndef\r\n", "0\r\n\r\n"),
            ("Connection: close", "abc", "def", ""),
        ] {
            let gates = [Gate::new(), Gate::new(), Gate::new()];
            let steps = [
                Step::Wait(gates[0].clone()),
                Step::say(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")),
                Step::Wait(gates[1].clone()),
                Step::say(first),
                Step::Wait(gates[2].clone()),
                Step::say(second),
                Step::say(end),
                Step::Close,
            ];
            site.odd.on("paced", steps);
            gates[0].open();
            let mut line = site.door.line(version).await.unwrap();
            let request = OddSite::request(Method::GET, "paced", empty());
            // The head alone, before any byte of the body.
            let mut response = site.door.send(&mut line, request).await.unwrap();
            assert_eq!(response.status(), 200);
            gates[1].open();
            assert_eq!(&take(response.body_mut(), 3).await[..], b"abc");
            gates[2].open();
            let rest = whole(response).await.unwrap();
            assert_eq!(&rest.body[..], b"def", "{version:?} {head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_piece_reaches_the_upstream_before_the_next_is_sent() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        let (arrived, done) = (Gate::new(), Gate::new());
        // Chunk by chunk, as the agent frames them: three bytes each.
        let steps = [
            Step::Take("3\r\nabc\r\n".len()),
            Step::Wait(arrived.clone()),
            Step::Take("3\r\ndef\r\n0\r\n\r\n".len()),
            Step::Wait(done.clone()),
            Step::say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ];
        site.odd.on("uploaded", steps);
        let (feeder, body) = fed();
        let call = site.call(version, OddSite::request(Method::POST, "uploaded", body));
        let steps = async {
            feeder.feed("abc").await;
            arrived.reached().await;
            arrived.open();
            feeder.feed("def").await;
            feeder.end().await;
            done.reached().await;
            done.open();
        };
        let (answer, ()) = tokio::join!(call, steps);
        assert_eq!(&answer.unwrap().body[..], b"ok", "{version:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_drips_arrives_whole() {
    let site = OddSite::start().await;
    let text = seeded(5, 3000);
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n".to_vec();
    for piece in text.chunks(7) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    site.odd.on("drip", [Step::Drip(chunked.into())]);
    for version in [Version::One, Version::Two] {
        let answer = site.get(version, "drip").await.unwrap();
        assert!(answer.body == text, "{version:?}");
        assert_eq!(answer.headers["x-a"], "1");
    }
}

/// An answer that comes while the body is still on its way: the caller hears it, whether the upstream then closes or
/// goes on reading, and the caller need not have sent all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_heard_while_the_body_is_still_being_sent() {
    let site = OddSite::start().await;
    let early = "HTTP/1.1 413 Too Much\r\nContent-Length: 8\r\n\r\ntoo much";
    for (name, after) in [("closes", Step::Close), ("resets-not", Step::UntilClosed)] {
        site.odd.on(name, [Step::Take(1000), Step::say(early), after]);
        for version in [Version::One, Version::Two] {
            let (feeder, body) = fed();
            let mut line = site.door.line(version).await.unwrap();
            let request = OddSite::request(Method::POST, name, body);
            let call = async { whole(site.door.send(&mut line, request).await?).await };
            let feed = async {
                feeder.feed(vec![7; 5000]).await;
                // It has not ended, and never will.
                feeder
            };
            let (answer, feeder) = tokio::join!(call, feed);
            let answer =
                answer.unwrap_or_else(|error| panic!("{name} {version:?}: {error:?}\n{}", site.logs()));
            assert_eq!(
                (answer.status.as_u16(), &answer.body[..]),
                (413, &b"too much"[..]),
                "{name} {version:?}"
            );
            assert_eq!(answer.problem(), None, "it is the upstream's own");
            drop(feeder);
        }
    }
}

/// A connection that is closed with bytes unread is reset, and a caller in the middle of its upload may then never see
/// the answer. So the relay goes on taking, for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_may_go_on_sending_behind_an_early_answer() {
    let site = OddSite::start().await;
    let early = "HTTP/1.1 413 Too Much\r\nContent-Length: 8\r\n\r\ntoo much";
    site.odd.on("early", [Step::say(early), Step::UntilClosed]);
    let (host, key) = (site.door.authority(), &site.door.key);
    let head = format!(
        "POST {MOUNT}{PATH}/early HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Length: 99999999\r\n\r\n"
    );
    let mut stream = site.door.tls(Version::One).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[7; 10_000]).await.unwrap();
    let mut answer = Vec::new();
    // To the end of the answer, and of the connection from the relay's side.
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.ends_with("too much"), "{answer}");
    for _ in 0..400 {
        stream.write_all(&[7; 8 << 10]).await.expect("it is still taken");
        stream.flush().await.expect("it is still taken");
    }
}

/// A caller that first sends everything and reads only then hears an early answer too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_reaches_a_caller_that_sends_all_first() {
    let site = OddSite::start().await;
    let early = "HTTP/1.1 413 Too Much\r\nConnection: close\r\nContent-Length: 8\r\n\r\ntoo much";
    site.odd.on("early", [Step::Take(1000), Step::say(early), Step::Close]);
    let body = Bytes::from(seeded(1, 4 << 20));
    for version in [Version::One, Version::Two] {
        for _ in 0..10 {
            let answer =
                site.call(version, OddSite::request(Method::POST, "early", full(body.clone()))).await;
            let answer = answer.unwrap_or_else(|error| panic!("{version:?}: {error}\n{}", site.logs()));
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (413, &b"too much"[..]), "{version:?}");
        }
    }
}
