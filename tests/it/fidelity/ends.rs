//! How calls end: a body that is short is never taken for whole, and whoever leaves is missed at the other end.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::door::{Version, empty, fed};
use crate::support::eventually;
use crate::support::odd_site::{MOUNT, OddSite, PATH};
use crate::support::odd_upstream::wire;
use crate::support::odd_upstream::{Gate, Step, seeded};

const SOON: Duration = Duration::from_secs(30);

/// Each of these heads promises more than comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_answer_is_never_a_success() {
    let site = OddSite::start().await;
    let mut tried = 0;
    for (name, framing) in [("length", "Content-Length: 400000"), ("chunked", "Transfer-Encoding: chunked")] {
        // At once, within the first frame, within the first credit, beyond it.
        for sent in [0, 1, 5000, 100_000, 300_000] {
            for (how, end) in [("close", Step::Close), ("reset", Step::Reset)] {
                let mut text = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n").into_bytes();
                if name == "chunked" {
                    // The chunk says it is longer than what comes.
                    text.extend_from_slice(b"61a80\r\n");
                }
                text.extend_from_slice(&seeded(3, sent));
                site.odd.on("short", [Step::Say(text.into()), end]);
                for version in [Version::One, Version::Two] {
                    let what = format!("{name}, {sent} bytes, then {how}, over {version:?}");
                    match site.get(version, "short").await {
                        Err(_) => {}
                        Ok(answer) => assert!(
                            answer.problem().is_some(),
                            "{what}: a clean {} with {} bytes",
                            answer.status,
                            answer.body.len()
                        ),
                    }
                    tried += 1;
                }
            }
        }
    }
    // Whole chunks, and only the last one is missing; an end in the middle of the framing.
    for cut in [
        "5\r\nwhole\r\n",
        "5\r\nwhole\r\n0",
        "5\r\nwhole\r\n0\r\n",
        "5\r\nwhole\r\n0\r\nX-Trailer: 1\r\n",
        "5\r\nwhole",
    ] {
        let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{cut}");
        site.odd.on("short", [Step::say(&text), Step::Close]);
        for version in [Version::One, Version::Two] {
            // Broken off, or told as a problem where its head had not left yet.
            let answer = site.get(version, "short").await;
            let whole = answer.as_ref().is_ok_and(|answer| answer.problem().is_none());
            assert!(!whole, "{cut:?} over {version:?}: {answer:?}");
            tried += 1;
        }
    }
    println!("short answers: {tried} tried, 0 taken for whole");
}

/// On the wire itself: no last chunk, no full length, no end of the TLS session that says “all is well”.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_answer_is_cut_on_the_wire() {
    let site = OddSite::start().await;
    let gate = Gate::new();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n";
    site.odd.on("chunks", [Step::say(head), Step::Wait(gate.clone()), Step::Close]);
    let (host, key) = (site.door.authority(), site.door.key.clone());
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let mut stream = site.door.tls(Version::One).await.unwrap();
        let request = format!(
            "GET {MOUNT}{PATH}/chunks {version}\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while wire::find(&answer, b"whole").is_none() {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
        }
        gate.open();
        let end = stream.read_to_end(&mut answer).await;
        assert!(wire::find(&answer, b"\r\n0\r\n").is_none(), "{}", String::from_utf8_lossy(&answer));
        // A caller of HTTP/1.0 has only the connection's end to go by: it must not be the orderly end of TLS.
        assert!(end.is_err(), "{version}: an unclean end is told apart: {end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_is_missed_at_the_upstream() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        // While it waits for the answer; and with half of it taken.
        let gate = Gate::new();
        gate.open();
        site.odd.on("waits", [Step::Wait(gate.clone()), Step::UntilClosed]);
        let call = site.get(version, "waits");
        tokio::select! {
            answer = call => panic!("there is none: {answer:?}"),
            () = gate.reached() => {}
        }
        let gone = async || site.odd.heard("/waits ").is_some_and(|heard| heard.is_closed());
        eventually("a call without an answer is cancelled", SOON, gone).await;

        site.odd.on(
            "endless",
            [
                Step::say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                Step::Endless(Bytes::from_static(b"5\r\nagain\r\n")),
            ],
        );
        let mut line = site.door.line(version).await.unwrap();
        let mut response =
            site.door.send(&mut line, OddSite::request(Method::GET, "endless", empty())).await.unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        drop((response, line));
        let gone = async || site.odd.heard("/endless ").is_some_and(|heard| heard.is_closed());
        eventually("an answer half taken is cancelled", SOON, gone).await;
        site.odd.forget();
    }
}

