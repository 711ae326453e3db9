use http::Method;

use super::*;
use crate::agent::policy::{
    BodyTest, Demand, Denial, DeniedTarget, Identity, Place, QueryTest, Rule, Terms, Test, Tests, Trust,
    Wanted,
};
use crate::common::limits::ByteSize;

fn place(line: usize) -> Place {
    Place { file: "agent.toml".into(), line }
}

fn rule(line: usize, allow: &str, service: &str, callers: &[&str]) -> Rule {
    let identity = match service {
        "" => Identity::Anonymous,
        "user" => Identity::User,
        name => Identity::Service(name.parse().unwrap()),
    };
    Rule::new(
        allow.parse().unwrap(),
        format!("reason {line}"),
        "jira".parse().unwrap(),
        identity,
        place(line),
    )
    .for_callers(callers.iter().map(|caller| caller.parse().unwrap()).collect())
}

fn policy() -> Policy {
    let text = |text: &str| Test::Is(vec![Wanted::Text(crate::agent::policy::Pattern::new(text))]);
    let query = QueryTest { tests: vec![("expand".into(), Test::Absent)], only: None };
    let body = BodyTest(vec![("/fields/project/key".parse().unwrap(), text("DEMO"))]);
    let types = vec!["application/json".parse().unwrap()];
    let small = Terms { accept_relay_trust: true, max_body: Some(ByteSize::kib(64)), ..Terms::default() };
    let signed = Terms { require: vec![Demand::Signed], ..Terms::default() };
    let rated = Terms { rate: Some("60/m".parse().unwrap()), ..Terms::default() };
    let denied: DeniedTarget = "* /rest/secret/**".parse().unwrap();
    Policy::with_denials(
        vec![
            rule(1, "GET /rest/api/2/issue/*", "reader", &[]).with_tests(Tests { query, ..Tests::default() }),
            rule(2, "POST /rest/api/2/issue/*/comment", "user", &["bot"]).with_terms(small),
            rule(3, "GET|POST /rest/**", "writer", &["admin"]),
            rule(4, "DELETE /rest/api/2/issue/*", "", &["admin"]).with_terms(signed),
            rule(5, "GET /status", "", &[]).with_terms(rated),
            rule(6, "POST /rest/api/2/issue", "writer", &["bot"]).with_tests(Tests {
                body,
                content_types: types,
                ..Tests::default()
            }),
        ],
        vec![Denial::new(denied, "nobody's business", None, place(20))],
    )
}

fn asked(method: &str, target: &str, caller: &str) -> Asked {
    Asked {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        upstream: "jira".parse().unwrap(),
        target: target.to_owned(),
        caller: (!caller.is_empty()).then(|| caller.parse().unwrap()),
        person: None,
        content_type: Some("application/json".to_owned()),
        body: None,
        trust: Trust::default(),
    }
}

fn text(method: &str, target: &str, caller: &str) -> String {
    explain(&policy(), &asked(method, target, caller)).to_string()
}

#[test]
fn explanations_read_like_this() {
    assert_eq!(
        text("POST", "/rest/api/2/issue/%41/comment?x=y", "bot"),
        "\
allowed: POST /rest/api/2/issue/A/comment
  upstream  jira
  caller    bot
  rule      agent.toml:2: POST /rest/api/2/issue/*/comment
  why       reason 2
  for       bot
  as        the linked user
  terms     takes the relay's word for who calls (accept-relay-trust)
  max-body  64 KB
"
    );
    assert_eq!(
        text("GET", "/rest/secret/x", "admin"),
        "\
refused: GET /rest/secret/x
  upstream  jira
  caller    admin
  denied    agent.toml:20: * /rest/secret/**
  why       nobody's business
  the caller sees 403 policy-refused: A rule of this site denies GET /rest/secret/x on jira: nobody's business. \
Ask the site's administrator if that is not meant.
"
    );
}

#[test]
fn each_near_miss_has_its_one_thing() {
    for (method, target, caller, near) in [
        (
            "POST",
            "/rest/api/2/issue/A/comment",
            "",
            "agent.toml:2: POST /rest/api/2/issue/*/comment (it is for bot)",
        ),
        ("POST", "/rest/api/2/issue/A/comment", "", "agent.toml:3: GET|POST /rest/** (it is for admin)"),
        (
            "PUT",
            "/rest/api/2/issue/A/comment",
            "bot",
            "agent.toml:2: POST /rest/api/2/issue/*/comment (it allows POST)",
        ),
        (
            "GET",
            "/rest/api/2/issue/A?expand=x",
            "",
            "agent.toml:1: GET /rest/api/2/issue/* (in the query, expand must",
        ),
        (
            "POST",
            "/rest/api/2/issue/A/comments",
            "bot",
            "agent.toml:2: POST /rest/api/2/issue/*/comment (its path has “comment” where the call has “comments”)",
        ),
        ("POST", "/rest/api/2/issue/A/comment/", "bot", "(its path has no slash at the end)"),
        ("GET", "/status/", "", "agent.toml:5: GET /status (its path has no slash at the end)"),
    ] {
        let says = text(method, target, caller);
        assert!(
            says.contains(&format!("  near      {near}")) || says.contains(near),
            "{method} {target}\n{says}"
        );
    }
    // What misses by one thing stands before what misses by two.
    let says = text("PUT", "/rest/api/2/issue/A/comment", "bot");
    assert!(says.find("toml:2").unwrap() < says.find("toml:3").unwrap(), "{says}");
}

