//! Relay and agent as real processes, with a small upstream: enrol, call, refuse, pause, reload, crash, recover.

use std::time::Duration;

use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::support::eventually;
use crate::support::process::text;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, ZONE, host};

#[tokio::test]
async fn a_call_reaches_the_upstream_and_comes_back() {
    let upstream = Upstream::start().await;
    let site = Running::start(World::new(&upstream.url())).await;

    // Host form.
    let answer =
        site.client.get(&host(), "/jira/rest/api/2/issue/TEST-1?fields=summary%2Cstatus").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}\n{}\n{}", site.agent.log(), site.relay.log());
    let seen = answer.json();
    assert_eq!(seen["path"], "/rest/api/2/issue/TEST-1");
    assert_eq!(seen["query"], "fields=summary%2Cstatus");
    assert_eq!(seen["headers"]["authorization"], "Bearer pat-reader");
    assert_eq!(seen["headers"]["host"], "jira.example");
    assert_eq!(answer.headers["x-ausername"], "reader");

    // Path form, with a body.
    let comment = json!({"body": "hello"});
    let path = "/s/acme/jira/rest/api/2/issue/TEST-1/comment";
    let answer = site.client.send(Method::POST, ZONE, path, &comment).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json()["path"], "/rest/api/2/issue/TEST-1/comment");
    assert_eq!(answer.json()["body"], comment.to_string());

    // What the upstream says passes, also when it is an error.
    let answer = site.client.get(&host(), "/jira/rest/api/2/x?code=404").await.unwrap();
    assert_eq!((answer.status, answer.problem()), (StatusCode::NOT_FOUND, None));

    // A large body, both ways.
    let large = vec![b'x'; 3 << 20];
    let request = Request::post("/jira/rest/api/2/issue/TEST-1/comment").body(large.into()).unwrap();
    let answer = site.client.call(&host(), request).await.unwrap();
    assert_eq!(answer.json()["length"], 3 << 20);

    // Many at once, over one or both tunnels.
    let calls = (0..50).map(|number| {
        let client = site.client.clone();
        async move { client.get(&host(), &format!("/jira/rest/api/2/issue/{number}?sleep=50")).await }
    });
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn what_may_not_pass_gets_a_problem_document() {
    let upstream = Upstream::start().await;
    let site = Running::start(World::new(&upstream.url())).await;
    let seen = upstream.seen().len();

    let answer = site.client.send(Method::DELETE, &host(), "/jira/rest/api/2/issue/TEST-1", &json!({})).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.problem()), (StatusCode::FORBIDDEN, Some("policy-refused")));
    let problem = answer.json();
    assert_eq!(problem["outcome"], "not-sent");
    assert_eq!(problem["fault"], "caller");
    assert!(problem["detail"].as_str().unwrap().contains("outhaul-agent policy explain"), "{problem}");
    assert_eq!(answer.headers["content-type"], "application/problem+json");

    let stranger = site.world.client();
    let answer = stranger.get(&host(), "/jira/rest/api/2/myself").await.unwrap();
    assert_eq!((answer.status, answer.problem()), (StatusCode::UNAUTHORIZED, Some("caller-unknown")));
    let answer = stranger.with_key("ohk_abcdefghijkl_wrong").get(&host(), "/jira/rest/api/2/myself").await;
    assert_eq!(answer.unwrap().problem(), Some("caller-unknown"));
    for path in ["/jira/rest/api/2/../2/myself", "/jira/rest/api/2/%2e%2e/x", "/jira/rest//api/2/x"] {
        let answer = site.client.get(&host(), path).await.unwrap();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {answer:?}");
    }
    assert_eq!(site.client.get(&host(), "/wiki/x").await.unwrap().status, StatusCode::NOT_FOUND);
    assert_eq!(upstream.seen().len(), seen, "nothing of it reached the upstream");

    // A removed caller's key no longer works, a rotated one's neither.
    let rotated = site.world.agent(&["caller", "rotate", "bot", "--json"]).await.json();
    let old = site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap();
    assert_eq!(old.problem(), Some("caller-unknown"));
    let fresh = site.client.with_key(rotated["key"].as_str().unwrap());
    assert_eq!(fresh.get(&host(), "/jira/rest/api/2/myself").await.unwrap().status, StatusCode::OK);
    assert_eq!(site.world.agent(&["caller", "remove", "bot"]).await.code, 0);
    let answer = fresh.get(&host(), "/jira/rest/api/2/myself").await.unwrap();
    assert_eq!(answer.problem(), Some("caller-unknown"));
}