/// An upload that breaks off must not look whole: no last chunk, not the full length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_in_its_upload_never_makes_it_look_whole() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        for length in [None, Some(10)] {
            site.odd.forget();
            let arrived = Gate::new();
            arrived.open();
            let taken = if length.is_some() { 3 } else { "3\r\nabc\r\n".len() };
            site.odd.on("half", [Step::Take(taken), Step::Wait(arrived.clone()), Step::UntilClosed]);
            let (feeder, body) = fed();
            let mut request = OddSite::request(Method::POST, "half", body);
            if let Some(length) = length {
                request.headers_mut().insert("content-length", length.into());
            }
            let call = site.call(version, request);
            let leave = async {
                feeder.feed("abc").await;
                arrived.reached().await;
                // The client's library breaks the body, and with it the stream or the connection, off.
                drop(feeder);
            };
            let (answer, ()) = tokio::join!(call, leave);
            if let Ok(answer) = answer {
                assert!(answer.problem().is_some(), "{answer:?}");
            }
            let gone = async || site.odd.heard("/half ").is_some_and(|heard| heard.is_closed());
            eventually("the upload is broken off", SOON, gone).await;
            let heard = site.odd.heard("/half ").unwrap();
            let raw = heard.raw();
            assert!(heard.parsed().is_err(), "it looks whole: {}", String::from_utf8_lossy(&raw));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_leaves_is_missed_by_the_caller() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        for (method, retry) in [(Method::GET, "safe"), (Method::POST, "never")] {
            for (name, steps) in [
                ("at-once", vec![Step::Close]),
                ("reset", vec![Step::Reset]),
                ("in-the-head", vec![Step::say("HTTP/1.1 200 OK\r\nContent-Le"), Step::Close]),
                ("after-interim", vec![Step::say("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"), Step::Close]),
            ] {
                site.odd.on(name, steps);
                let before = site.odd.requests();
                let answer =
                    site.call(version, OddSite::request(method.clone(), name, empty())).await.unwrap();
                let (code, outcome) = answer.problem().unwrap();
                let what = format!("{name} {method} {version:?}: {code}");
                assert!(["upstream-broke", "upstream-answer"].contains(&code.as_str()), "{what}");
                assert_eq!(outcome, "outcome-unknown", "{what}");
                let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
                if code == "upstream-broke" {
                    assert_eq!(document["retry"], retry, "{what}");
                }
                // A read may be repeated, once, on a kept connection that turned out stale; a write never.
                let sent = site.odd.requests() - before;
                let most = if method == Method::POST { 1 } else { 2 };
                assert!((1..=most).contains(&sent), "{what}: sent {sent} times");
            }
        }
    }
}

/// Head, half a body and the end in one packet: the caller hears of it, with a status, and is not left with a
/// connection that just ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_breaks_off_at_once_is_never_silence() {
    let site = OddSite::start().await;
    let (mut broken, mut problems) = (0, 0);
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        site.odd.on("half", [Step::TakeBody, Step::say(text), Step::Close]);
        for version in [Version::One, Version::Two] {
            for _ in 0..50 {
                let mut line = site.door.line(version).await.unwrap();
                let request = OddSite::request(Method::POST, "half", empty());
                let answer = site.door.send(&mut line, request).await;
                let answer = answer.unwrap_or_else(|error| panic!("silence over {version:?}: {error:?}"));
                let is_problem = answer.headers().contains_key("outhaul-problem");
                let end = answer.into_body().collect().await;
                assert_eq!(end.is_ok(), is_problem);
                if is_problem { problems += 1 } else { broken += 1 }
            }
        }
    }
    println!(
        "answers that break off at once: {problems} told as a problem, {broken} broken off, 0 in silence"
    );
}

/// Where the rest of an upload is not wanted, HTTP/1.1 says so: the next request must not go into a connection that
/// is being closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_will_not_go_on_says_so() {
    let site = OddSite::start().await;
    let early = "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno";
    site.odd.on("early", [Step::say(early), Step::UntilClosed]);
    for path in ["early", "..;/refused"] {
        let (feeder, body) = fed();
        let mut line = site.door.line(Version::One).await.unwrap();
        let request = OddSite::request(Method::POST, path, body);
        let call = site.door.send(&mut line, request);
        let (answer, _) = tokio::join!(call, feeder.feed(vec![1; 100]));
        assert_eq!(answer.unwrap().headers()["connection"], "close", "{path}");
    }
    // And one whose body was taken goes on.
    let mut line = site.door.line(Version::One).await.unwrap();
    for _ in 0..3 {
        let request = OddSite::request(Method::POST, "x", crate::support::door::full("whole"));
        let answer = site.door.send(&mut line, request).await.unwrap();
        assert!(!answer.headers().contains_key("connection"));
        answer.into_body().collect().await.unwrap();
    }
}
