use super::*;

fn denied(path: &str) -> Option<usize> {
    match always_denied(&CanonicalPath::parse(path).unwrap()) {
        Err(Reason::AlwaysDenied(denial)) => Some(denial.place().line),
        Err(other) => panic!("{path}: {other:?}"),
        Ok(()) => None,
    }
}

#[test]
fn the_list_is_read_whole_and_says_where_each_entry_stands() {
    assert!(always_denied_paths().count() > 20);
    for denial in always_denied_paths() {
        let line = TEXT.lines().nth(denial.place().line - 1).unwrap();
        let path = denial.deny().as_str().strip_prefix("* ").unwrap();
        assert!(line.contains(&format!("\"{path}\"")), "{path} at {}", denial.place());
        assert!(path.ends_with("/**"), "all below it too: {path}");
        assert!(!denial.why().is_empty() && !denial.why().ends_with('.'), "{path}");
    }
}

/// The places of Jira Data Center, and of Bitbucket for tokens.
#[test]
fn each_place_is_denied_in_every_spelling() {
    for place in [
        "rest/pat",
        "rest/oauth2",
        "rest/auth",
        "rest/basicauth",
        "rest/authconfig",
        "rest/plugins",
        "rest/applinks",
        "rest/access-tokens",
        "rest/api/2/application-properties",
        "rest/api/2/reindex",
        "rest/api/2/upgrade",
        "rest/api/2/cluster",
        "rest/api/2/settings",
        "rest/api/2.0.alpha1/reindex",
        "rest/api/latest/reindex",
        "secure/admin",
        "plugins/servlet",
    ] {
        let title = place.replacen('r', "R", 1);
        let encoded: String = place
            .split('/')
            .map(|segment| segment.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat())
            .collect::<Vec<_>>()
            .join("/");
        for spelling in [place.to_owned(), place.to_uppercase(), title, encoded] {
            for end in ["", "/", "/x", "/x/y/", ".json", ".xml/", "/x.json"] {
                for context in ["", "jira/", "apps/jira/"] {
                    let path = format!("/{context}{spelling}{end}");
                    assert!(denied(&path).is_some(), "{path}");
                }
            }
        }
    }
}

#[test]
fn what_callers_need_is_not_denied() {
    for path in [
        "/",
        "/status",
        "/rest",
        "/rest/api/2/myself",
        "/rest/api/2/serverInfo",
        "/rest/api/2/issue/PAT-1",
        "/rest/api/2/issue/AUTH-1/comment",
        "/rest/api/2/user/search",
        "/rest/patx",
        "/rest/api/2/settingsx",
        "/rest/api/1.0/application-properties",
        "/rest/api/1.0/projects/P/repos/r/browse/rest/auth/File.java",
        "/secure/attachment/1/admin",
        "/rest/servicedeskapi/request/1",
    ] {
        assert_eq!(denied(path), None, "{path}");
    }
}
