//! A key that was once sent through the relay proves nothing in pass-through.

use super::site::start_with;
use crate::support::upstream::Upstream;
use crate::support::world::{CUSTOMER, Running, World, ZONE, direct_host};

const OWN: &str = "/jira/rest/api/2/issue/OWN-1";
const OPERATORS: &str = "/jira/rest/api/2/issue/OPERATORS-1";
const PLAIN: &str = "/jira/rest/api/2/myself";

fn rules(world: &World) {
    let rule = |issue: &str, demand: &str| {
        format!(
            "[[policy.rule]]\nallow = \"GET /rest/api/2/issue/{issue}\"\nwhy = \"Past the relay\"\n\
             require = [\"{demand}\"]\nas = {{ service = \"reader\" }}\n\n"
        )
    };
    world.edit_agent(
        "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
        &format!(
            "{}{}[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
            rule("OWN-1", "pass-through"),
            rule("OPERATORS-1", "pass-through-operator-name")
        ),
    );
}

/// Status and problem of a call to this name with this key.
async fn call(site: &Running, key: &str, host: &str, path: &str) -> (u16, Option<String>) {
    let answer = site.world.client().with_key(key).get(host, path).await.unwrap();
    if answer.problem() == Some("trust-required") {
        // By the way that would have done, the caller learns what is wrong with the key.
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        let told = detail.contains("once sent through the relay") && detail.contains("caller rotate bot");
        assert_eq!(told, host != ZONE, "{detail}");
    }
    (answer.status.as_u16(), answer.problem().map(str::to_owned))
}

/// What each way gives with a key: by the customer's name, and by the operator's.
async fn passes(site: &Running, key: &str) -> [bool; 2] {
    let mut passed = [false; 2];
    for (passed, (host, path)) in
        passed.iter_mut().zip([(CUSTOMER, OWN), (direct_host().as_str(), OPERATORS)])
    {
        *passed = match call(site, key, host, path).await {
            (200, None) => true,
            (403, Some(problem)) if problem == "trust-required" => false,
            other => panic!("{host} {path}: {other:?}"),
        };
        // Where the rule asks for nothing more, either key is served.
        assert_eq!(call(site, key, host, PLAIN).await, (200, None), "{host}");
    }
    passed
}

/// Which keys of the caller `bot` are listed as sent through the relay, the newest first.
async fn listed(site: &Running) -> Vec<bool> {
    let callers = site.world.agent(&["caller", "list", "--json"]).await.json();
    let keys = callers[0]["keys"].as_array().unwrap();
    keys.iter().map(|key| key["sent_through_relay"].as_bool().unwrap()).collect()
}

/// What `policy explain` notes of a call of `bot` that comes by pass-through.
async fn noted(site: &Running) -> bool {
    let asked = ["policy", "explain", "GET", &OWN[5..], "--caller", "bot", "--proof", "pass-through"];
    let explained = site.world.agent(&asked).await;
    assert_eq!(explained.code, 0, "{explained:?}");
    explained.out.contains("once sent through the relay")
}

#[tokio::test]
async fn a_key_sent_through_the_relay_is_no_proof_any_more_and_a_new_one_is() {
    let upstream = Upstream::start().await;
    let mut site = start_with(&upstream.url(), rules).await;
    let old = site.key.clone();
    assert_eq!(passes(&site, &old).await, [true, true], "a key that was never sent through the relay");
    assert_eq!(listed(&site).await, [false]);
    assert!(!noted(&site).await);

    // One call is enough, and it counts at once.
    assert_eq!(call(&site, &old, ZONE, "/s/acme/jira/rest/api/2/myself").await, (200, None));
    assert_eq!(passes(&site, &old).await, [false, false]);
    assert_eq!(listed(&site).await, [true]);
    assert!(noted(&site).await);
    let shown = site.world.agent(&["caller", "list"]).await.out;
    assert!(shown.contains("SENT THROUGH RELAY") && shown.contains(" yes"), "{shown}");

    let rotated = site.world.agent(&["caller", "rotate", "bot", "--grace", "1h", "--json"]).await.json();
    let fresh = rotated["key"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        assert_eq!(passes(&site, &fresh).await, [true, true]);
        assert_eq!(passes(&site, &old).await, [false, false]);
        assert_eq!(listed(&site).await, [false, true]);
        site.agent.kill();
        site.agent = site.world.start_agent();
        site.agent.line("connected to the relay").await;
    }
}

/// The answer to the first call that shows a key comes after the mark is on the disk.
#[tokio::test]
async fn an_agent_that_is_killed_right_after_the_answer_knows_the_key_as_sent() {
    let upstream = Upstream::start().await;
    let mut site = start_with(&upstream.url(), rules).await;
    for path in ["/s/acme/jira/rest/api/2/myself", "/s/acme/nothing/here"] {
        let rotated = site.world.agent(&["caller", "rotate", "bot", "--json"]).await.json();
        let key = rotated["key"].as_str().unwrap().to_owned();
        site.world.client().with_key(&key).get(ZONE, path).await.unwrap();
        site.agent.kill();
        site.agent = site.world.start_agent();
        site.agent.line("connected to the relay").await;
        assert_eq!(listed(&site).await, [true], "{path}");
        assert_eq!(passes(&site, &key).await, [false, false], "{path}");
    }
}
