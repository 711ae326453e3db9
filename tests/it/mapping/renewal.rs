//! What becomes of tokens: at their end, when an answer is lost, when a grant is taken back.

use std::sync::Arc;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_calls_at_the_end_of_a_token_make_one_refresh() {
    let world = Arc::new(World::new(&[]).await);
    world.link("alice").await;
    assert_eq!(who(&world.myself("alice").await), "alice");
    world.clock.advance(Duration::from_secs(7200));
    world.jira.post("/oauth/users/alice/expire").await;
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let world = Arc::clone(&world);
            Tasks::new().spawn_detached(async move { who(&world.myself("alice").await) })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "alice");
    }
    assert_eq!(world.counter("/token_requests/refresh_token").await, 1);
    assert_eq!(world.counter("/refreshes/alice").await, 1);
    // Another process goes on with what is on disk.
    world.clock.advance(Duration::from_secs(7200));
    assert_eq!(who(&world.myself("alice").await), "alice");
    assert_eq!(world.counter("/token_requests/refresh_token").await, 2);
}

/// Each call holds a connection while it waits for the new token, which is fetched over one that calls can't take.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_dies_before_its_time_is_renewed_though_all_connections_wait_for_it() {
    let world = Arc::new(World::new(&[]).await);
    world.link("alice").await;
    assert_eq!(who(&world.myself("alice").await), "alice");
    world.jira.post("/oauth/users/alice/expire").await;
    let calls: Vec<_> = (0..24)
        .map(|_| {
            let world = Arc::clone(&world);
            Tasks::new().spawn_detached(async move { who(&world.myself("alice").await) })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "alice");
    }
    assert_eq!(world.counter("/refreshes/alice").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_asks_for_a_new_consent_and_sends_nothing_twice() {
    let world = World::new(&[]).await;
    world.link("alice").await;
    world.clock.advance(Duration::from_secs(7200));
    world.jira.post("/oauth/drop-answer").await;
    for _ in 0..3 {
        let answer = world.comment("alice").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "needs-reauth"));
    }
    assert_eq!(world.counter("/token_requests/refresh_token").await, 1);
    assert_eq!(world.state("alice").await, ("needs-reauth".to_owned(), false));
    world.link("alice").await;
    assert_eq!(world.comment("alice").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_takes_the_consent_back_and_the_others_go_on() {
    let world = World::new(&[]).await;
    for user in ["alice", "bob", "carol"] {
        world.link(user).await;
        assert_eq!(world.comment(user).await.status, 201);
    }
    world.jira.post("/oauth/users/bob/revoke").await;
    let answers = tokio::join!(world.comment("alice"), world.comment("bob"), world.comment("carol"));
    assert_eq!((answers.0.status, answers.2.status), (201, 201));
    assert_eq!((answers.1.status, answers.1.code().as_str()), (403, "needs-reauth"));
    assert_eq!(world.state("bob").await, ("needs-reauth".to_owned(), false));
    assert_eq!(world.state("alice").await, ("active".to_owned(), true));
    // What Bob wanted was done by nobody.
    let comments = world.call(Method::GET, "/rest/api/2/issue/DEMO-1/comment", "alice", "").await;
    let document: Value = serde_json::from_slice(&comments.body).unwrap();
    let by = |user: &str| {
        let comments = document["comments"].as_array().unwrap().iter();
        comments.filter(|comment| comment["author"]["name"] == user && comment["body"] == "hello").count()
    };
    assert_eq!((by("alice"), by("bob"), by("carol"), by("svc-outhaul")), (2, 1, 2, 0), "{document}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_died_early_is_renewed_and_only_what_reads_is_sent_again() {
    let world = World::new(&[]).await;
    world.link("alice").await;
    world.jira.post("/oauth/users/alice/expire").await;
    let answer = world.comment("alice").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.problem(), crate::proxy::problem("credential-renewed", "not-sent", "safe"));
    assert_eq!(world.comment("alice").await.status, 201);
    world.jira.post("/oauth/users/alice/expire").await;
    assert_eq!(who(&world.myself("alice").await), "alice");
    assert_eq!(world.counter("/refreshes/alice").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jira_that_is_away_costs_no_grant() {
    let world = World::new(&[]).await;
    world.link("alice").await;
    world.clock.advance(Duration::from_secs(7200));
    world
        .jira
        .ask(
            Method::POST,
            "/oauth/clients",
            &format!(
                r#"{{"id":"outhaul","secret":"changed","scope":"WRITE","redirect_uris":["{REDIRECT}"]}}"#
            ),
        )
        .await;
    let answer = world.myself("alice").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "credential-unavailable"), "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(world.state("alice").await, ("active".to_owned(), true));
    world
        .jira
        .ask(
            Method::POST,
            "/oauth/clients",
            &format!(
                r#"{{"id":"outhaul","secret":"s3cret","scope":"WRITE","redirect_uris":["{REDIRECT}"]}}"#
            ),
        )
        .await;
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(who(&world.myself("alice").await), "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_goes_on_without_the_call_that_began_it() {
    let world = World::new(&[]).await;
    world.link("alice").await;
    world.clock.advance(Duration::from_secs(7200));
    world.jira.post("/oauth/hold/after").await;
    {
        let mut call = std::pin::pin!(world.myself("alice"));
        let held = world.jira.ask(Method::GET, "/oauth/held?wait=30", "");
        tokio::select! {
            answer = &mut call => panic!("{answer:?}"),
            held = held => assert_eq!(held["held"], 1),
        }
    }
    world.jira.post("/oauth/release").await;
    assert_eq!(who(&world.myself("alice").await), "alice");
    assert_eq!(world.counter("/token_requests/refresh_token").await, 1);
}
