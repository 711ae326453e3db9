use std::time::Duration;

use bytes::Bytes;
use outhaul::identity::audit_head::{ChainHead, SignedHead};
use outhaul::identity::handshake::messages::RefuseCode;
use outhaul::identity::keys::SigningKey;
use outhaul::net::tunnel::Tunnel;
use outhaul::tunnel::code::{CloseCode, DrainCode};
use serde_json::{Value, json};

use super::bench::Bench;
use super::fake_agent::{connected, enrol};
use crate::support::eventually;

#[tokio::test]
async fn tokens_are_used_once_and_only_for_their_site() {
    let bench = Bench::new().await;
    let token = bench.token("active").await;
    enrol(&bench, &token).await.unwrap();
    assert_eq!(enrol(&bench, &token).await.err().unwrap().code, RefuseCode::TokenUsed);
    let store = bench.config.store_file();
    let spoil = async |sql: &'static str| {
        let store = store.clone();
        let done = tokio::task::spawn_blocking(move || {
            rusqlite::Connection::open(store).unwrap().execute_batch(sql)
        });
        done.await.unwrap().unwrap();
    };
    let token = bench.token("active").await;
    spoil("UPDATE registrations SET expires = 1 WHERE used_at IS NULL").await;
    assert_eq!(enrol(&bench, &token).await.err().unwrap().code, RefuseCode::TokenExpired);
    let token = bench.token("active").await;
    spoil("DELETE FROM registrations").await;
    assert_eq!(enrol(&bench, &token).await.err().unwrap().code, RefuseCode::TokenUnknown);
    bench.admin("/sites", json!({"name": "other"})).await;
    let token = bench.token("active").await;
    spoil("UPDATE registrations SET site = 'other'").await;
    assert_eq!(enrol(&bench, &token).await.err().unwrap().code, RefuseCode::WrongSite);
    bench.is_calm(0).await;
}

#[tokio::test]
async fn a_newer_connect_replaces_and_a_copy_raises_an_alarm() {
    let bench = Bench::new().await;
    let (mut agent, first) = connected(&bench).await;
    let old = agent.joins[0];
    let second = agent.connect(&bench, 0).await.unwrap();
    assert_eq!(first.closed().await.code, CloseCode::Replaced);
    // A copy shows a state that is used up.
    let refuse = agent.connect_with(&bench, 0, Some(old), "acme").await.err();
    // The state before the last is still good until the agent shows the newer one.
    let refuse = match refuse {
        Some(refuse) => refuse,
        None => agent.connect_with(&bench, 0, Some(old), "acme").await.err().unwrap(),
    };
    assert_eq!(refuse.code, RefuseCode::CloneSuspected);
    let refuse = agent.connect_with(&bench, 0, None, "acme").await.err().unwrap();
    assert_eq!(refuse.code, RefuseCode::CloneSuspected);
    assert!(second.is_usable(), "the live session stays");
    assert_eq!(bench.get("/jira/echo").await.status, 200);
    let agents = bench.agents().await;
    assert_eq!(agents[0]["alarms"][0]["kind"], "clone-suspected");
    assert_eq!(agents[0]["alarms"][0]["count"], 2);
    let wrong = agent.connect_with(&bench, 0, Some(agent.joins[0]), "other").await.err().unwrap();
    assert_eq!(wrong.code, RefuseCode::WrongSite);
    bench.is_calm(1).await;
}

