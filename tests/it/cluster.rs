//! Agent and relay before a cluster: the stand-in for Jira with several nodes, limits, and moods of its own.

use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::eventually;
use crate::support::jira::Jira;
use crate::support::world::{Running, World, host};

const ISSUE: &str = "/jira/rest/api/2/issue/DEMO-1";
const COMMENT: &str = "/jira/rest/api/2/issue/DEMO-1/comment";

/// A site whose upstream is all of the stand-in's nodes.
async fn site(jira: &Jira) -> Running {
    let world = World::new("NODES");
    world.edit_agent("\"NODES\"", &jira.list());
    world.edit_agent("user = \"reader\"", "user = \"svc-outhaul\"");
    Running::start(world).await
}

/// Waits until the agent sees its nodes so.
async fn seen(site: &Running, wanted: &[&str]) {
    // A node that was up is asked every 15 s.
    eventually(&format!("nodes seen as {wanted:?}"), Duration::from_secs(40), async || {
        let status = site.world.status().await;
        let nodes = status["upstreams"][0]["nodes"].as_array().unwrap();
        nodes.iter().map(|node| node["health"].as_str().unwrap()).eq(wanted.iter().copied())
    })
    .await;
}

/// Many calls at once; which nodes they came from, each name once.
async fn answering(site: &Running) -> Vec<String> {
    let host = host();
    let calls = (0..40).map(|_| site.client.get(&host, ISSUE));
    let mut nodes = Vec::new();
    for answer in join_all(calls).await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        nodes.push(answer.headers["x-anodeid"].to_str().unwrap().to_owned());
    }
    nodes.sort();
    nodes.dedup();
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_run_gets_no_calls() {
    let jira = Jira::start(4, &[]).await;
    // One says so by its code; two only by their state.
    for (node, state) in [("node2", "MAINTENANCE"), ("node3", "STARTING"), ("node4", "STOPPING")] {
        jira.post(&format!("/node/{node}/status/{state}")).await;
    }
    let site = site(&jira).await;
    seen(&site, &["up", "down", "down", "down"]).await;
    assert_eq!(answering(&site).await, ["node1"]);
    assert_eq!(jira.calls().await[1..], [0, 0, 0]);
    let nodes = site.world.status().await["upstreams"][0]["nodes"].clone();
    assert!(nodes[1]["detail"].as_str().unwrap().contains("MAINTENANCE"), "{nodes}");
    assert!(nodes[2]["detail"].as_str().unwrap().contains("STARTING"), "{nodes}");

    // One comes back, the one that served goes: no call is lost once the agent knows.
    jira.post("/node/node3/status/RUNNING").await;
    seen(&site, &["up", "down", "up", "down"]).await;
    assert_eq!(answering(&site).await, ["node1", "node3"]);
    jira.post("/node/node1/status/MAINTENANCE").await;
    seen(&site, &["down", "down", "up", "down"]).await;
    let before = jira.calls().await;
    assert_eq!(answering(&site).await, ["node3"]);
    let after = jira.calls().await;
    assert_eq!((after[0], after[1], after[3]), (before[0], 0, 0));
    assert_eq!(after[2], before[2] + 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_503_has_its_node_asked_at_once() {
    let jira = Jira::start(2, &[]).await;
    let site = site(&jira).await;
    seen(&site, &["up", "up"]).await;
    // It has just been asked, and would not be again for 15 s.
    let asked = jira.asked("node2").await;
    eventually("node2 is asked again", Duration::from_secs(40), async || jira.asked("node2").await > asked)
        .await;
    jira.post("/node/node2/status/MAINTENANCE").await;
    let mut refused = 0;
    for _ in 0..4 {
        let answer = site.client.get(&host(), ISSUE).await.unwrap();
        assert_eq!(answer.problem(), None, "Jira's own answer passes");
        refused += usize::from(answer.status == StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!((1..=2).contains(&refused), "{refused} of 4 met it in turn");
    eventually("node2 is seen down", Duration::from_secs(8), async || {
        site.world.status().await["upstreams"][0]["nodes"][1]["health"] == "down"
    })
    .await;
    assert_eq!(answering(&site).await, ["node1"]);
}

/// The headers of rate limiting, as they came.
fn budget(headers: &HeaderMap) -> Vec<String> {
    ["limit", "remaining", "fillrate", "interval-seconds"]
        .iter()
        .map(|name| format!("x-ratelimit-{name}"))
        .chain(["retry-after".to_owned()])
        .map(|name| headers.get(&name).map_or("", |value| value.to_str().unwrap()).to_owned())
        .collect()
}

/// The same status, type and bytes, and nothing of ours.
fn same(found: &Answer, wanted: &Answer) {
    assert_eq!((found.status, &found.body), (wanted.status, &wanted.body));
    assert_eq!(found.headers["content-type"], wanted.headers["content-type"]);
    assert_eq!(found.problem(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_passes_as_it_is_and_nothing_is_tried_again() {
    let jira = Jira::start(2, &["--manual-clock", "--switch", "framing=length"]).await;
    let site = site(&jira).await;
    seen(&site, &["up", "up"]).await;
    let limits = |more: Value| {
        let mut limits = json!({ "capacity": 2, "fill-rate": 1, "interval-seconds": 30 });
        limits.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        limits.to_string()
    };

    // Two tokens at each of two nodes, taken in turn; then each refuses, and neither refusal is tried elsewhere.
    jira.order(Method::POST, "/rate-limit", &limits(json!({}))).await;
    let before: u64 = jira.calls().await.iter().sum();
    for left in ["1", "1", "0", "0"] {
        let answer = site.client.get(&host(), ISSUE).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(budget(&answer.headers), ["2", left, "1", "30", "0"]);
    }
    let direct = jira.direct(0, Method::GET, "/rest/api/2/issue/DEMO-1", "").await;
    assert_eq!(direct.status, StatusCode::TOO_MANY_REQUESTS);
    for _ in 0..4 {
        let answer = site.client.get(&host(), ISSUE).await.unwrap();
        same(&answer, &direct);
        assert_eq!(budget(&answer.headers), ["2", "0", "1", "30", "30"]);
        assert_eq!(answer.headers["x-ausername"], "svc-outhaul");
    }
    let comment = json!({ "body": "too much" });
    let answer = site.client.send(Method::POST, &host(), COMMENT, &comment).await.unwrap();
    same(&answer, &direct);
    let after: u64 = jira.calls().await.iter().sum();
    assert_eq!(after - before, 4 + 1 + 4 + 1, "each call once");

    // A blocked user's number means for ever; it passes as it is, for the caller to read. Every shape of body does.
    jira.order(Method::POST, "/rate-limit", &limits(json!({ "blocked": ["svc-outhaul"] }))).await;
    for shape in ["message", "core", "html"] {
        jira.post(&format!("/switch/rate-limit-body/{shape}")).await;
        let direct = jira.direct(1, Method::GET, "/rest/api/2/issue/DEMO-1", "").await;
        let answer = site.client.get(&host(), ISSUE).await.unwrap();
        same(&answer, &direct);
        assert_eq!(budget(&answer.headers), ["0", "0", "0", "30", "9223372036854775807"]);
    }
    // Jira's limits say nothing of a node's health.
    seen(&site, &["up", "up"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_mode_and_a_late_index_are_jiras_own_affair() {
    let jira = Jira::start(2, &["--manual-clock", "--switch", "framing=length"]).await;
    let site = site(&jira).await;
    seen(&site, &["up", "up"]).await;
    let comment = json!({ "body": "now?" });

    jira.order(Method::POST, "/read-only", r#"{"message":"Upgrade at noon"}"#).await;
    for (switch, status) in
        [("503", StatusCode::SERVICE_UNAVAILABLE), ("405", StatusCode::METHOD_NOT_ALLOWED)]
    {
        jira.post(&format!("/switch/read-only-refusal/{switch}")).await;
        let path = "/rest/api/2/issue/DEMO-1/comment";
        let direct = jira.direct(0, Method::POST, path, &comment.to_string()).await;
        assert_eq!(direct.status, status);
        let before: u64 = jira.calls().await.iter().sum();
        let answer = site.client.send(Method::POST, &host(), COMMENT, &comment).await.unwrap();
        same(&answer, &direct);
        assert_eq!(jira.calls().await.iter().sum::<u64>(), before + 1, "it is not sent again");
        assert_eq!(site.client.get(&host(), ISSUE).await.unwrap().status, StatusCode::OK, "reading goes on");
    }
    let mode = site.client.get(&host(), "/jira/rest/api/2/readonly-mode").await.unwrap().json();
    assert_eq!((&mode["enabled"], &mode["message"]), (&json!(true), &json!("Upgrade at noon")));
    seen(&site, &["up", "up"]).await;
    jira.order(Method::DELETE, "/read-only", "").await;

    // A write, then reads in turn at both nodes: the database has it at once, whatever the index says.
    jira.post("/index-lag/60000").await;
    let answer =
        site.client.send(Method::POST, &host(), COMMENT, &json!({ "body": "zanzibar" })).await.unwrap();
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let search = "/jira/rest/api/2/search?jql=text~zanzibar&fields=summary";
    let mut found = Vec::new();
    for _ in 0..2 {
        let read = site.client.get(&host(), COMMENT).await.unwrap();
        assert!(String::from_utf8_lossy(&read.body).contains("zanzibar"));
    }
    for _ in 0..2 {
        let answer = site.client.get(&host(), search).await.unwrap();
        found.push((answer.headers["x-anodeid"].clone(), answer.json()["total"].as_u64().unwrap()));
    }
    found.sort_by_key(|(_, total)| *total);
    assert_ne!(found[0].0, found[1].0, "both nodes were asked");
    assert_eq!((found[0].1, found[1].1), (0, 1), "one has not learnt of it");
    jira.post("/clock/60").await;
    for _ in 0..2 {
        assert_eq!(site.client.get(&host(), search).await.unwrap().json()["total"], 1);
    }
}
