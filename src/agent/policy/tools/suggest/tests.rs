use super::*;
use crate::agent::policy::{Denial, DeniedTarget, Place, Terms};

fn rule(file: &str, line: usize, allow: &str, service: &str, callers: &[&str]) -> Rule {
    let identity = Identity::Service(service.parse().unwrap());
    let place = Place { file: file.into(), line };
    Rule::new(allow.parse().unwrap(), "why", "jira".parse().unwrap(), identity, place)
        .for_callers(callers.iter().map(|caller| caller.parse().unwrap()).collect())
}

fn policy() -> Policy {
    let rate = Terms {
        rate: Some("1/h".parse().unwrap()),
        require: vec!["signed".parse().unwrap()],
        ..Terms::default()
    };
    let denied: DeniedTarget = "* /rest/hr/**".parse().unwrap();
    let place = Place { file: "agent.toml".into(), line: 90 };
    Policy::with_denials(
        vec![
            rule("agent.toml", 10, "GET /rest/api/2/issue/*", "reader", &["teams", "bi"]),
            rule("agent.toml", 20, "PUT /rest/api/2/issue/*", "reader", &["teams"]).with_terms(rate),
            rule("agent.toml", 30, "POST /rest/api/2/issue/*/worklog", "writer", &["bi"]),
            rule("agent.toml", 40, "GET /status", "reader", &[]),
        ],
        vec![Denial::new(denied, "nobody's business", None, place)],
    )
}

fn advise(method: &str, shape: &str, caller: &str) -> Advice {
    advise_after("policy-refused", method, shape, caller)
}

fn advise_after(code: &str, method: &str, shape: &str, caller: &str) -> Advice {
    let policy = policy();
    let shipped = |profile, line, allow: &str| Shipped {
        profile,
        for_callers: profile != "jira-provisioning",
        part: None,
        rule: rule(&format!("profile {profile}"), line, allow, "x", &[]),
        count: 9,
    };
    let shipped = [
        shipped("jira-teams", 31, "POST /rest/api/2/issue/*/comment"),
        shipped("jira-read", 4, "GET /rest/api/2/user/search"),
        shipped("jira-provisioning", 5, "GET|POST /rest/api/2/user"),
        shipped("jira-provisioning", 6, "GET /rest/api/2/user/search"),
    ];
    let ground = Ground { policy: &policy, shipped: &shipped, several: false };
    let kind = Kind {
        caller: caller.parse().unwrap(),
        upstream: "jira".parse().unwrap(),
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        shape: shape.to_owned(),
        code: code.to_owned(),
    };
    super::advise(&ground, &kind)
}

#[test]
fn a_missing_rule_is_ready_to_paste_but_for_its_reason() {
    let Advice::Add(proposal) = advise("POST", "/rest/api/2/issue/*/comment", "teams") else { panic!() };
    assert_eq!(
        proposal.toml,
        "[[policy.rule]]\n\
         allow = \"POST /rest/api/2/issue/*/comment\"\n\
         why = \"\"  # write what teams needs this for: without it the file is refused\n\
         caller = [\"teams\"]\n\
         as = { service = \"reader\" }  # as agent.toml:10 makes this caller's calls\n"
    );
    assert_eq!(proposal.in_profiles[0].place, "profile jira-teams:31");
    assert!(
        proposal
            .text("x")
            .contains("The shipped profile jira-teams has this rule: profile jira-teams:31: POST")
    );
}

#[test]
fn where_the_identity_is_not_clear_it_is_left_open() {
    let Advice::Add(proposal) = advise("POST", "/rest/api/2/issue/*/comment", "bi") else { panic!() };
    assert_eq!(proposal.identity, None);
    assert!(proposal.toml.contains("\nas = \"\"  # write \"user\""), "{}", proposal.toml);
    // One that no rule names has the identity that all have who are not named.
    let Advice::Add(proposal) = advise("POST", "/rest/api/2/issue/*/worklog", "new") else { panic!() };
    assert_eq!(proposal.identity_from.as_deref(), Some("agent.toml:40"));
    assert_eq!(proposal.for_others[0].place, "agent.toml:30");
}

#[test]
fn what_should_not_pass_or_does_already_is_not_suggested() {
    for (method, shape, caller, says) in [
        ("GET", "/rest/api/2/issue/*", "teams", "Allowed by now, by agent.toml:10"),
        (
            "PUT",
            "/rest/api/2/issue/*",
            "teams",
            "agent.toml:20 (PUT /rest/api/2/issue/*) is about these calls",
        ),
        ("GET", "/rest/pat/latest/tokens", "teams", "No rule is suggested: always-denied:"),
        ("GET", "/rest/hr/*", "teams", "agent.toml:90 denies it (* /rest/hr/**): nobody's business"),
        (
            "POST",
            "/rest/api/2/user",
            "teams",
            "profile jira-provisioning:5 (GET|POST /rest/api/2/user) is for the agent's own",
        ),
        ("TRACE", "/x", "teams", "none could say this"),
    ] {
        let text = advise(method, shape, caller).text("agent.toml");
        assert!(text.contains(says), "{method} {shape}: {text}");
    }
    assert!(matches!(advise("GET", "/rest/api/2/user/search", "teams"), Advice::Add(_)));
    // What a rule allows and was refused all the same was refused for something else.
    for code in ["rate-limited", "bad-request"] {
        let advice = advise_after(code, "GET", "/rest/api/2/issue/*", "teams");
        assert!(matches!(advice, Advice::LookCloser { .. }), "{code}: {advice:?}");
    }
}
