use std::time::Duration;

use http::Method;
use proptest::prelude::*;

use super::super::*;
use crate::common::clock::Clock;
use crate::common::problem::Code;

fn place(line: usize) -> Place {
    Place { file: "agent.toml".into(), line }
}

fn rule(line: usize, allow: &str) -> Rule {
    Rule::new(allow.parse().unwrap(), "w", "jira".parse().unwrap(), Identity::Anonymous, place(line))
}

fn denial(line: usize, deny: &str) -> Denial {
    Denial::new(deny.parse().unwrap(), "because", None, place(line))
}

fn names(callers: &[&str]) -> Vec<CallerName> {
    callers.iter().map(|caller| caller.parse().unwrap()).collect()
}

fn call(method: &str, target: &str, caller: &str) -> Call {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    Call::new(
        Method::from_bytes(method.as_bytes()).unwrap(),
        "jira".parse().unwrap(),
        CanonicalPath::parse(path).unwrap(),
        Query::parse(query).unwrap(),
        (!caller.is_empty()).then(|| caller.parse().unwrap()),
    )
}

/// `allow 3`, `denied 2`, or the kind of refusal.
fn verdict(policy: &Policy, call: &Call) -> String {
    match decide(policy, call) {
        Ok(rule) => format!("allow {}", rule.place().line),
        Err(Reason::Method) => "method".into(),
        Err(Reason::AlwaysDenied(_)) => "always".into(),
        Err(Reason::Denied { denial, fault: None }) => format!("denied {}", denial.place().line),
        Err(Reason::Denied { denial, fault: Some(_) }) => format!("denied unclear {}", denial.place().line),
        Err(Reason::NoRule { .. }) => "none".into(),
        Err(Reason::Unclear { rule, .. }) => format!("unclear {}", rule.place().line),
        Err(Reason::BodyNeeded { rule }) => format!("body {}", rule.place().line),
        Err(Reason::Trust { rule, .. }) => format!("trust {}", rule.place().line),
        Err(Reason::Rate { .. }) => "rate".into(),
    }
}

fn problem(policy: &Policy, call: &Call) -> crate::common::problem::Problem {
    decide(policy, call).unwrap_err().problem(call)
}

fn text(name: &str, value: &str) -> QueryTest {
    let wanted = vec![Wanted::Text(Pattern::new(value))];
    QueryTest { tests: vec![(name.into(), Test::Is(wanted))], only: None }
}

fn body(pointer: &str, value: &str) -> Tests {
    let test = Test::Is(vec![Wanted::Text(Pattern::new(value))]);
    Tests { body: BodyTest(vec![(pointer.parse().unwrap(), test)]), ..Tests::default() }
}

#[test]
fn always_denied_then_denials_then_the_first_rule() {
    let policy = Policy::with_denials(
        vec![rule(1, "GET|POST|PUT|PATCH|DELETE /**")],
        vec![
            denial(10, "DELETE /**"),
            denial(11, "* /rest/api/2/issue/*/worklog/**").for_callers(names(&["bot"])),
            denial(12, "GET /rest/api/2/issue/*").with_query(text("expand", "changelog")),
        ],
    );
    for (method, target, caller, expected) in [
        ("GET", "/rest/pat/latest/tokens", "", "always"),
        ("POST", "/Rest/PAT/latest/tokens", "", "always"),
        ("GET", "/jira/secure/Admin/x", "", "always"),
        ("DELETE", "/rest/pat/latest/tokens", "", "always"),
        ("DELETE", "/x", "", "denied 10"),
        ("DELETE", "/", "", "denied 10"),
        ("POST", "/rest/api/2/issue/A-1/worklog", "bot", "denied 11"),
        ("GET", "/REST/api/2/Issue/A-1/worklog/5/", "bot", "denied 11"),
        ("POST", "/rest/api/2/issue/A-1/worklog.json", "bot", "denied 11"),
        ("POST", "/rest/api/2/issue/A-1/worklog", "x", "allow 1"),
        ("GET", "/rest/api/2/issue/A-1?expand=changelog", "", "denied 12"),
        ("HEAD", "/rest/api/2/issue/A-1?expand=change%6cog", "", "denied 12"),
        ("GET", "/rest/api/2/issue/A-1?expand=names", "", "allow 1"),
        ("GET", "/rest/api/2/issue/A-1?expand=names&expand=changelog", "", "denied unclear 12"),
        ("GET", "/rest/api/2/issue/A-1?fields=%zz", "", "denied unclear 12"),
        ("GET", "/rest/api/2/issue/A-1", "", "allow 1"),
        ("OPTIONS", "/x", "", "method"),
    ] {
        assert_eq!(verdict(&policy, &call(method, target, caller)), expected, "{method} {target} {caller}");
    }
    let denied = problem(&policy, &call("DELETE", "/x", ""));
    assert_eq!(denied.code, Code::PolicyRefused);
    assert!(denied.detail.contains("denies DELETE /x on jira: because."), "{}", denied.detail);
    let always = problem(&policy, &call("GET", "/rest/pat", ""));
    assert!(always.detail.contains("No rule of any site can allow /rest/pat"), "{}", always.detail);
    assert_eq!(problem(&policy, &call("GET", "/rest/api/2/issue/A?expand=%", "")).code, Code::BadRequest);
}

