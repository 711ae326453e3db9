//! What goes through the relay unopened is nowhere in it: texts that only the two ends know, and a search of the relay for
//! them. The same search after the same calls by the terminated way, where the relay has them before it, finds each.

use http::{Method, Request};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;

use super::needles::{Needles, marker};
use super::places::{Found, in_folder, in_memory, in_open_files, in_text, may_look};
use crate::support::client::plain_get;
use crate::support::door::{AnyBody, Line, Version, full, whole};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::Step;
use crate::support::process::text;
use crate::support::world::{CUSTOMER, SITE, direct_host, host};

/// Where in a call each text stands.
const PARTS: [&str; 6] = ["path", "query", "header", "body", "answer's header", "answer's body"];

/// One text for each part of a call.
struct Canary([String; 6]);

impl Canary {
    fn new() -> Self {
        Self(PARTS.map(|_| marker().replace(['+', '/'], "x")))
    }

    fn needles(&self, key: &str) -> Needles {
        let mut needles = Needles::new();
        for (name, text) in PARTS.iter().zip(&self.0) {
            needles.add(name, text.as_bytes());
        }
        needles.add("key", key.splitn(3, '_').nth(2).unwrap().as_bytes());
        needles
    }

    /// Tells the upstream what to answer: whole, and held up in the middle.
    fn plant(&self, site: &OddSite) {
        let [.., header, body] = &self.0;
        let head = |length: usize| {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Canary: {header}\r\n\r\n{body}")
        };
        site.odd.on("whole", [Step::TakeBody, Step::say(&head(body.len()))]);
        site.odd.on("held", [Step::TakeBody, Step::say(&head(body.len() + 1)), Step::UntilClosed]);
    }

    fn request(&self, way: &str) -> Request<AnyBody> {
        let [path, query, header, body, ..] = &self.0;
        let mut request =
            OddSite::request(Method::POST, &format!("{path}/{way}?q={query}"), full(format!("[\"{body}\"]")));
        request.headers_mut().insert("x-canary", header.parse().unwrap());
        request
    }

    /// Calls by a name, in both versions of HTTP. The connections stay open, and each with a call in the midst of its answer.
    async fn fly(&self, site: &OddSite, name: &str) -> Vec<(Line, Response<Incoming>)> {
        let door = site.door.clone().by(name);
        let mut open = Vec::new();
        for version in [Version::One, Version::Two] {
            let mut line = door.line(version).await.unwrap();
            for _ in 0..3 {
                let answer = door.send(&mut line, self.request("whole")).await.unwrap();
                let answer = whole(answer).await.unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(answer.headers["x-canary"], self.0[4], "it came all the way");
                assert_eq!(answer.body, self.0[5].as_bytes());
            }
            let mut held = door.send(&mut line, self.request("held")).await.unwrap();
            let first = held.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(!first.is_empty());
            open.push((line, held));
        }
        open
    }
}

/// Everything of the relay: its memory, state, open files, log and metrics.
async fn search(site: &OddSite, needles: &Needles) -> Found {
    let running = &site.running;
    let (mut found, files) = in_folder(&running.world.path().join("relay-state"), needles);
    assert!(files > 0, "it keeps a state");
    let log = running.relay.log();
    assert!(log.contains("TRACE"), "everything is logged");
    found.extend(in_text("log", &log, needles));
    let metrics = plain_get(running.world.operator_port, "/metrics").await;
    assert!(metrics.contains("outhaul_ingress_"), "{metrics}");
    found.extend(in_text("metrics", &metrics, needles));
    if may_look() {
        let process = running.relay.id();
        found.extend(in_open_files(process, needles).0);
        let (memory, searched) = in_memory(process, needles);
        assert!(searched > 1 << 20, "{searched} bytes were searched");
        found.extend(memory);
    } else {
        eprintln!("memory and open files are not searched: only root may look");
    }
    found
}

fn has(found: &Found, place: &str, name: &str) -> bool {
    found.iter().any(|one| one.starts_with(&format!("{place}: {name}, ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_passed_call_is_in_the_relay_and_of_a_terminated_one_all() {
    let site = OddSite::start_by(&direct_host(), |world| {
        world.pass_through();
        world.edit_relay("[admin]", "[log]\nfilter = \"trace\"\n\n[admin]");
    })
    .await;
    let added = site.running.world.relay(&["site", "name", "add", SITE, CUSTOMER]).await;
    assert_eq!(added.code, 0, "{added:?}");
    let canary = Canary::new();
    canary.plant(&site);
    let needles = canary.needles(&site.running.key);

    let by_operators_name = canary.fly(&site, &direct_host()).await;
    let by_customers_name = canary.fly(&site, CUSTOMER).await;
    let found = search(&site, &needles).await;
    assert!(found.is_empty(), "{found:#?}");
    if may_look() {
        // While they are open, and by the same search.
        let (found, _) = in_memory(site.running.agent.id(), &needles);
        for name in PARTS {
            assert!(has(&found, "memory", name), "where TLS ends, {name} is in memory: {found:#?}");
        }
    }
    drop((by_operators_name, by_customers_name));
    let found = search(&site, &needles).await;
    assert!(found.is_empty(), "afterwards: {found:#?}");

    let terminated = canary.fly(&site, &host()).await;
    let found = search(&site, &needles).await;
    if may_look() {
        for name in PARTS.into_iter().chain(["key"]) {
            assert!(
                has(&found, "memory", name),
                "{name} is in the memory of a relay that ends TLS: {found:#?}"
            );
        }
    }
    drop(terminated);

    // And in its files, if it kept them there.
    let state = site.running.world.path().join("relay-state");
    std::fs::write(state.join("control"), &canary.0[0]).unwrap();
    let found = search(&site, &needles).await;
    assert!(has(&found, text(&state.join("control")), "path"), "{found:#?}");
}
