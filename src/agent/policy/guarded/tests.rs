use proptest::prelude::*;

use super::super::profiles;
use super::*;

fn asked(method: &str, path: &str) -> Option<&'static str> {
    guarded(&method.parse().unwrap(), &CanonicalPath::parse(path).unwrap())
}

#[test]
fn the_list_reads_and_each_entry_is_found_by_itself() {
    assert!(LIST.is_some());
    assert!(guarded_calls().count() > 30);
    for (call, what) in guarded_calls() {
        let (methods, path) = call.split_once(' ').unwrap();
        let method = if methods == "*" { "GET" } else { methods.split('|').next().unwrap() };
        let path = path.replace("/**", "/x").replace('*', "DEMO");
        assert!(asked(method, &path).is_some(), "{call}");
        assert!(!what.is_empty());
    }
}

#[test]
fn what_administers_is_guarded_in_every_spelling_and_the_rest_is_not() {
    for (method, path) in [
        ("POST", "/rest/api/2/user"),
        ("POST", "/rest/api/2/user/"),
        ("POST", "/rest/api/2/user.json"),
        ("PUT", "/rest/api/latest/user"),
        ("PUT", "/rest/api/2.0.alpha1/User"),
        ("POST", "/rest/API/2/us%65r"),
        ("POST", "/jira/rest/api/2/user"),
        ("POST", "/a/b/rest/api/2/user"),
        ("DELETE", "/rest/api/2/user/session/x"),
        ("GET", "/rest/api/2/user/anonymization"),
        ("POST", "/rest/api/2/group"),
        ("DELETE", "/rest/api/2/group/user"),
        ("POST", "/rest/api/2/project/DEMO/role/10002"),
        ("DELETE", "/rest/api/2/project/DEMO"),
        ("POST", "/rest/api/2/project"),
        ("PUT", "/rest/api/2/applicationrole/jira-software"),
        ("GET", "/rest/usermanagement/1/user"),
        ("GET", "/rest/usermanagement/latest/search"),
        ("POST", "/rest/webhooks/1.0/webhook"),
        ("POST", "/rest/api/admin/user"),
        ("GET", "/rest/api/1.0/admin/users"),
        ("POST", "/rest/api/latest/admin/groups"),
        ("PUT", "/rest/api/1.0/projects/P/repos/r/permissions/users"),
        ("PUT", "/rest/api/user/mia/group/admins"),
    ] {
        assert!(asked(method, path).is_some(), "{method} {path}");
    }
    for (method, path) in [
        ("GET", "/rest/api/2/user"),
        ("GET", "/rest/api/2/user/search"),
        ("GET", "/rest/api/2/group/member"),
        ("GET", "/rest/api/2/project/DEMO/role"),
        ("GET", "/rest/api/2/project/DEMO"),
        ("POST", "/rest/api/2/issue"),
        ("POST", "/rest/api/2/search"),
        ("PUT", "/rest/api/2/issue/DEMO-1/assignee"),
        ("POST", "/rest/api/2/issue/DEMO-1/comment"),
        ("DELETE", "/rest/api/2/issue/DEMO-1"),
        ("POST", "/rest/servicedeskapi/request"),
        ("POST", "/rest/api/2/users"),
        ("GET", "/status"),
    ] {
        assert_eq!(asked(method, path), None, "{method} {path}");
    }
}

#[test]
fn a_rule_that_might_reach_it_is_known_before_any_call() {
    for (allow, reaches) in [
        ("POST /rest/api/2/user", true),
        ("GET /rest/api/2/user", false),
        ("GET|POST /rest/api/2/**", true),
        ("GET /rest/api/2/**", true),
        ("POST /**", true),
        ("POST /rest/api/2/*", true),
        ("POST /rest/api/2/us*", true),
        ("POST /rest/api/2/user*", true),
        ("POST /rest/api/2/x*", false),
        ("POST /rest/api/2/User.json", true),
        ("POST /jira/rest/api/2.0/user/", true),
        ("POST /rest/*/2/group", true),
        ("POST /rest/api/2/issue", false),
        ("POST /rest/api/2/issue/**", false),
        ("PUT /rest/api/2/issue/*/assignee", false),
        ("POST /rest/servicedeskapi/**", false),
        ("POST /jira/**", true),
        ("POST /*/rest/api/2/user", true),
        ("GET /download/attachments/*/*", false),
        ("GET /rest/usermanagement/1/user", true),
    ] {
        assert_eq!(reaches_guarded(&allow.parse().unwrap()).is_some(), reaches, "{allow}");
    }
}

#[test]
fn provisioning_is_guarded_where_it_changes_and_no_profile_for_callers_is() {
    let mut wide = Vec::new();
    for profile in profiles::ALL {
        let text: toml::Table = toml::from_str(profile.text).unwrap();
        let rules = text.get("rule").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        for rule in &rules {
            let allow = &rule["allow"];
            let one = allow.as_str().map(|one| vec![one.to_owned()]);
            let all = one.unwrap_or_else(|| {
                allow.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
            });
            for allow in all {
                let changes = !allow.starts_with("GET ") && allow.contains("/rest/");
                let reaches = reaches_guarded(&allow.parse().unwrap()).is_some();
                if profile.for_callers {
                    wide.extend(reaches.then(|| format!("{}: {allow}", profile.name)));
                } else if changes {
                    assert!(reaches, "{}: {allow}", profile.name);
                }
            }
        }
    }
    assert_eq!(wide, [""; 0]);
}

proptest! {
    /// What is told before a call never says less than what decides it.
    #[test]
    fn a_call_that_is_guarded_has_a_rule_that_is_known_to_reach_it(
        path in "/(rest/api/(2|latest|2\\.0)|rest/api|rest|jira/rest/api/2)/(user|group|User|admin|usermanagement|project|x)(/[a-z]{1,4}){0,2}",
        wide in 0usize..6,
        method in "GET|POST|PUT|DELETE",
    ) {
        let mut parts: Vec<&str> = path.split('/').collect();
        if wide > 0 && wide < parts.len() {
            parts[wide] = "*";
        }
        let rule = format!("{method} {}", parts.join("/"));
        if asked(&method, &path).is_some() {
            prop_assert!(reaches_guarded(&rule.parse().unwrap()).is_some(), "{rule} {path}");
        }
    }
}
