//! B7: what the list did not allow was 401. Ours: 403, a document that says so and a header that no Jira sends; and
//! Jira's own 401 passes as Jira's.

use http::Method;

use crate::support::door::{Version, empty};
use crate::support::odd_site::{MOUNT, OddSite};

#[tokio::test]
async fn a_refusal_is_told_apart_from_a_login() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        let mut request = OddSite::request(Method::DELETE, "x", empty());
        *request.uri_mut() = format!("{MOUNT}/rest/api/2/issue/TEST-1").parse().unwrap();
        let refused = site.call(version, request).await.unwrap();
        assert_eq!(refused.status, 403);
        assert_eq!(refused.problem(), Some(("policy-refused".to_owned(), "not-sent".to_owned())));
        assert_eq!(refused.headers["content-type"], "application/problem+json");
        assert!(!refused.headers.contains_key("www-authenticate"));
        let document: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!((&document["fault"], &document["retry"]), (&"caller".into(), &"never".into()));
        let jiras = site.get(version, "x?code=401&length=7").await.unwrap();
        assert_eq!((jiras.status.as_u16(), jiras.problem(), jiras.body.len()), (401, None, 7));
    }
}
