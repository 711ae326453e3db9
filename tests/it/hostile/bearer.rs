//! Callers with an API key, whose TLS the relay ends: the relay sees the key and can use it. These tests say what that
//! gives a hostile relay, and that it is no more.

use outhaul::tunnel::frame::{END_STREAM, Kind};

use super::site::{LiarSite, PATH, request};
use super::wire::{Heard, RawHead, flagged, frame};
use crate::support::odd_upstream::wire;
use crate::support::world::{World, host};

fn odd_rules(world: &World) {
    world.edit_agent(
        "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
        "[[policy.rule]]\nallow = \"GET|POST|PUT /rest/api/2/odd/**\"\nwhy = \"Tests\"\n\
         as = { service = \"reader\" }\n\n[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
    );
}

/// Control: with a key that it saw, a hostile relay forges, changes, repeats and reorders calls of that caller, on any path
/// that the policy gives it.
#[tokio::test]
async fn a_hostile_relay_can_call_as_a_bearer_whose_key_it_saw() {
    let mut site = LiarSite::start_with(odd_rules).await;
    // What a caller sent once: the relay holds it back, sends another body first, then this twice.
    let write = site.head("POST", "pay").with("content-type", "application/json");
    for body in ["{\"to\":\"mallory\"}", "{\"to\":\"alice\"}", "{\"to\":\"alice\"}"] {
        let head = write.clone().with("content-length", body.len().to_string());
        assert_eq!(site.ask(&head, body.as_bytes()).await.status, Some(200));
    }
    // The key of that call on another path.
    assert_eq!(site.get("other").await.status, Some(200));
    let arrived = site.arrived();
    let bodies: Vec<_> =
        arrived.iter().map(|call| String::from_utf8_lossy(&call.body).into_owned()).collect();
    assert_eq!(bodies, ["{\"to\":\"mallory\"}", "{\"to\":\"alice\"}", "{\"to\":\"alice\"}", ""]);
    assert_eq!(arrived[3].line, "GET /rest/api/2/odd/other");
    // It reads what comes back.
    let reply = site.get("x?seed=1&length=10").await;
    assert_eq!(reply.body.len(), 10);
}

/// The policy decides about a relay's own calls as about a caller's: no other path, method or spelling, and nothing that is
/// always denied.
#[tokio::test]
async fn a_stolen_key_reaches_no_further_than_the_policy() {
    let mut site = LiarSite::start().await;
    for (method, target, expected) in [
        ("POST", "/jira/rest/api/2/issue", "policy-refused"),
        ("DELETE", "/jira/rest/api/2/issue/A-1", "policy-refused"),
        ("GET", "/jira/secure/admin/ViewUsers.jspa", "policy-refused"),
        ("GET", "/jira/rest/pat/latest/tokens", "policy-refused"),
        ("GET", "/jira/rest/api/2/application-properties", "policy-refused"),
        ("GET", "/jira/rest/api/2/x/../../../secure/admin", "ambiguous-path"),
        ("GET", "/jira/rest/api/2/%2e%2e/%2e%2e/secure", "ambiguous-path"),
        ("GET", "/jira/rest/api/2/..%2fadmin", "ambiguous-path"),
        ("GET", "/jira/rest/api/2;x=1/admin", "ambiguous-path"),
        ("GET", "/jira//rest/api/2/x", "ambiguous-path"),
        ("GET", "/jira/rest/api/2/%252e%252e/x", "ambiguous-path"),
        ("TRACE", "/jira/rest/api/2/x", "method-refused"),
        ("PROPFIND", "/jira/rest/api/2/x", "method-refused"),
        ("CONNECT", "/jira/rest/api/2/x", "upgrade-refused"),
        ("GET", "/other/rest/api/2/x", "not-found"),
        ("GET", "/", "not-found"),
    ] {
        let head = RawHead::new(method, &host(), target).bearer(&site.key);
        let reply = site.ask(&head, b"").await;
        assert_eq!(reply.problem(), Some(expected), "{method} {target}: {reply:?}");
    }
    // The relay's own idea of where the site's path begins makes no other path of it.
    for route_length in [1, 5, 10, 11, 65_535] {
        let mut head = RawHead::new("GET", &host(), "/jira/rest/api/2/odd/x").bearer(&site.key);
        head.route_length = route_length;
        let reply = site.ask(&head, b"").await;
        assert!(reply.status != Some(200) || reply.problem().is_some(), "{route_length}: {reply:?}");
    }
    assert!(site.arrived().is_empty(), "{:?}", site.arrived());
    site.still_serves().await;
}

