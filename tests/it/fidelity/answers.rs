//! Answers that no good server sends: each passes with its one meaning, or is refused, or breaks off. The list is
//! `tests/vectors/answers.txt`.

use std::time::Duration;

use http::Method;

use crate::support::door::{Version, Whole, empty, full};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::{Step, hash, wire};
use crate::support::vectors;

/// Whether an answer became what the table says.
fn judge(expected: &str, got: &Result<Whole, String>) -> bool {
    let mut words = expected.splitn(3, ' ');
    match (words.next().unwrap(), words.next(), words.next(), got) {
        ("passes", Some(status), body, Ok(answer)) => {
            answer.problem().is_none()
                && answer.status.as_str() == status
                && answer.body == body.unwrap_or("").as_bytes()
                && answer.headers.get_all("content-length").iter().count() <= 1
        }
        ("problem", Some(expected), _, Ok(answer)) => {
            // The upstream saw these calls, so no answer may say that it did not.
            answer.problem().is_some_and(|(code, outcome)| code == expected && outcome == "outcome-unknown")
        }
        ("broken", _, _, got) => got.as_ref().map_or(true, |answer| answer.problem().is_some()),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_answers_have_one_meaning_or_none() {
    let site = OddSite::start_with(|world| {
        world.edit_agent("max-connections = 256\n", "max-connections = 256\nfirst-byte-timeout = \"3 s\"\n");
    })
    .await;
    let vectors = vectors::read("answers.txt");
    let mut wrong = Vec::new();
    for vector in &vectors {
        let bytes = vector.bytes(|_| None);
        site.odd.on("odd", [Step::Say(bytes.into()), Step::Close]);
        for version in [Version::One, Version::Two] {
            let got = site.get(version, "odd").await;
            if !judge(&vector.expected, &got) {
                wrong
                    .push(format!("{}, {version:?}: expected {}, got {got:?}", vector.name, vector.expected));
            }
            // What was behind an answer is never the next call's.
            let next = site.get(version, "x?seed=1&length=5").await.unwrap();
            assert_eq!((next.status.as_u16(), next.body.len()), (200, 5), "after {}", vector.name);
        }
    }
    println!("odd answers: {} tried over both versions, {} wrong", vectors.len(), wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A second answer that nobody asked for, on a connection that stays: it must not be the next call's answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_too_many_is_nobodys() {
    let site = OddSite::start().await;
    let good = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (name, text) in [
        ("at-once", format!("{good}{evil}")),
        ("twice", format!("{good}{evil}{evil}")),
        ("half", format!("{good}HTTP/1.1 200 O")),
        ("line-ends", format!("{good}\r\n\r\n")),
    ] {
        site.odd.on(name, [Step::say(&text)]);
        for _ in 0..50 {
            assert_eq!(&site.get(Version::One, name).await.unwrap().body[..], b"good");
            let next =
                tokio::time::timeout(Duration::from_secs(20), site.get(Version::One, "x?seed=2&length=9"));
            let next = next.await.unwrap().unwrap();
            assert_eq!((next.status.as_u16(), next.body.len()), (200, 9), "after {name}");
        }
    }
}

/// Compressed bytes are the upstream's affair and the caller's: neither unpacked nor packed on the way, whatever
/// the caller says it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_bodies_pass_untouched() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(br#"{"self":"https://jira.example/rest/api/2/issue/1"}"#).unwrap();
    let packed = encoder.finish().unwrap();
    let site = OddSite::start().await;
    for framing in [format!("Content-Length: {}", packed.len()), "Connection: close".to_owned()] {
        let mut text = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n{framing}\r\n\r\n"
        )
        .into_bytes();
        text.extend_from_slice(&packed);
        site.odd.on("packed", [Step::Say(text.into()), Step::Close]);
        for version in [Version::One, Version::Two] {
            let answer = site.get(version, "packed").await.unwrap();
            assert_eq!(answer.headers["content-encoding"], "gzip");
            assert_eq!(answer.body, packed);
        }
    }
    // And upwards.
    let mut request = OddSite::request(Method::POST, "x", full(packed.clone()));
    request.headers_mut().insert("content-encoding", http::HeaderValue::from_static("gzip"));
    let answer = site.call(Version::One, request).await.unwrap();
    assert_eq!(answer.headers["x-up-hash"], hash(&packed));
    let raw = site.odd.heard("POST ").unwrap().raw();
    assert!(wire::find(&raw, b"content-encoding: gzip").is_some());
}

/// Trailers pass to a caller that takes them, and without what may not stand in a head either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_like_heads() {
    let site = OddSite::start().await;
    let names = "X-Sum, Set-Cookie, Connection, Keep-Alive, Transfer-Encoding, Content-Length";
    let text = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: {names}\r\n\r\n2\r\nok\r\n0\r\n\
         X-Sum: \u{e4} 1\r\nX-Sum: 2\r\nSet-Cookie: JSESSIONID=1\r\nConnection: close\r\nKeep-Alive: x\r\n\
         Transfer-Encoding: gzip\r\nContent-Length: 7\r\n\r\n"
    );
    site.odd.on("trailers", [Step::say(&text)]);
    for version in [Version::One, Version::Two] {
        let mut request = OddSite::request(Method::GET, "trailers", empty());
        request.headers_mut().insert("te", http::HeaderValue::from_static("trailers"));
        let answer = site.call(version, request).await.unwrap();
        assert_eq!(&answer.body[..], b"ok");
        let trailers = answer.trailers.unwrap();
        let values: Vec<&[u8]> = trailers.get_all("x-sum").iter().map(http::HeaderValue::as_bytes).collect();
        assert_eq!(values, ["\u{e4} 1".as_bytes(), b"2"], "{version:?}");
        assert_eq!(trailers.keys().count(), 1, "{version:?}: {trailers:?}");
        let without = site.get(version, "trailers").await.unwrap();
        assert_eq!((&without.body[..], without.trailers), (&b"ok"[..], None), "{version:?}");
    }
}