#[tokio::test]
async fn revoking_cuts_off_at_once_and_for_good() {
    let bench = Bench::new().await;
    let (mut agent, tunnel) = connected(&bench).await;
    let second = agent.connect(&bench, 1).await.unwrap();
    bench.tunnels(2).await;
    let hanging = bench.get("/jira/hang");
    let revoke = async {
        eventually("arrival", Duration::from_secs(5), async || {
            !agent.shared.heads.lock().unwrap().is_empty()
        })
        .await;
        bench.admin(&format!("/agents/{}/revoke", agent.id), Value::Null).await
    };
    let (answer, _) = tokio::join!(hanging, revoke);
    assert_eq!((answer.status.as_u16(), answer.problem()), (502, Some("agent-lost")));
    assert_eq!(
        (answer.json()["outcome"].as_str(), answer.json()["retry"].as_str()),
        (Some("outcome-unknown"), Some("safe"))
    );
    assert_eq!(tunnel.closed().await.code, CloseCode::Revoked);
    assert_eq!(second.closed().await.code, CloseCode::Revoked);
    assert_eq!(agent.connect(&bench, 0).await.err().unwrap().code, RefuseCode::Revoked);
    assert_eq!(bench.agents().await[0]["state"], "revoked");
    bench.is_calm(0).await;
}

#[tokio::test]
async fn a_standby_serves_only_what_is_stateless() {
    let bench = Bench::with("wait-time = \"1 s\"\nwait-if-seen-within = \"0 s\"\n", "").await;
    let (active, tunnel) = connected(&bench).await;
    let mut standby = enrol(&bench, &bench.token("standby").await).await.unwrap();
    let other = standby.connect(&bench, 0).await.unwrap();
    bench.tunnels(2).await;
    let status = json!({"version": "9", "upstreams": {"wiki": {"stateless": true, "health": "up"}}});
    other.send_status(Bytes::from(status.to_string()));
    eventually("status", Duration::from_secs(5), async || {
        let agents = bench.agents().await;
        agents.as_array().unwrap().iter().any(|agent| agent["upstreams"]["wiki"]["stateless"] == true)
    })
    .await;
    assert_eq!(bench.get("/wiki/echo").await.status, 200);
    assert!(standby.shared.heads.lock().unwrap().is_empty(), "the active one takes it");
    tunnel.close(CloseCode::Stopping, "");
    bench.tunnels(1).await;
    assert_eq!(bench.get("/wiki/echo").await.status, 200);
    assert_eq!(standby.shared.heads.lock().unwrap().len(), 1);
    assert_eq!(bench.get("/jira/echo").await.problem(), Some("site-offline"));
    bench.admin(&format!("/agents/{}/activate", standby.id), Value::Null).await;
    assert_eq!(bench.get("/jira/echo").await.status, 200);
    drop(active);
}

#[tokio::test]
async fn a_call_waits_for_an_agent_on_its_way() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("/jira/echo").await.problem(), Some("site-offline"), "never seen: no wait");
    let (mut agent, tunnel) = connected(&bench).await;
    tunnel.close(CloseCode::Stopping, "");
    bench.tunnels(0).await;
    let call = bench.get("/jira/echo");
    let back = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        agent.connect(&bench, 0).await.unwrap()
    };
    let (answer, tunnel) = tokio::join!(call, back);
    assert_eq!(answer.status, 200);
    assert_eq!(bench.admin(&format!("/agents/{}/drain", agent.id), Value::Null).await["tunnels"], 1);
    eventually("drain", Duration::from_secs(5), async || {
        *agent.shared.drains.lock().unwrap() == [DrainCode::Operator]
    })
    .await;
    assert!(!tunnel.is_usable());
}

