//! B1: an upstream that took a POST and dropped the connection received it four times. Ours: once, and the caller
//! hears that its outcome is unknown.

use http::Method;

use crate::support::door::{Version, empty, full};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::Step;

#[tokio::test]
async fn a_write_that_is_dropped_is_not_sent_again() {
    let site = OddSite::start().await;
    for version in [Version::One, Version::Two] {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for (name, end) in [("dropped", Step::Close), ("reset", Step::Reset)] {
                site.odd.on(name, [Step::TakeBody, end]);
                for body in [empty(), full("{}")] {
                    // A connection that is kept, and might be stale, is there to be used.
                    assert_eq!(site.get(version, "x").await.unwrap().status, 200);
                    let before = site.odd.requests();
                    let answer =
                        site.call(version, OddSite::request(method.clone(), name, body)).await.unwrap();
                    let expected = Some(("upstream-broke".to_owned(), "outcome-unknown".to_owned()));
                    assert_eq!(
                        (answer.status.as_u16(), answer.problem()),
                        (502, expected),
                        "{method} {name}"
                    );
                    assert_eq!(site.odd.requests() - before, 1, "{version:?} {method} {name}: sent once");
                }
            }
        }
    }
}
