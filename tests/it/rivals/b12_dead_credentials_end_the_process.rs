//! B12: three failed renewals of a credential end the process. Ours goes on, whichever credential is dead: the one
//! at Jira, the one at the relay, or the way to it.

use std::time::Duration;

use http::Method;

use crate::support::door::{Version, empty};
use crate::support::eventually;
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::Step;

#[tokio::test]
async fn a_dead_account_is_told_and_the_agent_lives() {
    // Jira says as whom it answered; only so a dead account is told from a missing right.
    let mut site = OddSite::start_with(|world| world.edit_agent("identity-header = \"none\"\n", "")).await;
    let refuses = "HTTP/1.1 401 Unauthorized\r\nX-AUSERNAME: anonymous\r\nContent-Length: 0\r\n\r\n";
    site.odd.on("myself", [Step::TakeBody, Step::say(refuses)]);
    site.odd.on("dead", [Step::TakeBody, Step::say(refuses)]);
    for _ in 0..5 {
        for method in [Method::GET, Method::POST] {
            let answer = site.call(Version::One, OddSite::request(method, "dead", empty())).await.unwrap();
            // The upstream saw the call, and refused it.
            let expected = ("needs-reauth".to_owned(), "outcome-unknown".to_owned());
            assert_eq!((answer.status.as_u16(), answer.problem()), (502, Some(expected)));
        }
    }
    assert!(site.running.agent.is_running());
    assert_eq!(site.get(Version::One, "x").await.unwrap().status, 200);
    // Whose the account is was asked, with its secret: the audit says so.
    let used = site.running.world.agent(&["audit", "list", "--json", "--event", "secret-used"]).await.json();
    let first = &used["records"][0];
    assert_eq!(first["detail"], "asked whose it is, after a refusal", "{used}");
    assert!(first["identity"].as_str().unwrap().starts_with("service:"), "{used}");
}

#[tokio::test]
async fn a_revoked_agent_lives_and_says_so() {
    let mut site = OddSite::start().await;
    let world = &site.running.world;
    let agents = world.relay(&["agents", "--json"]).await.json();
    let text = agents.to_string();
    let id =
        agents.pointer("/agents/0/agent").or_else(|| agents.pointer("/0/agent")).and_then(|id| id.as_str());
    let id = id.unwrap_or_else(|| panic!("an agent in {text}"));
    let mark = site.running.agent.mark();
    let revoked = world.relay(&["agent", "revoke", id]).await;
    assert_eq!(revoked.code, 0, "{revoked:?}");
    site.running.agent.line_after(mark, "revoked").await;
    let answer = site.get(Version::One, "x").await.unwrap();
    assert_eq!(answer.problem().unwrap().1, "not-sent");
    assert!(site.running.agent.is_running());
    assert_eq!(site.running.world.agent(&["status"]).await.err.matches("panicked").count(), 0);
}

#[tokio::test]
async fn a_relay_that_is_away_for_many_tries_ends_nothing() {
    let mut cutter = None;
    let mut site = OddSite::start_behind(&mut cutter).await;
    let cutter = cutter.unwrap();
    cutter.refuse(true);
    let before = cutter.refused();
    for ago in [1, 0] {
        cutter.cut(ago, crate::support::cutter::Cut::Both);
    }
    eventually("ten tries", Duration::from_secs(60), async || cutter.refused() >= before + 10).await;
    assert!(site.running.agent.is_running());
    cutter.refuse(false);
    let works = async || site.get(Version::Two, "x").await.is_ok_and(|answer| answer.status == 200);
    eventually("calls pass again", Duration::from_secs(60), works).await;
}
