//! As whom calls are made, and what is told where that can't be.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_person_is_the_same_person() {
    let world = World::new(&[]).await;
    let row = world.link("alice").await;
    world.jira.post("/users/alice/rename/alice.new").await;
    assert_eq!(who(&world.myself("alice").await), "alice.new");
    assert_eq!(world.comment("alice").await.status, 201);
    let (renamed, _) = world.store.mapping(&name(), &person("alice")).await.unwrap().unwrap();
    assert_eq!((renamed.account.key, renamed.account.name.as_str()), (row.account.key, "alice.new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_was_switched_off_is_suspended() {
    for (switches, code, state) in [
        (&["inactive-myself=403"][..], "user-suspended", "suspended"),
        (&["oauth-inactive-refresh=refused"], "needs-reauth", "needs-reauth"),
    ] {
        let world = World::new(switches).await;
        world.link("alice").await;
        world.jira.post("/users/alice/deactivate").await;
        for _ in 0..2 {
            let answer = world.comment("alice").await;
            assert_eq!((answer.status, answer.code().as_str()), (403, code), "{switches:?}");
        }
        assert_eq!(world.state("alice").await, (state.to_owned(), false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_served_as_nobody_is_no_success() {
    let world = World::new(&["invalid-bearer=anonymous"]).await;
    world.link("alice").await;
    world.link("bob").await;
    // Renewed where that helps, and told where it does not.
    world.jira.post("/oauth/users/alice/expire").await;
    let answer = world.call(Method::GET, "/rest/api/2/serverInfo", "alice", "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(world.counter("/refreshes/alice").await, 1);
    world.jira.post("/oauth/users/bob/revoke").await;
    let answer = world.call(Method::GET, "/rest/api/2/serverInfo", "bob", "").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "needs-reauth"));
    // On an issue that nobody may see, as on one that everybody may.
    for issue in ["DEMO-1", "OPEN-1"] {
        world.jira.post("/oauth/users/alice/revoke").await;
        world.link("alice").await;
        world.jira.post("/oauth/users/alice/revoke").await;
        let path = format!("/rest/api/2/issue/{issue}");
        let answer = world.call(Method::GET, &path, "alice", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "needs-reauth"), "{issue}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_bring_a_token_of_their_own() {
    let world = World::new(&[]).await;
    let secrets = Secrets::Pat(outhaul::common::secret::Secret::new("pat-alice".to_owned()));
    let row = world.store_link("alice", secrets).await;
    assert_eq!((row.account.name.as_str(), row.kind.as_deref()), ("alice", Some("pat")));
    assert_eq!(world.comment("alice").await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_names_nobody_is_asked_when_it_refuses() {
    let world = World::with_header(&["invalid-bearer=401"], false).await;
    world.link("alice").await;
    assert_eq!(who(&world.myself("alice").await), "alice");
    world.jira.post("/oauth/users/alice/revoke").await;
    let answer = world.comment("alice").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "needs-reauth"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_nobody_is_no_success_though_no_name_is_asked_for() {
    let world = World::with_header(&["invalid-bearer=anonymous"], false).await;
    world.link("alice").await;
    assert_eq!(who(&world.myself("alice").await), "alice");
    world.jira.post("/oauth/users/alice/revoke").await;
    let answer = world.call(Method::GET, "/rest/api/2/serverInfo", "alice", "").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "needs-reauth"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_account_here_is_told_so() {
    let world = World::new(&["oauth-revoke=present"]).await;
    let answer = world.comment("alice").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "link-required"));
    world.link("alice").await;
    assert_eq!(world.comment("alice").await.status, 201);
    world.mappings.remove(&name(), &person("alice")).await.unwrap().unwrap();
    assert_eq!(world.comment("alice").await.code(), "link-required");
    let state = world.jira.ask(Method::GET, "/state", "").await;
    assert!(state["grants"].as_array().unwrap().is_empty(), "it was given back: {state}");
}