#[test]
fn a_rule_that_fits_but_asks_for_more_is_told() {
    let says = text("DELETE", "/rest/api/2/issue/A", "admin");
    assert!(
        says.contains("rule      agent.toml:4") && says.contains("but       it requires signed"),
        "{says}"
    );
    assert!(says.contains("the caller sees 403 trust-required"), "{says}");
    let mut signed = asked("DELETE", "/rest/api/2/issue/A", "admin");
    signed.trust.is_signed = true;
    assert!(explain(&policy(), &signed).allowed);

    let mut create = asked("POST", "/rest/api/2/issue", "bot");
    let says = explain(&policy(), &create).to_string();
    assert!(says.contains("but       it looks into the body, and none is given (--body FILE)"), "{says}");
    create.body = Some(br#"{"fields":{"project":{"key":"HR"}}}"#.to_vec());
    let says = explain(&policy(), &create).to_string();
    assert!(says.contains("toml:6: POST /rest/api/2/issue (in the body, /fields/project/key must"), "{says}");
    create.body = Some(br#"{"fields":{"project":{"key":"DEMO"}}}"#.to_vec());
    assert!(explain(&policy(), &create).allowed);
    create.content_type = Some("text/plain".to_owned());
    let says = explain(&policy(), &create).to_string();
    assert!(says.contains("toml:6: POST /rest/api/2/issue (it takes application/json)"), "{says}");
    create.content_type = Some("application/json".to_owned());
    create.body = Some(vec![b' '; 65_537]);
    let says = explain(&policy(), &create).to_string();
    assert!(says.contains("the caller sees 413 body-too-large") && says.contains("max-held-body"), "{says}");
    create.body = Some(b"{".to_vec());
    let says = explain(&policy(), &create).to_string();
    assert!(says.contains("the caller sees 400 bad-request") && says.contains("can't be judged"), "{says}");
}

#[test]
fn what_can_not_be_or_is_never_allowed_is_said() {
    assert!(text("GET", "/nothing", "").contains("no rule is about this path"));
    assert!(text("GET", "/jira/status", "").contains("hint      /status would be allowed"));
    assert!(text("GET", "/a/../b", "").contains("sees 400 ambiguous-path"));
    assert!(text("GET", "/status?os_username=x", "").contains("sees 400 bad-request"));
    assert!(text("TRACE", "/status", "").contains("sees 405 method-refused"));
    let always = text("GET", "/rest/pat/latest/tokens", "admin");
    assert!(
        always.contains("denied    always-denied:") && always.contains("No rule of any site"),
        "{always}"
    );
    let says = text("GET", "/\u{1b}[2Jx", "");
    assert!(!says.contains('\u{1b}') && says.contains("sees 400"), "{says}");
}

#[test]
fn explanations_are_json_too() {
    let explanation = explain(&policy(), &asked("PUT", "/status", ""));
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["allowed"], false);
    assert_eq!(json["answer"]["code"], "policy-refused");
    assert_eq!(json["near"][0]["rule"]["place"], "agent.toml:5");
    assert_eq!(json["near"][0]["rule"]["terms"][0], "at most 60/m calls of each caller");
    assert_eq!(json["near"][0]["because"], "it allows GET, HEAD");
}
