use super::*;
use crate::common::clock::Clock;
use crate::common::problem::Code;

fn rule(line: usize, allow: &str, identity: Identity, callers: &[&str]) -> Rule {
    let place = Place { file: "agent.toml".into(), line };
    Rule::new(allow.parse().unwrap(), format!("reason {line}"), "jira".parse().unwrap(), identity, place)
        .for_callers(callers.iter().map(|caller| caller.parse().unwrap()).collect())
}

fn service(name: &str) -> Identity {
    Identity::Service(name.parse().unwrap())
}

fn policy() -> Policy {
    Policy::compile(vec![
        rule(1, "GET /rest/api/2/issue/*", service("reader"), &[]),
        rule(2, "POST /rest/api/2/issue/*/comment", Identity::User, &["bot"]).with_terms(Terms {
            accept_relay_trust: true,
            max_body: Some(ByteSize::kib(64)),
            ..Terms::default()
        }),
        rule(3, "GET|POST /rest/**", service("writer"), &["admin"]),
        rule(4, "DELETE /rest/api/2/issue/*", Identity::Anonymous, &["admin"]),
        rule(5, "GET /status", Identity::Anonymous, &[]),
    ])
}

fn call(method: &str, path: &str, caller: &str) -> Call {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let path = CanonicalPath::parse(path).unwrap();
    let caller = (!caller.is_empty()).then(|| caller.parse().unwrap());
    Call::new(method, "jira".parse().unwrap(), path, Query::none(), caller)
}

fn permit(policy: &Policy, call: &Call) -> Result<Permit, Refusal> {
    authorise(policy, &Meters::default(), call.clone(), Clock::system().now())
}

#[test]
fn the_earliest_rule_that_fits_decides() {
    for (method, path, caller, line) in [
        ("GET", "/rest/api/2/issue/A-1", "admin", Some(1)),
        ("HEAD", "/rest/api/2/issue/A-1", "x", Some(1)),
        ("GET", "/rest/api/2/issue/%41-1", "", Some(1)),
        ("POST", "/rest/api/2/issue/A-1/comment", "bot", Some(2)),
        ("POST", "/rest/api/2/issue/A-1/comment", "admin", Some(3)),
        ("POST", "/rest/api/2/issue/A-1/comment", "x", None),
        ("POST", "/rest/api/2/issue/A-1/comment", "", None),
        ("POST", "/rest/api/2/issue//comment", "bot", None),
        ("POST", "/rest/api/2/issue/A-1/comment/", "bot", None),
        ("GET", "/rest", "admin", None),
        ("GET", "/rest/", "admin", Some(3)),
        ("DELETE", "/rest/api/2/issue/A-1", "admin", Some(4)),
        ("PUT", "/rest/api/2/issue/A-1", "admin", None),
        ("OPTIONS", "/status", "x", None),
        ("TRACE", "/status", "x", None),
        ("CONNECT", "/status", "x", None),
        ("get", "/status", "x", None),
        ("PROPFIND", "/status", "x", None),
        ("GET", "/Status", "x", None),
    ] {
        let Ok(canonical) = CanonicalPath::parse(path) else {
            assert_eq!(line, None, "{path}");
            continue;
        };
        let call = Call { path: canonical, ..call(method, "/", caller) };
        let decided = permit(&policy(), &call).ok().map(|permit| permit.rule().place().line);
        assert_eq!(decided, line, "{method} {path} {caller}");
    }
}

#[test]
fn a_permit_holds_what_was_asked_and_nothing_else() {
    let mut call = call("POST", "/rest/api/2/issue/%41/comment", "bot");
    call.query = Query::parse(Some("a=%zz")).unwrap();
    let permit = permit(&policy(), &call).unwrap();
    assert_eq!(permit.path().as_str(), "/rest/api/2/issue/A/comment");
    assert_eq!(permit.query(), Some("a=%zz"));
    assert_eq!(permit.identity(), &Identity::User);
    assert_eq!(permit.max_body(), Some(ByteSize::kib(64)));
    assert_eq!(permit.caller().unwrap().as_str(), "bot");
}

#[test]
fn another_upstream_has_other_rules() {
    let call = Call { upstream: "wiki".parse().unwrap(), ..call("GET", "/status", "x") };
    assert!(permit(&policy(), &call).is_err());
    assert!(permit(&Policy::default(), &call).is_err());
}

#[test]
fn a_refusal_tells_the_callers_own_near_misses_only() {
    let refusal = permit(&policy(), &call("PATCH", "/rest/api/2/issue/A-1", "x")).unwrap_err();
    let misses: Vec<_> =
        refusal.near().iter().map(|near| (near.rule.place().line, near.misses.clone())).collect();
    let both = || vec![Miss::Method, Miss::Caller];
    assert_eq!(misses, [(1, vec![Miss::Method]), (3, both()), (4, both())]);
    let problem = refusal.problem();
    assert_eq!(problem.code, Code::PolicyRefused);
    assert!(problem.detail.contains("On this path it may use GET, HEAD."), "{}", problem.detail);
    assert!(!problem.detail.contains("writer") && !problem.detail.contains("DELETE"), "{}", problem.detail);
    let never = permit(&policy(), &call("TRACE", "/status", "x")).unwrap_err().problem();
    assert_eq!(never.code, Code::MethodRefused);
}

#[test]
fn ten_thousand_rules_decide_as_one_does() {
    let many = (0..10_000).map(|line| rule(line, &format!("GET /rest/x/{line}/*"), service("reader"), &[]));
    let policy = Policy::compile(many.collect());
    let permit = permit(&policy, &call("GET", "/rest/x/9999/y", "x")).unwrap();
    assert_eq!(permit.rule().place().line, 9999);
}
