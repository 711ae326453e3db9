//! The policy with relay and agent as real processes: bodies that a rule looks into, and a reload; and the fuzz target
//! of its decisions over its corpus and over random calls.

use std::time::Duration;

use http::{Request, StatusCode};
use proptest::prelude::*;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::eventually;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

#[path = "../../fuzz/bodies/calls.rs"]
mod fuzz_calls;

const RULES: &str = r#"[policy]
max-held-body = "4 KB"

[[policy.rule]]
allow = "POST /rest/api/2/issue"
why = "Issues of one project"
as = { service = "reader" }
body = { "/fields/project/key" = "DEMO" }

[[policy.rule]]
allow = "GET /rest/api/2/myself"
why = "Twice an hour"
as = { service = "reader" }
rate = "2/h"

[[policy.rule]]
deny = "DELETE /**"
why = "Nothing is deleted from outside"

"#;

fn world(upstream: &Upstream) -> World {
    let world = World::new(&upstream.url());
    let anchor = "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"";
    world.edit_agent(anchor, &format!("{RULES}{anchor}"));
    world
}

/// What a caller writes that waits to be asked for its body, up to the end of the head.
fn expecting(key: &str, length: usize) -> String {
    format!(
        "POST /jira/rest/api/2/issue HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\
         content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n",
        host()
    )
}

#[tokio::test]
async fn a_body_that_waits_to_be_asked_for_is_asked_for_judged_and_passed_on() {
    let upstream = Upstream::start().await;
    let site = Running::start(world(&upstream)).await;
    eventually("the relay has the agent", Duration::from_secs(10), async || {
        site.client.get(&host(), "/jira/rest/api/2/field").await.unwrap().status == StatusCode::OK
    })
    .await;
    let ask = async |body: &str, length: usize| {
        let mut stream = site.client.raw(&host()).await;
        stream.write_all(expecting(&site.key, length).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        answer.extend(first);
        let is_asked = first.starts_with(b"HTTP/1.1 100");
        if is_asked {
            stream.write_all(body.as_bytes()).await.unwrap();
        }
        // Some close without TLS's farewell.
        let _ = stream.read_to_end(&mut answer).await;
        (is_asked, String::from_utf8(answer).unwrap())
    };
    let whole = tokio::time::timeout(Duration::from_secs(30), async {
        let body = r#"{"fields": {"project": {"key": "DEMO"}}}"#;
        let (is_asked, answer) = ask(body, body.len()).await;
        assert!(is_asked && answer.contains("HTTP/1.1 200"), "{answer}");
        let seen = upstream.seen().len();
        let other = r#"{"fields": {"project": {"key": "SECRET"}}}"#;
        let (is_asked, answer) = ask(other, other.len()).await;
        assert!(is_asked && answer.contains("outhaul-problem: policy-refused"), "{answer}");
        assert!(answer.contains("/fields/project/key must be"), "{answer}");
        // What is too long is not asked for.
        let (is_asked, answer) = ask("", 5000).await;
        assert!(!is_asked && answer.contains("outhaul-problem: body-too-large"), "{answer}");
        assert_eq!(upstream.seen().len(), seen, "nothing of it reached the upstream");
    });
    whole.await.unwrap();

    // In pieces over a tunnel, and more of it than is held.
    let large = format!("{{\"fields\":{{\"project\":{{\"key\":\"DEMO\"}},\"x\":\"{}\"}}}}", "y".repeat(5000));
    let request = Request::post("/jira/rest/api/2/issue").header("content-type", "application/json");
    let answer = site.client.call(&host(), request.body(large.into()).unwrap()).await.unwrap();
    assert_eq!((answer.status, answer.problem()), (StatusCode::PAYLOAD_TOO_LARGE, Some("body-too-large")));
    let fitting = json!({"fields": {"project": {"key": "DEMO"}, "x": "y".repeat(3000)}});
    let answer = site.client.send(http::Method::POST, &host(), "/jira/rest/api/2/issue", &fitting).await;
    assert_eq!(answer.unwrap().json()["body"], fitting.to_string());
}

#[tokio::test]
async fn a_reload_counts_from_the_next_call_and_forgives_no_rate() {
    let upstream = Upstream::start().await;
    let site = Running::start(world(&upstream)).await;
    let get = async |path: &str| site.client.get(&host(), path).await.unwrap();
    for _ in 0..2 {
        assert_eq!(get("/jira/rest/api/2/myself").await.status, StatusCode::OK);
    }
    let refused = get("/jira/rest/api/2/myself").await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::TOO_MANY_REQUESTS, Some("rate-limited")));
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(get("/jira/rest/api/2/field").await.status, StatusCode::OK);

    let denies =
        "[[policy.rule]]\ndeny = \"GET /rest/api/2/field\"\nwhy = \"no more\"\n\n[[policy.rule]]\ndeny";
    site.world.edit_agent("[[policy.rule]]\ndeny", denies);
    eventually("the new rule counts", Duration::from_secs(10), async || {
        get("/jira/rest/api/2/field").await.problem() == Some("policy-refused")
    })
    .await;
    assert_eq!(get("/jira/rest/api/2/myself").await.problem(), Some("rate-limited"), "still");
}

#[tokio::test]
async fn provisioning_can_not_be_opened_to_callers() {
    let upstream = Upstream::start().await;
    let world = world(&upstream);
    world.edit_agent("[policy]\n", "[policy]\nprofiles = [\"jira-read\", \"jira-provisioning\"]\n");
    let checked = world.agent(&["check-config"]).await;
    assert_eq!(checked.code, 78, "{checked:?}");
    assert!(checked.err.contains("never for callers") && checked.err.contains("^^^^"), "{checked:?}");
}

#[test]
fn the_fuzz_corpus_passes() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/calls");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        fuzz_calls::run(&std::fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files >= 5, "{files}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn random_calls_pass_the_fuzz_body(
        method in "GET|POST|PUT|DELETE|HEAD|OPTIONS|[a-z]{1,3}",
        path in "(/(a|A|secret|rest|Rest|pat|api|2|%[67][0-9a-f]|b[a-z.]{0,3}c|d|x.json)){0,6}/?",
        query in "(\\?((q|expand|mode|%6dode)=?(names|5|x|y|%|\\+|;|&|%2b|%00)*&?){0,4})?",
        kind in "application/json(; charset=(utf-8|x))?|multipart/form-data|[a-z/]{0,6}",
        body in r#"\{"k":("v"|true|1|"\\u0076")(,"(a|k)":(\[\]|\[1\]|\{\}))?\}|[{}\[\]":,ka1]{0,12}"#,
    ) {
        fuzz_calls::run(format!("{method} {path}{query}\n{kind}\n{body}").as_bytes());
    }
}