#[tokio::test]
async fn status_pause_and_resume() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let world = &site.world;
    eventually("both tunnels are up", Duration::from_secs(10), async || {
        let status = world.status().await;
        status["relay"]["tunnels"].as_array().unwrap().iter().all(|tunnel| tunnel["connected"] == true)
            && status["upstreams"][0]["health"] == "up"
    })
    .await;
    let status = world.status().await;
    assert_eq!(status["relay"]["site"], "acme");
    assert_eq!(status["relay"]["tunnels"].as_array().unwrap().len(), 2);
    assert_eq!(status["relay"]["tunnels"][0]["binding"], "direct");
    assert_eq!(status["relay"]["tunnels"][0]["role"], "active");
    assert_eq!(status["callers"], 1);
    assert_eq!(status["policy"]["rules"], 2);
    let shown = world.agent(&["status"]).await;
    assert!(shown.code == 0 && shown.out.contains("tunnel 1  connected since"), "{shown:?}");
    assert!(world.agent(&["caller", "list"]).await.out.contains("ohk_"));

    assert_eq!(world.agent(&["pause"]).await.code, 0);
    let answer = site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap();
    assert_eq!((answer.status, answer.problem()), (StatusCode::SERVICE_UNAVAILABLE, Some("paused")));

    // It stays so over a restart; and an orderly stop is an orderly end.
    site.agent.signal("TERM");
    assert!(site.agent.end().await.success(), "{}", site.agent.log());
    site.agent = world.start_agent();
    site.agent.line("connected to the relay").await;
    let answer = site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap();
    assert_eq!(answer.problem(), Some("paused"));
    assert!(world.agent(&["status"]).await.out.contains("PAUSED"));
    assert_eq!(world.agent(&["resume"]).await.code, 0);
    let answer = site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);

    // The file alone is enough.
    let file = world.path().join("agent-state/paused");
    std::fs::write(&file, "").unwrap();
    eventually("paused by hand", Duration::from_secs(5), async || {
        site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap().problem() == Some("paused")
    })
    .await;
}

#[tokio::test]
async fn a_changed_configuration_counts_and_a_wrong_one_does_not() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let world = &site.world;
    let delete = async || {
        let answer =
            site.client.send(Method::DELETE, &host(), "/jira/rest/api/2/issue/T-1", &json!({})).await;
        answer.unwrap().status
    };
    assert_eq!(delete().await, StatusCode::FORBIDDEN);

    let rule = "[[policy.rule]]\nallow = \"DELETE /rest/api/2/issue/*\"\nwhy = \"x\"\nas = \"anonymous\"\n";
    let anchor = "[[policy.rule]]\nallow = \"GET";
    world.edit_agent(anchor, &format!("{rule}{anchor}"));
    eventually("the new rule counts", Duration::from_secs(10), async || delete().await == StatusCode::OK)
        .await;

    let mark = site.agent.mark();
    world.edit_agent("why = \"Reading\"", "wy = \"Reading\"");
    site.agent.line_after(mark, "the changed configuration is wrong").await;
    assert_eq!(delete().await, StatusCode::OK, "what was read before stays in force");
    let shown = world.agent(&["status"]).await;
    assert!(shown.code == 0, "status works while the file is wrong: {shown:?}");
    assert!(shown.out.contains("THE CONFIGURATION FILE IS WRONG") && shown.out.contains("wy"), "{shown:?}");
    let reload = world.agent(&["reload"]).await;
    assert!(reload.code == 65 && reload.err.contains("wy"), "{reload:?}");
    let checked = world.agent(&["check-config"]).await;
    assert!(checked.code == 78 && checked.err.contains("wy"), "{checked:?}");

    world.edit_agent("wy = \"Reading\"", "why = \"Reading\"");
    world.edit_agent("[admin]", "[log]\nfilter = \"debug\"\n[admin]");
    let mark = site.agent.mark();
    site.agent.signal("HUP");
    site.agent.line_after(mark, "restart needed").await;
    let status = world.status().await;
    assert_eq!(status["config"]["error"], serde_json::Value::Null);
    assert_eq!(status["config"]["restart_needed"], json!(["log"]));
}

