//! `outhaul-agent doctor` against real faults: each is named, with what to do.

use serde_json::Value;

use crate::support::process::Outcome;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World};

/// The findings, in order, as (check, level, text and action).
fn findings(outcome: &Outcome) -> Vec<(String, String, String)> {
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let document: Value =
        serde_json::from_str(&outcome.out).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    let list = document["findings"].as_array().unwrap_or_else(|| panic!("findings in {outcome:?}")).clone();
    for finding in &list {
        if finding["level"] == "failure" || finding["level"] == "warning" {
            assert!(!word(finding, "action").is_empty(), "says what to do: {finding}");
        }
    }
    let shown = |finding: &Value| {
        let words = format!("{} {}", word(finding, "text"), word(finding, "action"));
        (word(finding, "check"), word(finding, "level"), words)
    };
    list.iter().map(shown).collect()
}

fn level<'f>(findings: &'f [(String, String, String)], check: &str) -> Option<&'f str> {
    findings.iter().find(|(name, ..)| name == check).map(|(_, level, _)| level.as_str())
}

fn words<'f>(findings: &'f [(String, String, String)], check: &str) -> &'f str {
    let found = findings.iter().find(|(name, ..)| name == check);
    found.map_or_else(|| panic!("{check} in {findings:?}"), |(.., words)| words)
}

const ORDER: &[&str] = &[
    "config",
    "store key",
    "agent",
    "agent: tunnels",
    "relay: name",
    "relay: TCP",
    "relay: TLS",
    "relay: WebSocket",
    "relay: inspection",
    "upstream",
    "clock",
];

#[tokio::test]
async fn a_healthy_site_passes_every_check_with_and_without_the_daemon() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    site.agent.line("connected to the relay").await;

    let outcome = site.world.agent(&["doctor", "--json"]).await;
    let mut found = findings(&outcome);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    // What is worth knowing about its policy is no fault.
    found.retain(|(_, level, _)| level != "note");
    assert_eq!(found.iter().map(|(check, ..)| check.as_str()).collect::<Vec<_>>(), ORDER, "a fixed order");
    assert!(found.iter().all(|(_, level, _)| level == "ok"), "{found:?}");
    assert!(words(&found, "relay: TLS").contains("TLS 1.3; the certificate is of “CN="), "{found:?}");
    // It never joins: the tunnels are the ones there were.
    assert_eq!(site.agent.log().matches("connected to the relay").count(), 2, "{}", site.agent.log());

    site.agent.signal("TERM");
    assert!(site.agent.end().await.success());
    let outcome = site.world.agent(&["doctor"]).await;
    assert_eq!(outcome.code, 0, "a warning is no failure: {outcome:?}");
    assert!(outcome.out.contains("WARNING  agent"), "{}", outcome.out);
    assert!(outcome.out.contains("-> Start it with `systemctl start outhaul-agent`"), "{}", outcome.out);
    assert!(outcome.out.contains("ok       relay: WebSocket   it takes agents"), "{}", outcome.out);
}

#[tokio::test]
async fn each_broken_step_is_named_and_ends_the_way() {
    let world = World::new("http://127.0.0.1:1/jira");
    // Nothing is enrolled, nothing runs, nothing listens.
    let outcome = world.agent(&["doctor", "--json"]).await;
    let found = findings(&outcome);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(words(&found, "store key").contains("outhaul-agent enrol"), "{found:?}");
    assert_eq!(level(&found, "relay: name"), Some("ok"));
    assert_eq!(level(&found, "relay: TCP"), Some("failure"));
    assert!(words(&found, "relay: TCP").contains("firewall"), "{found:?}");
    assert_eq!(level(&found, "relay: TLS"), None, "what can't be tried is not judged");
    assert!(words(&found, "upstream").contains("jira at http://127.0.0.1:1/jira"), "{found:?}");
    assert!(words(&found, "upstream").contains("[upstream.jira]"), "{found:?}");
    assert_eq!(level(&found, "clock"), Some("note"));

    // A certificate of nobody we trust.
    let mut relay = world.start_relay();
    relay.line("the relay is ready").await;
    world.edit_agent("ca-file", "# ca-file");
    let found = findings(&world.agent(&["doctor", "--json"]).await);
    assert_eq!(level(&found, "relay: TCP"), Some("ok"));
    assert!(words(&found, "relay: TLS").contains("authority"), "{found:?}");
    assert_eq!(level(&found, "relay: WebSocket"), None);
    world.edit_agent("# ca-file", "ca-file");

    // A host that takes no agents.
    world.edit_agent(&format!("wss://localhost:{}", world.port), &format!("wss://127.0.0.1:{}", world.port));
    let found = findings(&world.agent(&["doctor", "--json"]).await);
    assert_eq!(level(&found, "relay: TLS"), Some("ok"), "{found:?}");
    world.edit_agent("wss://127.0.0.1", "wss://no-such-host.invalid");
    let found = findings(&world.agent(&["doctor", "--json"]).await);
    assert_eq!(level(&found, "relay: name"), Some("failure"));
    assert!(words(&found, "relay: name").contains("no-such-host.invalid"), "{found:?}");
    assert_eq!(level(&found, "relay: TCP"), None);
}

#[tokio::test]
async fn a_wrong_file_is_the_first_finding_and_the_running_agent_still_speaks() {
    let upstream = Upstream::start().await;
    let site = Running::start(World::new(&upstream.url())).await;
    site.world.edit_agent("[upstream.jira]", "[upstream.jira]\nurll = 7");
    let outcome = site.world.agent(&["doctor", "--json"]).await;
    let found = findings(&outcome);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(found[0].0, "config");
    assert!(found[0].2.contains("urll"), "{found:?}");
    assert!(words(&found, "agent").contains("runs since"), "{found:?}");

    // A file that is not there.
    let missing = site.world.path().join("none.toml");
    let outcome = crate::support::process::run(
        crate::support::process::AGENT,
        &["--config", missing.to_str().unwrap(), "doctor", "--json"],
    )
    .await;
    assert_eq!(outcome.code, 1);
    assert!(findings(&outcome)[0].2.contains("config.example.toml"), "{outcome:?}");
}
