//! Keys that change, and issuers that are away, slow, or talk nonsense.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use super::stand::{Does, Signer, Stand, keys};
use super::trust;
use crate::support::eventually;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

const PATH: &str = "/jira/rest/api/2/issue/TEST-1";

#[tokio::test]
async fn a_key_that_is_new_is_asked_for_once_and_the_old_one_is_gone() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let stand = Stand::start(&world.authority, keys(&[&old])).await;
    trust(&world, &stand, "");
    let site = Running::start(world).await;
    let by_old = site.client.with_key(&old.token(&json!({})));
    assert_eq!(by_old.get(&host(), PATH).await.unwrap().status, StatusCode::OK);
    assert_eq!(stand.asked(), 1);
    stand.now_does(keys(&[&new]));
    // All at once, each token another text. The first wait may still run; then one question serves all.
    eventually("the new key serves", Duration::from_secs(20), async || {
        let tokens: Vec<String> = (0..20).map(|number| new.token(&json!({ "n": number }))).collect();
        let calls = tokens.iter().map(|token| {
            let client = site.client.with_key(token);
            async move { client.get(&host(), PATH).await.unwrap() }
        });
        let answers = join_all(calls).await;
        for answer in &answers {
            let refused = answer.problem() == Some("token-invalid");
            assert!(answer.status == StatusCode::OK || refused, "{answer:?}");
            assert!(!refused || answer.headers.contains_key("retry-after"), "{answer:?}");
        }
        answers.iter().all(|answer| answer.status == StatusCode::OK)
    })
    .await;
    assert_eq!(stand.asked(), 2, "one question for all of them");
    let refused = by_old.get(&host(), PATH).await.unwrap();
    assert_eq!(refused.problem(), Some("token-invalid"), "verified before, and the key is gone: {refused:?}");
}

#[tokio::test]
async fn an_issuer_that_is_away_slow_or_talks_nonsense_stops_its_own_callers_only() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    let own = Signer::new("own");
    let stand = Stand::start(&world.authority, Does::HangsUp).await;
    trust(&world, &stand, "");
    let site = Running::start(world).await;
    let client = site.client.with_key(&own.token(&json!({})));
    for (does, says) in [
        (Does::HangsUp, ""),
        (Does::Answers("500 Oh", String::new()), "answered 500"),
        (Does::Answers("200 OK", "<html>".to_owned()), "can't be read"),
        (Does::Answers("200 OK", "{\"keys\":[],\"keys\":[]}".to_owned()), "stands twice"),
        (Does::Answers("200 OK", " ".repeat(300 << 10)), "more than 256 KB"),
        (Does::Waits, "did not answer in full within"),
    ] {
        stand.now_does(does);
        eventually(says, Duration::from_secs(40), async || {
            let answer = client.get(&host(), PATH).await.unwrap();
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
            assert_eq!(answer.problem(), Some("issuer-unavailable"));
            assert!(answer.headers.contains_key("retry-after"));
            let status = site.world.status().await;
            let issuer = &status["issuers"][0];
            assert_eq!(issuer["usable"], false);
            issuer["error"].as_str().is_some_and(|error| error.contains(says))
        })
        .await;
        let own_key = site.client.get(&host(), PATH).await.unwrap();
        assert_eq!(own_key.status, StatusCode::OK, "{own_key:?}");
    }
    let status = site.world.agent(&["status"]).await;
    assert!(status.out.contains("NO KEYS"), "{status:?}");
    stand.now_does(keys(&[&own]));
    eventually("it is back", Duration::from_secs(40), async || {
        client.get(&host(), PATH).await.unwrap().status == StatusCode::OK
    })
    .await;
    // From here on an outage stops nobody.
    stand.now_does(Does::HangsUp);
    let another = site.client.with_key(&own.token(&json!({ "n": 2 })));
    assert_eq!(another.get(&host(), PATH).await.unwrap().status, StatusCode::OK);
}