#[tokio::test]
async fn a_new_secret_counts_by_itself() {
    let upstream = Upstream::start().await;
    let site = Running::start(World::new(&upstream.url())).await;
    let file = site.world.path().join("reader.pat");
    let user = async || {
        let answer = site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap();
        (answer.status, answer.problem().map(str::to_owned))
    };
    assert_eq!(user().await.0, StatusCode::OK);
    // Somebody else's token: the upstream answers as that somebody, which is not passed on.
    crate::support::pki::write_private(&file, "pat-mallory\n");
    eventually("the new token is used", Duration::from_secs(10), async || {
        user().await.1.as_deref() == Some("identity-mismatch")
    })
    .await;
    crate::support::pki::write_private(&file, "pat-reader\n");
    eventually("and the next", Duration::from_secs(10), async || user().await.0 == StatusCode::OK).await;
}

#[tokio::test]
async fn agent_and_relay_recover_from_a_crash() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let path = "/jira/rest/api/2/myself";

    // Calls under way when the agent dies are told so at once, and which of them may be sent again.
    let (reading, writing) = (site.client.clone(), site.client.clone());
    let read = async move { reading.get(&host(), "/jira/rest/api/2/x?sleep=30000").await.unwrap() };
    let write = async move {
        let path = "/jira/rest/api/2/issue/A-1/comment?sleep=30000";
        writing.send(Method::POST, &host(), path, &json!({})).await.unwrap()
    };
    let crash = async {
        let both = async || upstream.seen().len() == 2;
        eventually("the upstream has both calls", Duration::from_secs(10), both).await;
        site.agent.kill();
    };
    let all = async { tokio::join!(read, write, crash) };
    let (read, write, ()) = tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    for (answer, retry) in [(read, "safe"), (write, "never")] {
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{answer:?}");
        let problem = answer.json();
        assert_eq!(answer.problem(), Some("agent-lost"), "{problem}");
        assert_eq!((&problem["outcome"], &problem["retry"]), (&"outcome-unknown".into(), &retry.into()));
    }
    assert_eq!(upstream.seen().len(), 2, "a call was sent twice");

    site.agent = site.world.start_agent();
    // The relay holds a call for a site it has just seen.
    let answer = site.client.get(&host(), path).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}\n{}", site.agent.log());

    site.relay.kill();
    site.relay = site.world.start_relay();
    site.relay.line("the relay is ready").await;
    let client = &site.client;
    eventually("calls work again", Duration::from_secs(5), async || {
        client.get(&host(), path).await.is_ok_and(|answer| answer.status == StatusCode::OK)
    })
    .await;
}

#[tokio::test]
async fn an_orderly_stop_lets_calls_under_way_finish() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let slow = site.client.clone();
    let under_way = async move { slow.get(&host(), "/jira/rest/api/2/x?sleep=2000").await };
    let stop = async {
        let there = async || !upstream.seen().is_empty();
        eventually("the upstream has the call", Duration::from_secs(10), there).await;
        site.agent.signal("TERM");
    };
    let (answer, ()) = tokio::join!(under_way, stop);
    assert_eq!(answer.unwrap().status, StatusCode::OK, "{}", site.agent.log());
    assert!(site.agent.end().await.success(), "{}", site.agent.log());
}

#[tokio::test]
async fn one_state_folder_serves_one_daemon() {
    let upstream = Upstream::start().await;
    let site = Running::start(World::new(&upstream.url())).await;
    let config = text(&site.world.agent_config);
    let second =
        crate::support::process::run(crate::support::process::AGENT, &["--config", config, "run"]).await;
    assert_eq!(second.code, 75, "{second:?}");
    assert!(second.err.contains("another outhaul-agent holds the state folder"), "{second:?}");
    let enrol = site.world.agent_with_input(&["enrol"], "oht_x\n").await;
    assert_eq!(enrol.code, 75, "{enrol:?}");
}

#[tokio::test]
async fn the_metrics_page_is_off_unless_asked_for() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let port = crate::support::free_port();
    world.edit_agent("[admin]", &format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n[admin]"));
    let site = Running::start(world).await;
    site.client.get(&host(), "/jira/rest/api/2/myself").await.unwrap();
    let get = async |path: &str| crate::support::client::plain_get(port, path).await;
    let metrics = get("/metrics").await;
    for line in [
        "outhaul_agent_tunnel_connected{slot=\"0\"} 1",
        "outhaul_agent_paused 0",
        "outhaul_front_answers_total{status=\"2xx\"} 1",
        "outhaul_agent_build_info{version=",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(get("/health").await.starts_with("HTTP/1.1 200"));
}