#[tokio::test]
async fn a_restart_is_drained_and_survived() {
    let mut bench = Bench::new().await;
    let (mut agent, tunnel) = connected(&bench).await;
    assert!(bench.page("/ready").await.contains("200 OK"));
    assert!(bench.page("/health").await.contains("alive"));
    bench.restart().await;
    assert_eq!(tunnel.closed().await.code, CloseCode::Stopping);
    assert_eq!(*agent.shared.drains.lock().unwrap(), [DrainCode::Stopping]);
    // A call that comes before the agent does waits for it.
    let call = bench.get("/jira/echo");
    let back = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        agent.connect(&bench, 0).await.unwrap()
    };
    let (answer, _tunnel) = tokio::join!(call, back);
    assert_eq!(answer.status, 200);
    let mut permissions = Vec::new();
    for name in ["state", "state/identity.key", "state/relay.db"] {
        use std::os::unix::fs::PermissionsExt;
        permissions.push(std::fs::metadata(bench.path().join(name)).unwrap().permissions().mode() & 0o077);
    }
    assert_eq!(permissions, [0, 0, 0], "nobody else may look");
    bench.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_stop_lets_calls_end_and_cuts_off_those_that_do_not() {
    for (path, whole) in [("/jira/slow", true), ("/jira/hang", false)] {
        let mut bench = Bench::new().await;
        let (agent, tunnel) = connected(&bench).await;
        let client = bench.client.clone();
        let call = async { client.get(super::bench::HOST, path).await };
        let stop = async {
            eventually("arrival", Duration::from_secs(5), async || {
                !agent.shared.heads.lock().unwrap().is_empty()
            })
            .await;
            bench.stop(Duration::from_secs(2)).await;
        };
        let (answer, ()) = tokio::join!(call, stop);
        let answer = answer.unwrap();
        if whole {
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"slow"[..]));
        } else {
            assert_eq!((answer.status.as_u16(), answer.problem()), (502, Some("agent-lost")));
        }
        assert_eq!(tunnel.closed().await.code, CloseCode::Stopping);
    }
}

#[tokio::test]
async fn an_audit_that_went_back_or_was_rewritten_raises_an_alarm() {
    let bench = Bench::new().await;
    let (mut agent, tunnel) = connected(&bench).await;
    let (id, key) = (agent.id, agent.key.clone());
    let stranger = SigningKey::generate().unwrap().0;
    let head =
        |key: &SigningKey, number, byte, time| SignedHead::sign(id, key, number, ChainHead([byte; 32]), time);
    let tell = |tunnel: &Tunnel, head: SignedHead| {
        let document = json!({"version": "test", "upstreams": {}, "audit": head});
        tunnel.send_status(document.to_string().into());
    };
    let shown = async |what: &'static str, holds: &dyn Fn(&Value) -> bool| {
        eventually(what, Duration::from_secs(20), async || holds(&bench.agents().await[0])).await;
    };
    // Of a tunnel's heads the first is taken at once, the newest after a while.
    tell(&tunnel, head(&key, 7, 7, 1000));
    shown("kept", &|agent| agent["audit"]["number"] == 7).await;
    tell(&tunnel, head(&key, 6, 6, 999));
    let second = agent.connect(&bench, 1).await.unwrap();
    tell(&second, head(&stranger, 9, 9, 1001));
    // Taken at once; the next one only after a while.
    shown("there", &|agent| agent["tunnels"].as_array().unwrap().len() == 2).await;
    tell(&second, head(&key, 6, 6, 1002));
    shown("went back", &|agent| agent["alarms"][0]["kind"] == "audit-went-back").await;
    let agents = bench.agents().await;
    assert_eq!(agents[0]["audit"]["number"], 7, "the highest is what it is held to");
    assert_eq!(agents[0]["alarms"][0]["detail"], "its audit had 7 records and has 6 now");
    tell(&second, head(&key, 7, 8, 1003));
    let rewritten = |agent: &Value| {
        agent["alarms"].as_array().unwrap().iter().any(|alarm| alarm["kind"] == "audit-rewritten")
    };
    shown("rewritten", &rewritten).await;
    // The late one of the first tunnel, signed before the kept one, was no alarm, nor was the stranger's.
    let agents = bench.agents().await;
    let counts: Vec<_> =
        agents[0]["alarms"].as_array().unwrap().iter().map(|alarm| alarm["count"].as_u64()).collect();
    assert_eq!(counts, [Some(1), Some(1)]);
    tell(&second, head(&key, 8, 9, 1004));
    shown("goes on", &|agent| agent["audit"]["number"] == 8).await;
}