#[test]
fn a_denial_of_another_upstream_is_none() {
    let other = Denial::new("* /**".parse().unwrap(), "w", Some("wiki".parse().unwrap()), place(1));
    let policy = Policy::with_denials(vec![rule(1, "GET /a")], vec![other]);
    assert_eq!(verdict(&policy, &call("GET", "/a", "")), "allow 1");
}

#[test]
fn conditions_choose_the_rule_and_unclear_ones_refuse() {
    let form = "application/x-www-form-urlencoded";
    let json: MediaType = "application/json".parse().unwrap();
    let policy = Policy::compile(vec![
        rule(1, "GET|POST /a").with_tests(Tests { query: text("x", "1"), ..Tests::default() }),
        rule(2, "POST /a").with_tests(Tests { content_types: vec![json], ..Tests::default() }),
        rule(3, "GET /a").for_callers(names(&["bot"])),
    ]);
    for (method, target, content, caller, expected) in [
        ("GET", "/a?x=1", "", "", "allow 1"),
        ("GET", "/a?x=2", "", "bot", "allow 3"),
        ("GET", "/a?x=2", "", "", "none"),
        ("GET", "/a?x=1&x=1", "", "bot", "unclear 1"),
        ("GET", "/a?x=1;y", "", "bot", "unclear 1"),
        ("POST", "/a?x=2", "application/json", "", "allow 2"),
        ("POST", "/a?x=2", "text/plain", "", "none"),
        ("POST", "/a?x=1", form, "", "unclear 1"),
        ("POST", "/a", "", "", "none"),
    ] {
        let mut call = call(method, target, caller);
        if !content.is_empty() {
            call.content = Content::with_type(content);
        }
        assert_eq!(verdict(&policy, &call), expected, "{method} {target} {content}");
    }
    let refused = problem(&policy, &call("GET", "/a?x=2", ""));
    assert!(refused.detail.contains("in the query, x must be \"1\""), "{}", refused.detail);
    assert!(!refused.detail.contains("bot"), "{}", refused.detail);
}

