//! B6: a few seconds later a call got a clean 503 with `Retry-After`. Ours the same, with the outcome: not sent.

use std::time::Duration;

use http::Method;

use crate::support::door::{Version, empty};
use crate::support::eventually;
use crate::support::odd_site::OddSite;

#[tokio::test]
async fn a_site_that_is_away_is_told_and_so_is_when_to_come_again() {
    let mut site = OddSite::start().await;
    site.running.agent.kill();
    let before = site.odd.requests();
    for version in [Version::One, Version::Two] {
        for method in [Method::GET, Method::POST] {
            let answer = site.call(version, OddSite::request(method, "x", empty())).await.unwrap();
            assert_eq!(answer.status, 503);
            assert_eq!(answer.problem(), Some(("site-offline".to_owned(), "not-sent".to_owned())));
            let seconds: u32 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=30).contains(&seconds));
        }
    }
    assert_eq!(site.odd.requests(), before);
    site.running.agent = site.running.world.start_agent();
    site.running.agent.line("connected to the relay").await;
    // The relay takes the agent in a moment after the agent says so.
    eventually("calls pass again", Duration::from_secs(5), async || {
        site.get(Version::One, "x").await.unwrap().status == 200
    })
    .await;
}
