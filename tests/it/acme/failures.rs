//! Orders that fail: what is told, and what a restart may not do.

use super::site::{Differs, Site, ZONE, name};

#[tokio::test]
#[ignore = "needs Pebble: `ONLY=acme make test`"]
async fn a_name_that_leads_elsewhere_is_told_and_a_restart_orders_nothing() {
    // Nobody listens there.
    let mut site = Site::start(Differs { elsewhere: Some([127, 0, 0, 99]), ..Differs::default() }).await;
    let line = site.failed().await;
    assert_eq!((line["failures"].as_u64(), line["orders_today"].as_u64()), (Some(1), Some(1)), "{line}");
    assert_eq!(line["next_why"], "retry", "{line}");
    assert!(line["error"]["text"].as_str().unwrap().contains("the authority refuses"), "{line}");
    assert!(line["error"]["action"].as_str().unwrap().contains("must lead to the relay"), "{line}");
    assert!(site.running.agent.log().contains("no new certificate"));
    let doctor = site.running.world.agent(&["doctor"]).await;
    assert!(doctor.code == 1 && doctor.out.contains("must lead to the relay"), "{doctor:?}");
    let status = site.running.world.agent(&["status"]).await;
    assert!(status.out.contains("NO CERTIFICATE YET"), "{status:?}");

    let orders = site.pebble.orders();
    for _ in 0..3 {
        site.restart().await;
        let line = site.line().await;
        assert_eq!((line["failures"].as_u64(), &line["next_why"]), (Some(1), &"retry".into()), "{line}");
    }
    assert_eq!(site.pebble.orders(), orders, "{}", site.pebble.log());

    // Put right, and asked for by hand: the wait does not count, and the failures are forgotten.
    let refused = site.running.world.agent(&["certificate", "renew"]).await;
    assert!(refused.code == 1 && refused.err.contains("must lead to the relay"), "{refused:?}");
    site.names.lead(&name(), [127, 0, 0, 1]);
    let renewed = site.running.world.agent(&["certificate", "renew", "--json"]).await.json();
    assert_eq!((renewed["failures"].as_u64(), renewed["error"].is_null()), (Some(0), true), "{renewed}");
    let unknown = site.running.world.agent(&["certificate", "renew", "other.example.test"]).await;
    assert!(unknown.err.contains("no certificate is ordered for"), "{unknown:?}");
}

#[tokio::test]
#[ignore = "needs Pebble: `ONLY=acme make test`"]
async fn a_crash_within_an_order_is_a_failed_try_and_no_more() {
    // It takes its time for the look at the name.
    let mut site = Site::start(Differs {
        settings: &["PEBBLE_VA_NOSLEEP=0", "PEBBLE_VA_SLEEPTIME=5"],
        ..Differs::default()
    })
    .await;
    let mut agent_log = String::new();
    for _ in 0..3 {
        if site.pebble.orders() == 0 {
            site.pebble.line("There are now 1 orders in the db").await;
        }
        agent_log.push_str(&site.running.agent.log());
        site.running.agent.kill();
        site.again().await;
    }
    let line = site.line().await;
    assert_eq!(site.pebble.orders(), 1, "{}", site.pebble.log());
    assert_eq!((line["failures"].as_u64(), &line["next_why"]), (Some(1), &"retry".into()), "{line}");
    assert!(line["error"]["text"].as_str().unwrap().contains("stopped while"), "{line}");
    let renewed = site.running.world.agent(&["certificate", "renew", "--json"]).await.json();
    assert_eq!(renewed["failures"].as_u64(), Some(0), "{renewed}\n{agent_log}");
}

#[tokio::test]
#[ignore = "needs Pebble: `ONLY=acme make test`"]
async fn an_account_that_the_authority_lost_is_made_anew() {
    let mut site = Site::start(Differs::default()).await;
    let before = site.certified().await;
    let world = &site.running.world;
    let account = world.agent(&["certificate", "--json"]).await.json()["account"].clone();
    site.pebble.begin_anew().await;
    let refused = world.agent(&["certificate", "renew"]).await;
    assert!(refused.code == 1 && refused.err.contains("accountDoesNotExist"), "{refused:?}");
    assert!(refused.err.contains("set the CAA lines"), "{refused:?}");
    let renewed = world.agent(&["certificate", "renew", "--json"]).await.json();
    assert_eq!(renewed["pin"], before["pin"]);
    assert_ne!(renewed["serial"], before["serial"]);
    let report = world.agent(&["certificate", "--json"]).await.json();
    assert!(report["account"].is_string() && report["account"] != account, "{report}");
    assert_ne!(report["certificates"][0]["caa"], before["caa"]);
    assert!(site.running.agent.log().contains("the CAA lines change"), "{}", site.running.agent.log());
}

#[tokio::test]
#[ignore = "needs Pebble: `ONLY=acme make test`"]
async fn a_challenge_is_answered_for_its_name_and_as_long_as_its_order() {
    let mut site = Site::start(Differs {
        settings: &["PEBBLE_VA_NOSLEEP=0", "PEBBLE_VA_SLEEPTIME=5"],
        ..Differs::default()
    })
    .await;
    site.pebble.line("Pulled a task from the Tasks queue").await;
    // It is no certificate that a client takes; an authority looks for the extension.
    let shown = site.knock(&name(), &[b"acme-tls/1"]).await.unwrap_err();
    assert!(shown.contains("invalid peer certificate"), "{shown}");
    for (asked, protocols) in [
        (name(), &[&b"acme-tls/1"[..], b"h2"][..]),
        (name(), &[b"h2"]),
        (format!("other.{ZONE}"), &[b"acme-tls/1"]),
    ] {
        let refused = site.knock(&asked, protocols).await.unwrap_err();
        assert!(!refused.contains("invalid peer certificate"), "{asked} {protocols:?}: {refused}");
    }
    site.certified().await;
    let refused = site.knock(&name(), &[b"acme-tls/1"]).await.unwrap_err();
    assert!(!refused.contains("invalid peer certificate"), "{refused}");
}

#[tokio::test]
#[ignore = "needs Pebble: `ONLY=acme make test`"]
async fn without_the_binding_that_an_authority_wants_no_account_is_made() {
    let site = Site::start(Differs { external_required: true, ..Differs::default() }).await;
    crate::support::eventually("the refusal is told", std::time::Duration::from_secs(30), async || {
        let shown = site.running.world.agent(&["certificate"]).await;
        shown.out.contains("NO ACCOUNT") && shown.out.contains("set external-account under")
    })
    .await;
    assert_eq!(site.pebble.orders(), 0);
    let doctor = site.running.world.agent(&["doctor"]).await;
    assert!(doctor.code == 1 && doctor.out.contains("external-account"), "{doctor:?}");
}
