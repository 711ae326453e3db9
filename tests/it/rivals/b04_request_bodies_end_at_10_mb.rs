//! B4: 11 MB were refused, 9 MB took 2 s. Ours: bodies stream; the limit is the administrator's, and is told.

use http::Method;

use crate::support::door::{Version, full, pieces};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::{hash, seeded};

#[tokio::test]
async fn bodies_pass_up_to_the_limit_that_was_set() {
    let site = OddSite::start_with(|world| {
        world.edit_agent("max-connections = 256\n", "max-connections = 256\nmax-request-body = \"12 MB\"\n");
    })
    .await;
    let body = seeded(4, 11 << 20);
    for version in [Version::One, Version::Two] {
        let request = OddSite::request(Method::POST, "x", full(body.clone()));
        assert_eq!(site.call(version, request).await.unwrap().headers["x-up-hash"], hash(&body));
        let before = site.odd.requests();
        let large = seeded(4, (12 << 20) + 1);
        let declared =
            site.call(version, OddSite::request(Method::POST, "x", full(large.clone()))).await.unwrap();
        assert_eq!(declared.problem(), Some(("body-too-large".to_owned(), "not-sent".to_owned())));
        assert_eq!(site.odd.requests(), before, "not-sent: the upstream saw nothing");
        let document: serde_json::Value = serde_json::from_slice(&declared.body).unwrap();
        assert_eq!(document["limit"], 12 << 20);
        // Of unknown length, it is noticed on the way, and never looks whole.
        site.odd.forget();
        let unknown =
            site.call(version, OddSite::request(Method::POST, "x", pieces(large, 100_000))).await.unwrap();
        assert_eq!(unknown.problem(), Some(("body-too-large".to_owned(), "outcome-unknown".to_owned())));
    }
}
