//! B8: the caller's `Authorization` was replaced, its `Cookie` was not. Ours: nothing of a caller's that could carry
//! an identity arrives, and no session comes back.

use http::{HeaderValue, Method};

use crate::support::door::{Version, empty};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::wire;

#[tokio::test]
async fn nothing_that_carries_an_identity_passes() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        for method in [Method::GET, Method::POST] {
            site.odd.forget();
            let mut request = OddSite::request(method, "x", empty());
            for name in [
                "cookie",
                "proxy-authorization",
                "x-forwarded-for",
                "x-forwarded-user",
                "x-forwarded-host",
                "forwarded",
                "remote-user",
                "x-remote-user",
                "x-ausername",
                "x-seraph-loginreason",
                "sudo",
                "x-atlassian-websudo",
                "x-http-method-override",
                "origin",
                "referer",
            ] {
                request.headers_mut().append(name, HeaderValue::from_static("smuggled"));
            }
            let answer = site.call(version, request).await.unwrap();
            assert_eq!(answer.status, 200);
            assert!(!answer.headers.contains_key("set-cookie"), "the upstream sets one with each answer");
            let heard = site.odd.heard("/odd/x ").unwrap();
            assert!(
                wire::find(&heard.raw(), b"smuggled").is_none(),
                "{}",
                String::from_utf8_lossy(&heard.raw())
            );
            assert!(
                wire::find(&heard.raw(), site.door.key.as_bytes()).is_none(),
                "the caller's key stays here"
            );
            assert_eq!(heard.parsed().unwrap()[0].0.all("authorization"), [b"Bearer pat-reader"]);
        }
    }
}
