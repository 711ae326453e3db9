//! From nothing to a certificate, and on to the next one.

use http::StatusCode;

use super::site::{Differs, Site, name};
use crate::support::client::plain_get;

const ISSUE: &str = "/jira/rest/api/2/issue/TEST-1";

#[tokio::test]
#[ignore = "needs Pebble: `ONLY=acme make test`"]
async fn a_certificate_comes_through_relay_and_tunnel_and_its_key_stays() {
    let mut site = Site::start(Differs::default()).await;
    let first = site.certified().await;
    let (pin, serial) = (first["pin"].clone(), first["serial"].clone());
    assert!(first["issuer"].as_str().unwrap().contains("Pebble"), "{first}");
    assert_eq!(
        (first["next_why"].as_str(), first["failures"].as_u64()),
        (Some("renewal"), Some(0)),
        "{first}"
    );
    let client = site.client().await;
    let answer = client.get(&name(), ISSUE).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");

    // Nobody asked for it: what an authority would be answered with is refused.
    let refused = site.knock(&name(), &[b"acme-tls/1"]).await;
    assert!(refused.is_err(), "{refused:?}");
    let shown = site.knock(&name(), &[b"acme-tls/1", b"http/1.1"]).await.unwrap();
    let acme_identifier = [0x2b, 6, 1, 5, 5, 7, 1, 31];
    assert!(!shown.windows(8).any(|window| window == acme_identifier), "an ordinary certificate");

    // Renewal by hand: another certificate, the same key.
    let renewed = site.running.world.agent(&["certificate", "renew", "--json"]).await.json();
    assert_ne!(renewed["serial"], serial);
    assert_eq!(renewed["pin"], pin);
    assert_eq!(client.get(&name(), ISSUE).await.unwrap().status, StatusCode::OK);
    let shown = site.knock(&name(), &[b"http/1.1"]).await.unwrap();
    assert_eq!(pin_of(&shown), pin.as_str().unwrap());

    // A new key is known before it is used, and is used with the next certificate.
    let rotated = site.running.world.agent(&["certificate", "rotate-key", &name(), "--json"]).await.json();
    let next_pin = rotated["next_pin"].clone();
    assert_ne!(next_pin, pin);
    let line = site.line().await;
    assert_eq!((&line["pin"], &line["next_pin"]), (&pin, &next_pin));
    // It outlives a restart, and a restart orders nothing.
    let orders = site.pebble.orders();
    assert_eq!(orders, 2, "{}", site.pebble.log());
    site.restart().await;
    let line = site.certified().await;
    assert_eq!(line["serial"], renewed["serial"]);
    assert_eq!((&line["pin"], &line["next_pin"]), (&pin, &next_pin));
    assert_eq!(client.get(&name(), ISSUE).await.unwrap().status, StatusCode::OK);
    let renewed = site.running.world.agent(&["certificate", "renew", "--json"]).await.json();
    assert_eq!((&renewed["pin"], renewed["next_pin"].is_null()), (&next_pin, true));
    let shown = site.knock(&name(), &[b"http/1.1"]).await.unwrap();
    assert_eq!(pin_of(&shown), next_pin.as_str().unwrap());
    assert_eq!(site.pebble.orders(), orders + 1, "a restart orders nothing");

    // It is seen everywhere.
    let status = site.running.world.agent(&["status"]).await;
    assert!(status.out.contains(next_pin.as_str().unwrap()), "{status:?}");
    let metrics = plain_get(site.metrics, "/metrics").await;
    let ends = format!("outhaul_agent_certificate_ends_seconds{{name=\"{}\"}}", name());
    let ends =
        metrics.lines().find_map(|line| line.strip_prefix(&ends)).unwrap_or_else(|| panic!("{metrics}"));
    assert!(ends.trim().parse::<f64>().unwrap() > 1.7e9, "{ends}");
    let audit = site.running.world.agent(&["audit", "list", "--json"]).await;
    for event in ["certificate-issued", "certificate-renewal", "certificate-key"] {
        assert!(audit.out.contains(event), "{event} in {audit:?}");
    }
    // No key ever reaches a log or an answer.
    let log = site.running.agent.log();
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

#[tokio::test]
#[ignore = "needs Pebble: `ONLY=acme make test`"]
async fn caa_lines_are_printed_and_doctor_judges_those_that_are_set() {
    let site = Site::start(Differs::default()).await;
    let line = site.certified().await;
    let wanted = line["caa"][0].as_str().unwrap().to_owned();
    let value = wanted.split('"').nth(1).unwrap().to_owned();
    let report = site.running.world.agent(&["certificate", "--json"]).await.json();
    let account = report["account"].as_str().unwrap();
    assert_eq!(value, format!("pebble.example; accounturi={account}; validationmethods=tls-alpn-01"));
    let shown = site.running.world.agent(&["certificate"]).await;
    assert!(shown.out.contains(&wanted), "{shown:?}");

    let doctor = async || {
        let outcome = site.running.world.agent(&["doctor", "--json"]).await;
        let document: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
        let findings = document["findings"].as_array().unwrap().clone();
        let of = |check: &str| -> Vec<(String, String, String)> {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let found = findings.iter().filter(|finding| finding["check"] == check);
            found.map(|found| (text(&found["level"]), text(&found["text"]), text(&found["action"]))).collect()
        };
        assert_eq!(of("certificate")[0].0, "ok", "{findings:?}");
        of("CAA")
    };
    let level =
        |found: &[(String, String, String)]| found.iter().map(|found| found.0.clone()).collect::<Vec<_>>();

    // Nothing: anyone may issue. The tree was climbed.
    let found = doctor().await;
    assert_eq!(level(&found), ["warning"], "{found:?}");
    assert!(found[0].2.contains(&wanted), "the line to set is in the action: {found:?}");
    let asked = site.names.asked();
    for at in [name().as_str(), "direct.example.test", "example.test", "test"] {
        assert!(asked.iter().any(|name| name == at), "{at} in {asked:?}");
    }
    // As printed.
    site.names.set_caa(&name(), &[(0, "issue", &value)]);
    assert_eq!(level(&doctor().await), ["ok"]);
    // At a parent it counts too.
    site.names.set_caa(&name(), &[]);
    site.names.set_caa("example.test", &[(0, "issue", &value)]);
    assert_eq!(level(&doctor().await), ["ok"]);
    // And is hidden by records of the name itself.
    site.names.set_caa(&name(), &[(0, "issue", "other.example")]);
    let found = doctor().await;
    assert_eq!(level(&found), ["failure", "warning"], "{found:?}");
    // The authority without the account: the relay could order there too.
    site.names.set_caa(&name(), &[(0, "issue", "pebble.example")]);
    let found = doctor().await;
    assert_eq!(level(&found), ["warning"], "{found:?}");
    assert!(found[0].1.contains("any account"), "{found:?}");
    site.names.break_name(&name());
    assert_eq!(level(&doctor().await), ["failure"]);
}

#[tokio::test]
#[ignore = "needs Pebble: `ONLY=acme make test`"]
async fn an_account_is_bound_to_an_external_one() {
    let site = Site::start(Differs {
        external_required: true,
        lines: "external-account = { key-id = \"kid-1\", hmac-key = { file = \"AT/hmac\" } }",
        ..Differs::default()
    })
    .await;
    site.certified().await;
    let client = site.client().await;
    assert_eq!(client.get(&name(), ISSUE).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
#[ignore = "needs Pebble: `ONLY=acme make test`"]
async fn nonces_that_are_refused_are_survived() {
    // One in five; it would be one in twenty.
    let site = Site::start(Differs { settings: &["PEBBLE_WFE_NONCEREJECT=20"], ..Differs::default() }).await;
    assert!(site.pebble.log().contains("reject 20% of good nonces"), "{}", site.pebble.log());
    site.certified().await;
}

/// As `openssl x509 -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64` has it.
fn pin_of(certificate: &[u8]) -> String {
    use base64::Engine;
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, read) = X509Certificate::from_der(certificate).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, read.public_key().raw);
    format!("sha256//{}", base64::prelude::BASE64_STANDARD.encode(digest))
}