/// What a relay cuts off a path as its own route is `/s/` and this site's name: cut elsewhere, a call that was signed for one
/// application would reach another.
#[tokio::test]
async fn a_relay_cuts_off_no_path_but_its_own_route() {
    let mut site = LiarSite::start().await;
    for (target, route_length) in [
        ("/jira/jira/rest/api/2/odd/x", 5),
        ("/s/acmf/jira/rest/api/2/odd/x", 7),
        ("/s/acme/jira/jira/rest/api/2/odd/x", 12),
        ("/s/acm/jira/rest/api/2/odd/x", 6),
        ("/x/acme/jira/rest/api/2/odd/x", 7),
        ("/s/acmejira/jira/rest/api/2/odd/x", 11),
    ] {
        let mut head = RawHead::new("GET", &host(), target).bearer(&site.key);
        head.route_length = route_length;
        let reply = site.ask(&head, b"").await;
        assert_eq!(reply.problem(), Some("bad-request"), "{target} {route_length}: {reply:?}");
    }
    assert!(site.arrived().is_empty());
    let mut head = RawHead::new("GET", &host(), "/s/acme/jira/rest/api/2/odd/x").bearer(&site.key);
    head.route_length = 7;
    assert_eq!(site.ask(&head, b"").await.status, Some(200), "control");
}

/// Knowing one caller's key gives no other's: a changed key, an id alone, or none is nobody.
#[tokio::test]
async fn no_other_callers_key_can_be_made_from_one() {
    let mut site = LiarSite::start().await;
    let other = site.world.agent(&["caller", "add", "other", "--json"]).await.json();
    let other = other["key"].as_str().unwrap().to_owned();
    let (id, _) = other.rsplit_once('_').unwrap();
    let (_, stolen_secret) = site.key.rsplit_once('_').unwrap();
    let changed: String = other.chars().rev().collect();
    let joined = format!("{}, Bearer {}", site.key, site.key);
    for key in [id, &format!("{id}_"), &format!("{id}_{stolen_secret}"), &changed, "", "ohk_", &joined] {
        let head = RawHead::new("GET", &host(), &format!("{PATH}/x")).bearer(key);
        let reply = site.ask(&head, b"").await;
        assert_eq!((reply.status, reply.problem()), (Some(401), Some("caller-unknown")), "{key}: {reply:?}");
    }
    // Two are not one of them.
    let head = site.head("GET", "x").bearer(&other);
    assert_eq!(site.ask(&head, b"").await.problem(), Some("caller-unknown"));
    assert!(site.arrived().is_empty());
}

/// No call of a relay's goes to another host than the upstream's, whatever authority, target or field it writes.
#[tokio::test]
async fn a_relay_reaches_no_host_but_the_upstream() {
    let mut site = LiarSite::start().await;
    for authority in ["169.254.169.254", "jira.example@evil.example", "evil.example:80", "localhost", ""] {
        let head = RawHead::new("GET", authority, &format!("{PATH}/x")).bearer(&site.key);
        let head = head
            .with("host", "evil.example")
            .with("forwarded", "host=evil.example")
            .with("x-forwarded-host", "evil.example")
            .with("x-original-url", "/rest/pat")
            .with("destination", "http://evil.example/");
        site.ask(&head, b"").await;
    }
    for target in ["http://evil.example/", "//evil.example/x", "evil.example:443", "@evil.example/", "*", ""]
    {
        let head = RawHead::new("GET", &host(), target).bearer(&site.key);
        let reply = site.ask(&head, b"").await;
        assert!(reply.problem().is_some() || reply.reset.is_some(), "{target}: {reply:?}");
    }
    for call in site.arrived() {
        assert_eq!(call.headers.get_all("host").iter().collect::<Vec<_>>(), ["jira.example"], "{call:?}");
        assert!(call.line.starts_with("GET /rest/api/2/odd/"), "{call:?}");
        let text = format!("{:?}", call.headers);
        assert!(!text.contains("evil") && !text.contains("/rest/pat"), "{call:?}");
    }
    site.still_serves().await;
}

