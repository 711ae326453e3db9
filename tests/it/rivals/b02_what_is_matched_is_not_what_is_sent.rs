//! B2: `/project/%2e%2e` passed the rule `/project/:project` and reached `/`. Ours: whatever has two readings is
//! refused, and what passes is sent as it was matched.

use std::time::Duration;

use crate::support::odd_site::{MOUNT, OddSite};

/// The status of a target sent as it stands, by no library that would tidy it up.
async fn status(site: &OddSite, target: &str) -> String {
    let (host, key) = (site.door.authority(), &site.door.key);
    let request = format!(
        "GET {MOUNT}{target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
    );
    let answer = site.door.say(request.as_bytes(), Duration::from_secs(20)).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or("none").to_owned()
}

#[tokio::test]
async fn a_path_with_two_readings_is_refused_and_others_are_sent_as_matched() {
    // In place of the rule that reads everything, the rival's.
    let site = OddSite::start_with(|world| {
        world.edit_agent("allow = \"GET /rest/api/2/**\"", "allow = \"GET /rest/api/2/project/*\"");
    })
    .await;
    let before = site.odd.requests();
    for (target, expected) in [
        ("/rest/api/2/project/%2e%2e", "400"),
        ("/rest/api/2/project/%2E%2e", "400"),
        ("/rest/api/2/project/.%2e", "400"),
        ("/rest/api/2/project/..", "400"),
        ("/rest/api/2/project/.", "400"),
        ("/rest/api/2/project/..%2f..%2fadmin", "400"),
        ("/rest/api/2/project/a%2fb", "400"),
        ("/rest/api/2/project/a%5cb", "400"),
        ("/rest/api/2/project/a\\b", "400"),
        ("/rest/api/2/project/x;y", "400"),
        ("/rest/api/2/project;x/y", "400"),
        ("/rest/api/2/project/%252e%252e", "400"),
        ("/rest/api/2/project/%00", "400"),
        ("/rest/api/2/project//x", "400"),
        ("//rest/api/2/project/x", "400"),
        ("/REST/API/2/project/x", "403"),
        ("/rest/api/2/Project/x", "403"),
        ("/rest/api/2/project/x/y", "403"),
        ("/rest/api/2/project", "403"),
    ] {
        assert_eq!(status(&site, target).await, expected, "{target}");
    }
    assert_eq!(site.odd.requests(), before, "nothing of these reached the upstream");
    for target in
        ["/rest/api/2/project/TEST", "/rest/api/2/project/a%20b%C3%A4", "/rest/api/2/project/x?a=..%2f;b"]
    {
        assert_eq!(status(&site, target).await, "200", "{target}");
        assert!(
            site.odd.heard(&format!("GET {target} HTTP/1.1\r\n")).is_some(),
            "{target} as it was written"
        );
    }
}