#[test]
fn a_body_is_asked_for_only_where_it_matters() {
    let policy = Policy::with_denials(
        vec![
            rule(1, "GET /a"),
            rule(2, "POST /b").with_tests(body("/key", "DEMO")),
            rule(3, "POST /b").for_callers(names(&["boss"])),
            rule(4, "POST /c").for_callers(names(&["boss"])),
            rule(5, "POST /c").with_tests(body("/key", "DEMO")),
        ],
        vec![denial(9, "POST /b").for_callers(names(&["thief"]))],
    );
    let json = |target: &str, caller: &str, body: Option<&str>| {
        let mut call = call("POST", target, caller);
        call.content = Content::with_type("application/json; charset=utf-8");
        call.body = body.map(|body| HeldBody::read(body.as_bytes()));
        call
    };
    for (target, caller, expected) in [
        ("/b", "", true),
        ("/b", "boss", true),
        ("/b", "thief", false),
        ("/c", "boss", false),
        ("/d", "", false),
    ] {
        assert_eq!(policy.holds_body(&json(target, caller, None)).is_some(), expected, "{target} {caller}");
    }
    let plain = Call { content: Content::with_type("text/plain"), ..json("/b", "boss", None) };
    assert!(policy.holds_body(&plain).is_none(), "the rule takes JSON only");
    assert_eq!(verdict(&policy, &plain), "allow 3");
    for (target, caller, body, expected) in [
        ("/b", "", None, "body 2"),
        ("/b", "", Some(r#"{"key":"DEMO"}"#), "allow 2"),
        ("/b", "", Some(r#"{"key":"X"}"#), "none"),
        ("/b", "boss", Some(r#"{"key":"X"}"#), "allow 3"),
        ("/b", "boss", Some(r#"{"key":"DEMO","key":"X"}"#), "unclear 2"),
        ("/b", "", Some("key=DEMO"), "unclear 2"),
        ("/b", "", Some(""), "none"),
    ] {
        assert_eq!(verdict(&policy, &json(target, caller, body)), expected, "{target} {caller} {body:?}");
    }
    let wrong = problem(&policy, &json("/b", "", Some(r#"{"key":"X"}"#)));
    assert!(wrong.detail.contains("in the body, /key must be \"DEMO\""), "{}", wrong.detail);
    let twice = problem(&policy, &json("/b", "", Some(r#"{"key":"DEMO","key":"X"}"#)));
    assert_eq!(twice.code, Code::BadRequest);
    assert!(twice.detail.contains("“key” stands twice"), "{}", twice.detail);
}

#[test]
fn a_permit_does_not_keep_the_body() {
    let policy = Policy::compile(vec![rule(1, "POST /b").with_tests(body("/key", "DEMO"))]);
    let mut call = call("POST", "/b", "");
    call.content = Content::with_type("application/json");
    call.body = Some(HeldBody::read(br#"{"key":"DEMO"}"#));
    let permit = authorise(&policy, &Meters::default(), call, Clock::system().now()).unwrap();
    assert!(!format!("{permit:?}").contains("HeldBody"));
}

#[test]
fn a_lack_of_proof_refuses_and_falls_through_to_no_other_rule() {
    let user = |line, allow: &str, accept_relay_trust, require| {
        Rule::new(allow.parse().unwrap(), "w", "jira".parse().unwrap(), Identity::User, place(line))
            .with_terms(Terms { require, accept_relay_trust, ..Terms::default() })
    };
    let signed = || Terms { require: vec![Demand::Signed, Demand::PassThrough], ..Terms::default() };
    let policy = Policy::compile(vec![
        user(1, "GET /a", false, vec![]),
        user(2, "GET /b", true, vec![]),
        rule(3, "GET /c").with_terms(signed()),
        user(4, "GET /d", false, vec![Demand::PassThroughOperatorName]),
        rule(5, "GET /**"),
    ]);
    let over = |channel| Trust { channel, ..Trust::default() };
    let exposed = |channel| Trust { key_is_exposed: true, ..over(channel) };
    let is_signed = Trust { is_signed: true, ..Trust::default() };
    let proves_person = Trust { proves_person: true, ..Trust::default() };
    for (path, trust, expected) in [
        ("/a", Trust::default(), "trust 1"),
        ("/a", over(Channel::OperatorName), "trust 1"),
        ("/a", over(Channel::CustomerName), "allow 1"),
        ("/a", exposed(Channel::CustomerName), "trust 1"),
        ("/c", exposed(Channel::CustomerName), "trust 3"),
        ("/d", exposed(Channel::CustomerName), "trust 4"),
        ("/b", exposed(Channel::CustomerName), "allow 2"),
        ("/e", exposed(Channel::CustomerName), "allow 5"),
        ("/a", is_signed, "allow 1"),
        ("/a", proves_person, "allow 1"),
        ("/b", Trust::default(), "allow 2"),
        ("/c", Trust::default(), "trust 3"),
        ("/c", proves_person, "trust 3"),
        ("/c", is_signed, "allow 3"),
        ("/c", over(Channel::CustomerName), "allow 3"),
        ("/d", over(Channel::OperatorName), "trust 4"),
        ("/d", over(Channel::CustomerName), "allow 4"),
        ("/e", Trust::default(), "allow 5"),
    ] {
        let call = Call { trust, ..call("GET", path, "") };
        assert_eq!(verdict(&policy, &call), expected, "{path} {trust:?}");
    }
    let refused = problem(&policy, &call("GET", "/a", ""));
    assert_eq!((refused.code, refused.code.status().as_u16()), (Code::TrustRequired, 403));
    assert!(refused.detail.contains("makes calls as a person"), "{}", refused.detail);
    let refused = problem(&policy, &call("GET", "/c", ""));
    assert!(refused.detail.contains("it requires signed or pass-through"), "{}", refused.detail);
    // Only where the channel would have done, the key is what is wrong.
    for (path, trust, told) in [
        ("/a", exposed(Channel::CustomerName), true),
        ("/c", exposed(Channel::CustomerName), true),
        ("/a", exposed(Channel::OperatorName), false),
        ("/a", exposed(Channel::Relay), false),
    ] {
        let refused = problem(&policy, &Call { trust, ..call("GET", path, "bot") });
        assert_eq!(refused.code, Code::TrustRequired);
        let says = refused.detail.contains("sent through the relay")
            && refused.detail.contains("`outhaul-agent caller rotate bot`");
        assert_eq!(says, told, "{path} {trust:?}: {}", refused.detail);
    }
}

#[test]
fn a_rate_counts_by_rule_and_caller_and_outlives_a_reload() {
    let rated = |line, rate: &str| {
        let rate = Some(rate.parse().unwrap());
        rule(line, "GET /a").with_terms(Terms { rate, ..Terms::default() })
    };
    let (meters, start) = (Meters::default(), Clock::system().now());
    let policy = Policy::compile(vec![rated(1, "2/m")]);
    let ask = |policy: &Policy, caller: &str, seconds| {
        authorise(policy, &meters, call("GET", "/a", caller), start + Duration::from_secs(seconds))
    };
    assert!(ask(&policy, "one", 0).is_ok() && ask(&policy, "one", 0).is_ok());
    let refused = ask(&policy, "one", 10).unwrap_err().problem();
    assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(20)));
    assert!(refused.detail.contains("2/m"), "{}", refused.detail);
    assert!(ask(&policy, "two", 10).is_ok());
    // The same rule elsewhere in a changed file goes on counting; a changed rule begins anew.
    let moved = Policy::compile(vec![rule(1, "GET /b"), rated(7, "2/m")]);
    assert!(ask(&moved, "one", 10).is_err());
    assert!(ask(&Policy::compile(vec![rated(7, "3/m")]), "one", 10).is_ok());
    assert!(ask(&moved, "one", 30).is_ok());
    // Who only asks costs nothing.
    for _ in 0..10 {
        assert!(decide(&moved, &call("GET", "/a", "three")).is_ok());
    }
    assert!(ask(&moved, "three", 0).is_ok());
}

/// Written down another way: no tree, every rule in order.
fn plainly(rules: &[Rule], denials: &[Denial], call: &Call) -> String {
    fn fits(pattern: &[Part], segments: &[&str], wide: bool) -> bool {
        let fold = |text: &str| if wide { text.to_lowercase() } else { text.to_owned() };
        match (pattern.split_first(), segments.split_first()) {
            (None, None) => true,
            (Some((Part::Rest, _)), segments) => wide || segments.is_some(),
            (Some((part, pattern)), Some((segment, segments))) => {
                let ends = segments.is_empty() || *segments == [""];
                let stem = segment.rsplit_once('.').map(|(stem, _)| stem).filter(|stem| !stem.is_empty());
                let stem = stem.filter(|_| wide && ends);
                [Some(*segment), stem].into_iter().flatten().any(|segment| {
                    let segment = fold(segment);
                    (match part {
                        Part::Literal(text) => fold(text) == segment,
                        Part::Glob(before, after) => {
                            segment.len() > before.len() + after.len()
                                && segment.starts_with(&fold(before))
                                && segment.ends_with(&fold(after))
                        }
                        Part::Any | Part::Rest => !segment.is_empty(),
                    }) && fits(pattern, segments, wide)
                })
            }
            _ => false,
        }
    }
    let segments: Vec<&str> = call.path.segments().collect();
    let without_slash = segments.strip_suffix(&[""]).unwrap_or(&segments);
    let denied = denials.iter().find(|denial| {
        let pattern = denial.deny().pattern();
        let pattern = pattern.strip_suffix(&[Part::Literal("".into())]).unwrap_or(pattern);
        denial.deny().methods().contains(&call.method)
            && denial.is_for(call.caller.as_ref())
            && fits(pattern, without_slash, true)
    });
    if let Some(denial) = denied {
        return format!("denied {}", denial.place().line);
    }
    let allowed = rules.iter().find(|rule| {
        rule.allow().methods().contains(&call.method)
            && rule.is_for(call.caller.as_ref())
            && fits(rule.allow().pattern(), &segments, false)
    });
    allowed.map_or("none".to_owned(), |rule| format!("allow {}", rule.place().line))
}

const PATTERN: &str = "(/(a|b|ab|\\*|a\\*|\\*b)){0,3}(/a|/\\*|/\\*\\*|/|/b\\*)";
const CALLERS: [&[&str]; 4] = [&[], &["one"], &["two"], &["one", "two"]];
const METHODS: [&str; 3] = ["GET", "POST", "GET|PUT"];

proptest! {
    #[test]
    fn the_policy_decides_as_the_plain_reading_of_all_rules(
        allow in proptest::collection::vec((PATTERN, 0_usize..4, 0_usize..3), 0..16),
        deny in proptest::collection::vec((PATTERN, 0_usize..4, 0_usize..3), 0..3),
        path in "(/[abA]{1,2}){0,4}(/[ab]{1,2}(\\.[ab])?|/)",
        method in 0_usize..3,
        caller in 0_usize..3,
    ) {
        let rules: Vec<Rule> = allow.iter().enumerate().map(|(line, (pattern, callers, methods))| {
            rule(line, &format!("{} {pattern}", METHODS[*methods])).for_callers(names(CALLERS[*callers]))
        }).collect();
        let denials: Vec<Denial> = deny.iter().enumerate().map(|(line, (pattern, callers, methods))| {
            denial(line, &format!("{} {pattern}", METHODS[*methods])).for_callers(names(CALLERS[*callers]))
        }).collect();
        let call = call(["GET", "POST", "PUT"][method], &path, ["", "one", "two"][caller]);
        // An upstream without a rule has no denials either, and refuses all.
        let expected = if rules.is_empty() { "none".to_owned() } else { plainly(&rules, &denials, &call) };
        let policy = Policy::with_denials(rules, denials);
        prop_assert_eq!(verdict(&policy, &call), expected);
    }
}

#[test]
fn a_form_passes_only_where_its_type_is_named() {
    let forms = Tests {
        content_types: vec!["application/x-www-form-urlencoded".parse().unwrap()],
        ..Tests::default()
    };
    let policy = Policy::compile(vec![rule(1, "POST /form").with_tests(forms), rule(2, "POST /**")]);
    for (path, content, expected) in [
        ("/form", "Application/X-WWW-Form-URLencoded; charset=utf-8", "allow 1"),
        ("/other", "application/x-www-form-urlencoded", "none"),
        ("/other", "multipart/form-data; boundary=x", "allow 2"),
        ("/other", "application/json", "allow 2"),
    ] {
        let mut call = call("POST", path, "");
        call.content = Content::with_type(content);
        assert_eq!(verdict(&policy, &call), expected, "{path} {content}");
    }
    let mut call = call("POST", "/other", "");
    call.content = Content::with_type("application/x-www-form-urlencoded");
    assert!(
        problem(&policy, &call).detail.contains("its content-type names it"),
        "{:?}",
        problem(&policy, &call)
    );
}