/// What a relay writes into a request's head gives it no identity, session or method: Jira sees the agent's own.
#[tokio::test]
async fn a_relays_header_fields_claim_nothing_at_jira() {
    let mut site = LiarSite::start().await;
    let head = site
        .head("GET", "x")
        .with("cookie", "JSESSIONID=1")
        .with("sudo", "admin")
        .with("x-atlassian-sudo", "admin")
        .with("x-ausername", "admin")
        .with("remote-user", "admin")
        .with("x-forwarded-user", "admin")
        .with("x-forwarded-for", "127.0.0.1")
        .with("x-http-method-override", "DELETE")
        .with("proxy-authorization", "Basic x")
        .with("x-seraph-user", "admin")
        .with("origin", "https://jira.example")
        .with("os_username", "admin");
    assert_eq!(site.ask(&head, b"").await.status, Some(200));
    let call = site.arrived().remove(0);
    let authorization: Vec<_> = call.headers.get_all("authorization").iter().collect();
    assert_eq!(authorization, ["Bearer pat-reader"], "the agent's own, and once");
    let text = format!("{:?}", call.headers);
    for claim in ["admin", "JSESSIONID", "DELETE", "127.0.0.1", "ohk_", "proxy-"] {
        assert!(!text.contains(claim), "{claim} in {text}");
    }
}

/// Nothing that a relay can ask for brings it a token of the site's: not in an answer, a head, a trailer or a refusal.
#[tokio::test]
async fn no_answer_holds_a_secret_of_the_site() {
    let mut site = LiarSite::start_with(odd_rules).await;
    // An upstream that says back what it was sent, token and all, is the one way out, and it is the upstream's.
    let mut all: Vec<Heard> = Vec::new();
    for target in
        ["/.well-known/outhaul", "/link/start", "/metrics", "/status", "/jira/rest/api/2/odd/x?length=50"]
    {
        for method in ["GET", "POST", "HEAD", "OPTIONS"] {
            let head = RawHead::new(method, &host(), target).bearer(&site.key).with("te", "trailers");
            all.push(site.ask(&head, b"").await);
        }
    }
    let head = site.head("GET", "x").with("expect", "100-continue").with("x-echo", "authorization");
    all.push(site.ask(&head, b"").await);
    let said = format!("{all:?}");
    let key_file = std::fs::read(site.world.path().join("store.key")).unwrap_or_default();
    assert!(!said.contains("pat-reader"), "{said}");
    for reply in &all {
        assert!(wire::find(&reply.body, b"pat-reader").is_none());
        assert!(key_file.is_empty() || wire::find(&reply.body, &key_file).is_none());
    }
}

/// A request cut short by the relay is never a whole one at Jira: not less body than it says, and not more.
#[tokio::test]
async fn a_truncated_or_lengthened_body_is_never_whole_at_jira() {
    let mut site = LiarSite::start_with(odd_rules).await;
    for (length, body) in [("10", "half"), ("4", "longer than it says"), ("18446744073709551616", "x")] {
        let head = site.head("POST", &format!("cut-{length}")).with("content-length", length);
        let reply = site.ask(&head, body.as_bytes()).await;
        assert!(reply.problem().is_some() || reply.reset.is_some(), "{length} {body}: {reply:?}");
    }
    // Where it says that there is none, none goes on.
    let head = site.head("POST", "none").with("content-length", "0");
    site.ask(&head, b"hidden").await;
    // A body that ends with the stream, by reset, is no end.
    let stream = site.stream();
    let head = site.head("POST", "reset");
    site.tunnel
        .say(&[frame(Kind::Open, stream, head.payload()), frame(Kind::Data, stream, "half of it")])
        .await;
    site.tunnel.say(&[frame(Kind::Reset, stream, [0, 1])]).await;
    site.still_serves().await;
    let whole: Vec<_> = site
        .odd
        .connections()
        .iter()
        .flat_map(|connection| wire::read(&connection.raw()).whole)
        .filter(|(head, _)| head.target.contains("cut-") || head.target.contains("reset"))
        .collect();
    assert!(whole.is_empty(), "{whole:?}");
    assert!(
        site.odd.connections().iter().all(|connection| wire::find(&connection.raw(), b"hidden").is_none())
    );
}

/// Control of the test above: the same body, said as long as it is, arrives.
#[tokio::test]
async fn a_body_of_its_length_arrives_whole() {
    let mut site = LiarSite::start_with(odd_rules).await;
    let head = site.head("POST", "whole").with("content-length", "4");
    assert_eq!(site.ask(&head, b"half").await.status, Some(200));
    let stream = site.stream();
    let mut frames = request(stream, &site.head("POST", "pieces"), b"one");
    frames[1].flags = 0;
    frames.push(flagged(Kind::Data, END_STREAM, stream, "two"));
    site.tunnel.say(&frames).await;
    assert_eq!(site.tunnel.heard(stream).await.status, Some(200));
    let bodies: Vec<_> = site.arrived().into_iter().map(|call| call.body).collect();
    assert_eq!(bodies, [b"half".to_vec(), b"onetwo".to_vec()]);
}
