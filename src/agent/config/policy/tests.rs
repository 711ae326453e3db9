use std::sync::Arc;

use http::Method;

use super::super::Config;
use super::profile::{Template, template};
use crate::agent::policy::profiles::{self, Profile};
use crate::agent::policy::{
    Call, CanonicalPath, Content, HeldBody, Identity, Policy, Query, Reason, Trust, always_denied,
    always_denied_paths, decide,
};
use crate::common::limits::ByteSize;

const HEAD: &str = "\
[relay]
url = \"wss://r\"
[upstream.jira]
url = \"http://j\"
[service.reader]
user = \"svc\"
pat = { file = \"/x\" }
";

fn config(tables: &str) -> Config {
    Config::parse("/etc/outhaul/agent.toml", &format!("{HEAD}{tables}"))
        .unwrap_or_else(|report| panic!("{report}"))
}

fn faults(tables: &str) -> String {
    Config::parse("agent.toml", &format!("{HEAD}{tables}")).unwrap_err().to_string()
}

fn rule(keys: &str) -> String {
    format!("[[policy.rule]]\nallow = \"POST /a\"\nwhy = \"w\"\nas = \"anonymous\"\n{keys}\n")
}

fn call(method: &str, target: &str) -> Call {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let path = CanonicalPath::parse(path).unwrap();
    let query = Query::parse(query).unwrap();
    let caller = Some("bot".parse().unwrap());
    let mut call = Call::new(method.parse::<Method>().unwrap(), "jira".parse().unwrap(), path, query, caller);
    call.trust = Trust { is_signed: true, ..Trust::default() };
    call
}

fn place(policy: &Policy, call: &Call) -> Option<String> {
    decide(policy, call).ok().map(|rule| rule.place().to_string())
}

#[test]
fn a_rule_with_all_its_keys_becomes_what_it_says() {
    let config = config(
        r#"
[policy]
max-held-body = "8 KB"
[[policy.rule]]
allow = ["POST /a/*", "PUT /a/x-*"]
why = "w"
as = "user"
caller = ["bot", "other"]
upstream = "jira"
content-type = ["application/json", "Application/X+JSON"]
query = { mode = ["a", 5, true], expand = { absent = true }, x = { optional = "n*" }, y = { present = true } }
query-only = ["startAt"]
body = { "/fields/project/key" = "DEMO", "/a~1b/0" = [1, false] }
require = "signed"
accept-relay-trust = true
rate = "60/m"
burst = 5
max-body = "1 KB"
[[policy.rule]]
deny = "* /a/secret/**"
why = "no"
caller = "bot"
query = { mode = "a" }
"#,
    );
    let policy = &config.policy;
    assert_eq!(policy.max_held_body(), ByteSize::kib(8));
    assert_eq!(policy.rules().len(), 2);
    let [first, second] = [&policy.rules()[0], &policy.rules()[1]];
    assert_eq!((first.place().line, second.place().to_string().as_str()), (12, "agent.toml:12"));
    assert_eq!((first.allow().as_str(), second.allow().as_str()), ("POST /a/*", "PUT /a/x-*"));
    assert_eq!(first.identity(), &Identity::User);
    let tests = first.tests();
    assert_eq!(tests.content_types[1].as_str(), "application/x+json");
    assert_eq!(
        tests.query.to_string(),
        "mode must be \"a\" or 5 or true; expand must not be there; x must be \"n*\" or not be there; \
         y must be there; no parameters but mode, expand, x, y, startAt"
    );
    assert_eq!(tests.body.to_string(), "/fields/project/key must be \"DEMO\", /a~1b/0 must be 1 or false");
    let terms = first.terms();
    assert_eq!(terms.rate.map(|rate| rate.to_string()).as_deref(), Some("60/m, 5 at once"));
    assert_eq!((terms.max_body, terms.accept_relay_trust), (Some(ByteSize::kib(1)), true));
    let mut fitting = call("POST", "/a/b?mode=5&y&startAt=1");
    fitting.content = Content::with_type("application/json");
    assert_eq!(policy.holds_body(&fitting), Some(ByteSize::kib(8)));
    fitting.body = Some(HeldBody::read(br#"{"fields":{"project":{"key":"DEMO"}},"a/b":[false]}"#));
    assert_eq!(place(policy, &fitting).as_deref(), Some("agent.toml:12"));
    let denial = &policy.denials()[0];
    assert_eq!((denial.place().to_string().as_str(), denial.why()), ("agent.toml:27", "no"));
    assert!(matches!(decide(policy, &call("GET", "/A/Secret?mode=a")), Err(Reason::Denied { .. })));
}

#[test]
fn each_fault_says_what_to_do() {
    let service = |keys: &str| rule(keys).replace("\"anonymous\"", "{ service = \"reader\" }");
    let deny = |keys: &str| format!("[[policy.rule]]\ndeny = \"GET /a\"\nwhy = \"w\"\n{keys}\n");
    for (tables, says) in [
        (rule("content-type = []"), "the list of content-type is empty"),
        (rule("content-type = \"json\""), "“json” is no media type"),
        (rule("content-type = \"application/json; charset=utf-8\""), "without parameters"),
        (rule("content-type = [\"a/b\", \"A/B\"]"), "“a/b” is listed twice"),
        (rule("query = \"a=b\""), "conditions stand in a table"),
        (rule("query = {}"), "query is empty"),
        (rule("query = { a = [] }"), "the list of values is empty"),
        (rule("query = { a = 1.5 }"), "this can't be compared with"),
        (rule("query = { a = { absent = false } }"), "this condition says nothing"),
        (rule("query = { a = { absent = true, present = true } }"), "this condition says nothing"),
        (rule("query = { a = { abscent = true } }"), "did you mean absent?"),
        (rule("query = { \"\" = 1 }"), "this is no name of a parameter"),
        (rule("query-only = 5"), "write a text in quotes"),
        (rule("body = {}"), "body is empty"),
        (rule("body = { key = \"x\" }"), "“key” is no JSON pointer"),
        (rule("body = { \"/a\" = 99999999999999999999 }"), "too large a number"),
        (rule("body = { \"/a\" = 1 }\ncontent-type = \"text/plain\""), "need a content-type that is JSON"),
        (rule("require = []"), "the list of require is empty"),
        (rule("require = \"mtls\""), "“mtls” can't be required"),
        (rule("accept-relay-trust = true"), "is for rules as \"user\""),
        (service("accept-relay-trust = false"), "is for rules as \"user\""),
        (rule("rate = \"60\""), "“60” is no rate"),
        (rule("burst = 5"), "there is a burst, but no rate"),
        (rule("rate = \"1/s\"\nburst = 0"), "burst is too small"),
        (rule("deny = \"GET /a\""), "a rule either allows or denies"),
        (rule("").replace("POST /a", "POST /a**b"), "has more than one *"),
        (rule("").replace("POST /a", "* /a"), "“*” is no method"),
        (deny("as = \"user\""), "unknown key as"),
        (deny("body = { \"/a\" = 1 }"), "unknown key body"),
        (deny("query-only = []"), "this rule denies"),
        (deny("upstream = \"jria\""), "did you mean “jira”?"),
        (deny("").replace("why = \"w\"", ""), "[policy.rule] lacks why"),
        ("[policy]\nmax-held-body = \"2 MB\"".into(), "max-held-body is too large"),
        ("[policy]\nprofiles = [\"jira-raed\"]".into(), "did you mean “jira-read”?"),
        ("[policy]\nprofiles = [\"x\"]".into(), "there are: jira-read, jira-teams, confluence-read"),
        ("[policy]\nprofiles = [\"jira-read\", \"jira-read\"]".into(), "listed twice"),
        ("[policy]\nprofiles = [\"jira-provisioning\"]".into(), "never for callers"),
        ("[policy.profile.jira-read]\nas = \"user\"".into(), "add it: profiles = [\"jira-read\"]"),
        (profile("with = [\"attachment\"]"), "there are: attachments"),
        (profile("upstream = \"jria\""), "did you mean “jira”?"),
        (profile("caller = []"), "the list of caller is empty"),
        (profile("as = { service = \"raeder\" }"), "did you mean “reader”?"),
        (profile("rate = \"1/s\""), "unknown key rate"),
        (
            format!("[upstream.wiki]\nurl = \"http://w\"\n{}", profile("")),
            "does not say for which upstream it is",
        ),
    ] {
        let faults = faults(&tables);
        assert!(faults.contains(says), "{says}\n{faults}");
        assert!(!faults.contains("could not be read"), "{faults}");
    }
}

fn profile(keys: &str) -> String {
    format!("[policy]\nprofiles = [\"jira-read\"]\n[policy.profile.jira-read]\n{keys}\n")
}

#[test]
fn a_fault_is_shown_at_its_place() {
    let text = faults(&rule("body = { \"/a\" = \"x\", \"b\" = [1, \"y\", 1.5] }"));
    let expected = "\
error: “b” is no JSON pointer: write the keys with a slash before each, as in \"/fields/project/key\"
  --> agent.toml:12:22
   |
12 | body = { \"/a\" = \"x\", \"b\" = [1, \"y\"] }
   |                      ^^^";
    let pointer = faults(&rule("body = { \"/a\" = \"x\", \"b\" = [1, \"y\"] }"));
    assert!(pointer.contains(expected), "{pointer}");
    assert!(text.contains("12 | body") && text.contains("^^^\n") && text.contains("compared"), "{text}");
    let provisioning = faults("[policy]\nprofiles = [\"jira-read\", \"jira-provisioning\"]\n");
    assert!(provisioning.contains("9 | profiles = [\"jira-read\", \"jira-provisioning\"]"), "{provisioning}");
    assert!(provisioning.contains("^^^^^^^^^^^^^^^^^^^"), "{provisioning}");
}

#[test]
fn ten_thousand_rules_are_taken_and_one_more_is_not() {
    let callers = (0..5_000).map(|number| rule(&format!("caller = \"c{number}\"")));
    let paths = (0..5_000).map(|number| rule("").replace("/a", &format!("/b/{number}/*")));
    let text: String = callers.chain(paths).collect();
    let policy = config(&text).policy;
    assert_eq!(policy.rules().len(), 10_000);
    let line = policy.rules()[9_999].place().line - HEAD.lines().count();
    assert!(text.lines().nth(line - 1).unwrap().contains("/b/4999/*"), "{line}");
    assert!(faults(&(text + &rule("").replace("/a", "/c"))).contains("more than 10000 rules"));
}

fn templates(profile: &Profile) -> Vec<Template> {
    template(profile).unwrap_or_else(|report| panic!("{report}"))
}

#[test]
fn every_profile_reads_and_gives_reasons() {
    for profile in profiles::ALL {
        let templates = templates(profile);
        assert!(templates.len() > 10, "{}", profile.name);
        for Template { allow, why, place, .. } in &templates {
            let shown = place.to_string();
            assert!(shown.starts_with("profile ") && why.len() > 5, "{shown}");
            let from = profiles::find(shown["profile ".len()..].split(':').next().unwrap()).unwrap();
            let line = from.text.lines().nth(place.line - 1).unwrap();
            assert!(line.contains(allow.as_str()), "{shown}: {line}");
            let path = allow.as_str().split_once(' ').unwrap().1.replace("**", "x").replace('*', "x");
            assert!(always_denied(&CanonicalPath::parse(&path).unwrap()).is_ok(), "{shown} could never pass");
        }
    }
}

#[test]
fn the_document_names_every_profile_part_and_denied_place() {
    const DOCUMENT: &str = include_str!("../../../../docs/policy.md");
    for profile in profiles::ALL {
        let row = DOCUMENT.lines().find(|line| line.starts_with(&format!("| `{}` |", profile.name)));
        let row = row.unwrap_or_else(|| panic!("{}", profile.name));
        for Template { part, .. } in templates(profile) {
            assert!(part.is_none_or(|part| row.contains(&format!("`{part}`"))), "{row}");
        }
    }
    for denial in always_denied_paths() {
        let path = denial.deny().as_str().trim_start_matches("* ").trim_end_matches("/**");
        let name = path.rsplit('/').next().unwrap();
        let named = [path, name].iter().any(|name| DOCUMENT.contains(&format!("`{name}`")));
        assert!(named, "{path}");
    }
}

#[test]
fn what_only_reads_has_no_method_that_writes() {
    for name in ["jira-read", "confluence-read", "bitbucket-read", "bamboo-read"] {
        for template in templates(profiles::find(name).unwrap()) {
            let methods = template.allow.methods().to_string();
            let search = template.allow.as_str() == "GET|POST /rest/api/2/search";
            assert!(methods == "GET, HEAD" || search, "{}: {methods}", template.place);
        }
    }
}

/// A policy with this profile alone, for all callers, with all that is optional.
fn with_profile(name: &str, parts: &str) -> Arc<Policy> {
    let tables = format!(
        "[policy]\nprofiles = [\"{name}\"]\n[policy.profile.{name}]\nas = {{ service = \"reader\" }}\nwith = [{parts}]\n"
    );
    config(&tables).policy
}

#[test]
fn profiles_allow_and_refuse_what_they_should() {
    let read = with_profile("jira-read", "");
    let teams = with_profile("jira-teams", "");
    let bytes = with_profile("jira-teams", "\"attachments\"");
    let confluence = with_profile("confluence-read", "");
    let bitbucket = with_profile("bitbucket-read", "");
    let source = with_profile("bitbucket-read", "\"source\"");
    let bamboo = with_profile("bamboo-read", "");
    for (policy, method, target, allowed) in [
        (&read, "GET", "/rest/api/2/issue/DEMO-1?fields=summary", true),
        (&read, "HEAD", "/status", true),
        (&read, "POST", "/rest/api/2/search", true),
        (&read, "GET", "/rest/api/2/issue/createmeta/DEMO/issuetypes/1", true),
        (&read, "GET", "/rest/api/2/user/assignable/search?project=DEMO", true),
        (&read, "GET", "/rest/api/2/user", false),
        (&read, "POST", "/rest/api/2/issue", false),
        (&read, "PUT", "/rest/api/2/issue/DEMO-1", false),
        (&read, "POST", "/rest/api/2/issue/DEMO-1/comment", false),
        (&read, "GET", "/secure/attachment/1/a.pdf", false),
        (&read, "GET", "/rest/servicedeskapi/request/1", false),
        (&teams, "GET", "/rest/api/2/issue/DEMO-1", true),
        (&teams, "POST", "/rest/api/2/issue/DEMO-1/comment", true),
        (&teams, "DELETE", "/rest/api/2/issue/DEMO-1/comment/1", true),
        (&teams, "POST", "/rest/api/2/issue/DEMO-1/attachments", true),
        (&teams, "PUT", "/rest/api/2/issue/DEMO-1/properties/outhaul.chat", true),
        (&teams, "PUT", "/rest/api/2/issue/DEMO-1/properties/outhaul.", false),
        (&teams, "PUT", "/rest/api/2/issue/DEMO-1/properties/sla", false),
        (&teams, "POST", "/rest/servicedeskapi/request/1/approval/2", true),
        (&teams, "DELETE", "/rest/api/2/issue/DEMO-1", false),
        (&teams, "POST", "/rest/api/2/issue/bulk", false),
        (&teams, "POST", "/rest/api/2/issue/DEMO-1/notify", false),
        (&teams, "PUT", "/rest/api/2/issue/DEMO-1/archive", false),
        (&teams, "POST", "/rest/api/2/user", false),
        (&teams, "GET", "/secure/attachment/1/a.pdf", false),
        (&bytes, "GET", "/secure/attachment/1/a.pdf", true),
        (&bytes, "GET", "/secure/attachment/1/a/b", false),
        (&confluence, "GET", "/rest/api/content/1/child/page", true),
        (&confluence, "PUT", "/rest/api/content/1", false),
        (&confluence, "GET", "/rest/api/admin/user", false),
        (&confluence, "GET", "/download/attachments/1/a", false),
        (&bitbucket, "GET", "/rest/api/1.0/projects/P/repos/r/pull-requests/1", true),
        (&bitbucket, "GET", "/rest/api/latest/projects/P/repos/r/commits", true),
        (&bitbucket, "GET", "/rest/api/1.0/projects/P/repos/r/browse/src/a", false),
        (&source, "GET", "/rest/api/1.0/projects/P/repos/r/browse/src/a", true),
        (&bitbucket, "GET", "/rest/api/1.0/admin/users", false),
        (&bitbucket, "GET", "/rest/api/1.0/projects/P/permissions/users", false),
        (&bamboo, "GET", "/rest/api/latest/result/P-PLAN/5", true),
        (&bamboo, "POST", "/rest/api/latest/queue/P-PLAN", false),
        (&bamboo, "GET", "/rest/api/latest/admin/users", false),
    ] {
        assert_eq!(decide(policy, &call(method, target)).is_ok(), allowed, "{method} {target}");
    }
    let from = place(&teams, &call("GET", "/rest/api/2/myself"));
    assert_eq!(from.as_deref(), Some("profile jira-read:8"));
}

#[test]
fn no_profile_for_callers_allows_what_provisioning_needs() {
    let provisioning = profiles::find("jira-provisioning").unwrap();
    let reads = ["GET /rest/api/2/user/search"];
    for name in profiles::ALL.iter().filter(|profile| profile.for_callers).map(|profile| profile.name) {
        let policy = with_profile(name, "");
        for Template { allow, .. } in templates(provisioning) {
            let (methods, path) = allow.as_str().split_once(' ').unwrap();
            let path = path.replace("**", "x").replace('*', "x");
            for method in methods.split('|') {
                let shown = format!("{method} {path}");
                assert!(
                    decide(&policy, &call(method, &path)).is_err() || reads.contains(&shown.as_str()),
                    "{name}: {shown}"
                );
            }
        }
    }
}

#[test]
fn a_profile_is_for_whom_its_table_says_and_the_files_own_rules_come_first() {
    let tables = "\
[upstream.test]
url = \"http://t\"
[policy]
profiles = [\"jira-read\"]
[policy.profile.jira-read]
as = { service = \"reader\" }
caller = \"bot\"
upstream = [\"jira\", \"test\"]
require = \"signed\"
[[policy.rule]]
allow = \"GET /status\"
upstream = \"jira\"
why = \"anybody may look\"
as = \"anonymous\"
";
    let policy = config(tables).policy;
    let by = |caller: &str, call: Call| Call { caller: Some(caller.parse().unwrap()), ..call };
    let at = |upstream: &str, call: Call| Call { upstream: upstream.parse().unwrap(), ..call };
    assert_eq!(place(&policy, &call("GET", "/status")).as_deref(), Some("agent.toml:18"));
    let myself = || call("GET", "/rest/api/2/myself");
    assert!(decide(&policy, &myself()).is_ok() && decide(&policy, &at("test", myself())).is_ok());
    assert!(decide(&policy, &by("other", myself())).is_err());
    let unsigned = Call { trust: Trust::default(), ..myself() };
    assert!(matches!(decide(&policy, &unsigned), Err(Reason::Trust { .. })));
    // Without a table it is as the person.
    let plain = config("[policy]\nprofiles = [\"jira-read\"]\n").policy;
    assert!(plain.rules().iter().all(|rule| *rule.identity() == Identity::User));
    assert!(matches!(
        decide(&plain, &Call { trust: Trust::default(), ..myself() }),
        Err(Reason::Trust { .. })
    ));
}
