//! Long bodies, slow readers, and ends of every kind: of callers, of the agent, of a tunnel.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::door::{Version, empty, full, whole};
use crate::support::eventually;
use crate::support::odd_site::{MOUNT, OddSite, PATH};
use crate::support::odd_upstream::{Gate, Step, hash, seeded, wire};

const SOON: Duration = Duration::from_secs(30);
const LARGE: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_megabytes_go_each_way_byte_for_byte() {
    let site = OddSite::start_passed().await;
    let (up, down) = (seeded(1, LARGE), seeded(2, LARGE));
    for version in [Version::One, Version::Two] {
        let request = OddSite::request(Method::POST, &format!("x?seed=2&length={LARGE}"), full(up.clone()));
        let answer = site.call(version, request).await.unwrap();
        assert_eq!(answer.headers["x-up-hash"].to_str().unwrap(), hash(&up), "{version:?}");
        assert!(answer.body == down, "{version:?}: {} bytes", answer.body.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_stalls_nobody_else_and_gets_all() {
    let site = OddSite::start_passed().await;
    let mut line = site.door.line(Version::One).await.unwrap();
    let request = OddSite::request(Method::GET, &format!("x?seed=2&length={LARGE}"), empty());
    let mut slow = site.door.send(&mut line, request).await.unwrap();
    // It has taken one piece, and takes no other while these are answered.
    let first = slow.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    for version in [Version::One, Version::Two] {
        for _ in 0..20 {
            assert_eq!(site.get(version, "x?seed=3&length=1000").await.unwrap().body.len(), 1000);
        }
    }
    let rest = whole(slow).await.unwrap().body;
    assert!([&first[..], &rest[..]].concat() == seeded(2, LARGE), "all of it, in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_leaves_is_missed_at_the_upstream_and_an_upstream_by_the_caller() {
    let site = OddSite::start_passed().await;
    for version in [Version::One, Version::Two] {
        let gate = Gate::new();
        gate.open();
        site.odd.on("waits", [Step::Wait(gate.clone()), Step::UntilClosed]);
        tokio::select! {
            answer = site.get(version, "waits") => panic!("there is none: {answer:?}"),
            () = gate.reached() => {}
        }
        let gone = async || site.odd.heard("/waits ").is_some_and(|heard| heard.is_closed());
        eventually("the call is cancelled at the upstream", SOON, gone).await;
        site.odd.forget();

        let text = "HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\nhalf";
        site.odd.on("short", [Step::say(text), Step::Reset]);
        let answer = site.get(version, "short").await;
        let taken_for_whole = answer.as_ref().is_ok_and(|answer| answer.problem().is_none());
        assert!(!taken_for_whole, "{version:?}: {answer:?}");
    }
}

/// The relay can say nothing inside a connection that it can't read; but what it does not say is “all is well”.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_agent_never_makes_an_answer_look_whole() {
    let mut site = OddSite::start_passed().await;
    let gate = Gate::new();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n";
    site.odd.on("lost", [Step::say(head), Step::Wait(gate.clone())]);
    let mut stream = site.door.tls(Version::One).await.unwrap();
    let (host, key) = (site.door.authority(), site.door.key.clone());
    // HTTP/1.0 has only the connection's end to go by.
    let request =
        format!("GET {MOUNT}{PATH}/lost HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while wire::find(&answer, b"whole").is_none() {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
    }
    site.running.agent.kill();
    let end = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("no silence");
    assert!(end.is_err(), "an unclean end is told apart: {end:?}");
}

/// DRAIN: what is idle closes at once, HTTP/2 hears GOAWAY, exchanges under way end whole; new ones find the new tunnel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_tunnel_lets_its_exchanges_finish() {
    let mut site = OddSite::start_passed().await;
    for version in [Version::One, Version::Two] {
        let gate = Gate::new();
        let body = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
        site.odd.on("late", [Step::Wait(gate.clone()), Step::say(body)]);
        let mut idle = site.door.line(version).await.unwrap();
        let seen = site.door.send(&mut idle, OddSite::request(Method::GET, "x?length=1", empty())).await;
        whole(seen.unwrap()).await.unwrap();
        let mut busy = site.door.line(version).await.unwrap();
        let call = site.door.send(&mut busy, OddSite::request(Method::GET, "late", empty()));
        let drain = async {
            gate.reached().await;
            let agents = site.running.world.relay(&["agents", "--json"]).await.json();
            let id = agents["agents"][0]["agent"].as_str().unwrap().to_owned();
            let mark = site.running.agent.mark();
            assert_eq!(site.running.world.relay(&["agent", "drain", &id]).await.code, 0);
            site.running.agent.line_after(mark, "connected to the relay").await;
            eventually("an idle connection ends", SOON, async || idle.is_closed()).await;
            gate.open();
        };
        let (answer, ()) = tokio::join!(call, drain);
        let answer = whole(answer.unwrap()).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"done"[..]), "{version:?}");
        eventually("its connection ends after it", SOON, async || busy.is_closed()).await;
        assert_eq!(site.get(version, "x?length=5").await.unwrap().body.len(), 5, "{version:?}");
    }
}
