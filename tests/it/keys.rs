//! Calls with an `Idempotency-Key` to a real agent that is killed: what was sent is not sent again, and what was
//! answered is answered as it was.

use std::time::Duration;

use http::{Method, Request};
use serde_json::json;

use crate::support::client::Answer;
use crate::support::eventually;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

const PATIENCE: Duration = Duration::from_secs(20);

/// Sends it again as long as the answer says that it was not sent: a relay may take a moment to see that an agent died.
async fn comment(site: &Running, sleep: u64, key: &str, body: &str) -> Answer {
    let path = format!("/jira/rest/api/2/issue/TEST-1/comment?sleep={sleep}");
    let mut told = None;
    eventually("it is made, or was", PATIENCE, async || {
        let request = Request::builder().method(Method::POST).uri(&path).header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(body.to_owned().into());
        let answer = site.client.call(&host(), request.unwrap()).await.unwrap();
        let settled = match answer.problem() {
            Some("idempotency-mismatch") | None => true,
            Some(_) => answer.json()["outcome"] != "not-sent",
        };
        told = Some(answer);
        settled
    })
    .await;
    told.unwrap()
}

/// kill -9, and the next process.
async fn restart(site: &mut Running) {
    site.agent.kill();
    site.agent = site.world.start_agent();
    site.agent.line("connected to the relay").await;
}

#[tokio::test]
async fn a_killed_agent_sends_no_call_with_a_key_again() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let body = json!({"body": "hello"}).to_string();
    let answered = comment(&site, 0, "answered", &body).await;
    assert_eq!(answered.status, 200);
    {
        let call = comment(&site, 60_000, "cut", &body);
        let there = eventually("the upstream has it", PATIENCE, async || upstream.seen().len() == 2);
        tokio::select! {
            answer = call => panic!("it is under way: {answer:?}"),
            () = there => {}
        }
    }
    for _ in 0..2 {
        restart(&mut site).await;
        let status = site.world.status().await;
        assert_eq!(status["idempotency"]["keys"], 2);
        assert!(status["idempotency"]["answer_bytes"].as_u64().unwrap() > 100);
        let again = comment(&site, 0, "answered", &body).await;
        assert_eq!(
            (again.status, again.headers["outhaul-replayed"].to_str().unwrap()),
            (answered.status, "true")
        );
        assert_eq!(again.json(), answered.json());
        assert_eq!(again.headers["x-ausername"], "reader");
        assert_eq!(comment(&site, 0, "answered", "{}").await.problem(), Some("idempotency-mismatch"));
        let cut = comment(&site, 60_000, "cut", &body).await;
        let document = cut.json();
        assert_eq!(
            (&document["outcome"], &document["replayed"]),
            (&json!("outcome-unknown"), &json!(true)),
            "{cut:?}"
        );
        assert_eq!(document["retry"], "never");
        assert_eq!(upstream.seen().len(), 2);
    }
}

/// Kills at any moment of many calls; each is sent again with its key until it has an end, and the upstream counts.
#[tokio::test]
async fn whatever_the_moment_of_the_kill_each_call_is_sent_once() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    for round in 0..12_u64 {
        let keys: Vec<String> = (0..8).map(|number| format!("r{round}-{number}")).collect();
        let bodies: Vec<String> = keys.iter().map(|key| json!({"body": key}).to_string()).collect();
        {
            let calls = keys.iter().zip(&bodies).map(|(key, body)| comment(&site, 20, key, body));
            // Somewhere between nothing sent and all answered.
            let moment = Duration::from_millis(5 + round * 7 % 60);
            let _ = tokio::time::timeout(moment, futures_util::future::join_all(calls)).await;
        }
        restart(&mut site).await;
        for (key, body) in keys.iter().zip(&bodies) {
            let answer = comment(&site, 20, key, body).await;
            let unknown = answer.problem().is_some() && answer.json()["outcome"] == "outcome-unknown";
            assert!(answer.status == 200 || unknown, "{answer:?}");
            let sent = upstream.seen().iter().filter(|call| call["body"].as_str() == Some(body)).count();
            assert!(sent == 1 || unknown && sent == 0, "{key} was sent {sent} times: {answer:?}");
        }
    }
}

/// Its caller leaves, the agent is told to stop, and the upstream answers only then.
#[tokio::test]
async fn a_call_that_ends_while_the_agent_stops_is_recorded() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    {
        let call = comment(&site, 3_000, "left", "{}");
        let there = eventually("the upstream has it", PATIENCE, async || upstream.seen().len() == 1);
        tokio::select! {
            answer = call => panic!("it is under way: {answer:?}"),
            () = there => {}
        }
    }
    site.agent.signal("TERM");
    site.agent.end().await;
    let listed = site.world.agent(&["audit", "list", "--json", "--limit", "3"]).await.json();
    let told: Vec<_> = listed["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| (&record["event"], &record["result"]))
        .collect();
    let nothing = json!(null);
    assert_eq!(
        told,
        [(&json!("call-intent"), &nothing), (&json!("call"), &json!(200)), (&json!("stop"), &nothing)],
        "{listed}"
    );
}
