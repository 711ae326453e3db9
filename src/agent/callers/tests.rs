use super::*;

fn name(text: &str) -> CallerName {
    text.parse().unwrap()
}

/// Whose key it is.
fn whose(callers: &Callers, key: &str) -> Result<CallerName, UnknownKey> {
    callers.authenticate(key).map(|known| known.caller)
}

#[tokio::test]
async fn a_key_works_until_its_caller_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let callers = Callers::load(Store::for_tests(folder.path()), Clock::manual()).await.unwrap();
    let key = callers.add(&name("bot")).await.unwrap();
    assert_eq!(whose(&callers, key.expose()), Ok(name("bot")));
    let mut wrong = key.expose().clone();
    let last = if wrong.pop() == Some('A') { 'E' } else { 'A' };
    wrong.push(last);
    for text in ["", "ohk_", "ohk_abcdefghjkmn_", "x", &wrong, &key.expose()[..20]] {
        assert_eq!(whose(&callers, text), Err(UnknownKey), "{text}");
    }
    assert!(matches!(callers.add(&name("bot")).await, Err(CallersFault::Exists(_))));
    callers.remove(&name("bot")).await.unwrap();
    assert_eq!(whose(&callers, key.expose()), Err(UnknownKey));
    assert!(matches!(callers.remove(&name("bot")).await, Err(CallersFault::Unknown(_))));
}

#[tokio::test]
async fn an_old_key_works_for_its_grace_time_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let callers = Callers::load(Store::for_tests(folder.path()), clock.clone()).await.unwrap();
    let first = callers.add(&name("bot")).await.unwrap();
    let second = callers.rotate(&name("bot"), Duration::from_secs(60)).await.unwrap();
    clock.advance(Duration::from_secs(59));
    assert!(callers.authenticate(first.expose()).is_ok());
    assert_eq!(callers.list()[0].keys.len(), 2);
    clock.advance(Duration::from_secs(1));
    assert!(callers.authenticate(first.expose()).is_err());
    assert_eq!(callers.list()[0].keys.len(), 1);
    let third = callers.rotate(&name("bot"), Duration::ZERO).await.unwrap();
    assert!(callers.authenticate(second.expose()).is_err());
    assert!(callers.authenticate(third.expose()).is_ok());
    assert!(matches!(callers.rotate(&name("x"), Duration::ZERO).await, Err(CallersFault::Unknown(_))));
    assert!(matches!(callers.rotate(&name("bot"), MAX_GRACE * 2).await, Err(CallersFault::Grace)));
}

#[tokio::test]
async fn a_later_rotation_never_lengthens_a_grace_time_and_keys_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let callers = Callers::load(Store::for_tests(folder.path()), clock.clone()).await.unwrap();
    let first = callers.add(&name("bot")).await.unwrap();
    callers.rotate(&name("bot"), Duration::from_secs(60)).await.unwrap();
    callers.rotate(&name("bot"), Duration::from_secs(600)).await.unwrap();
    clock.advance(Duration::from_secs(61));
    assert!(callers.authenticate(first.expose()).is_err());
    for _ in 0..10 {
        callers.rotate(&name("bot"), Duration::from_secs(600)).await.unwrap();
    }
    assert_eq!(callers.list()[0].keys.len(), MAX_KEYS);
}

#[tokio::test]
async fn callers_outlive_a_restart_and_their_keys_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let store = Store::for_tests(folder.path());
    let callers = Callers::load(store.clone(), clock.clone()).await.unwrap();
    let key = callers.add(&name("bot")).await.unwrap();
    callers.add(&name("other")).await.unwrap();
    callers.rotate(&name("other"), Duration::from_secs(60)).await.unwrap();
    callers.authenticate(key.expose()).unwrap();
    assert_eq!(callers.list()[0].keys[0].last_used, Some(clock.unix_seconds()));

    let again = Callers::load(store, clock).await.unwrap();
    assert_eq!(whose(&again, key.expose()), Ok(name("bot")));
    let ids = |callers: &Callers| {
        let keys = |caller: ListedCaller| caller.keys.into_iter().map(|key| (key.id, key.expires));
        callers.list().into_iter().flat_map(keys).collect::<Vec<_>>()
    };
    assert_eq!(ids(&again), ids(&callers), "all keys, in their order");
}

/// Whether each key of the first caller is listed as exposed, the newest first.
fn exposed(callers: &Callers) -> Vec<bool> {
    callers.list()[0].keys.iter().map(|key| key.exposed).collect()
}

#[tokio::test]
async fn a_key_that_was_sent_through_the_relay_is_exposed_for_good_and_a_new_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let store = Store::for_tests(folder.path());
    let callers = Callers::load(store.clone(), clock.clone()).await.unwrap();
    let key = callers.add(&name("bot")).await.unwrap();
    let is_exposed =
        |callers: &Callers, key: &Secret<String>| callers.authenticate(key.expose()).unwrap().key_is_exposed;
    // Neither use by another way, nor what only looks like the key, exposes it.
    let (id, _) = key.expose().rsplit_once('_').unwrap();
    for text in ["", "x", id, &format!("{id}_{}", "A".repeat(43))] {
        callers.sent_through_relay(text).await;
    }
    assert!(!is_exposed(&callers, &key));
    assert_eq!(exposed(&callers), [false]);

    callers.sent_through_relay(key.expose()).await;
    assert!(is_exposed(&callers, &key));
    assert!(
        is_exposed(&Callers::load(store.clone(), clock.clone()).await.unwrap(), &key),
        "it is on the disk"
    );

    let fresh = callers.rotate(&name("bot"), Duration::from_secs(60)).await.unwrap();
    for callers in [&callers, &Callers::load(store, clock).await.unwrap()] {
        assert!(is_exposed(callers, &key), "the rotation writes all keys anew");
        assert!(!is_exposed(callers, &fresh));
        assert_eq!(exposed(callers), [false, true]);
    }
}

#[tokio::test]
async fn a_store_that_takes_no_mark_is_tried_again_and_the_mark_counts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let store = Store::for_tests(folder.path());
    let callers = Callers::load(store.clone(), clock.clone()).await.unwrap();
    let key = callers.add(&name("bot")).await.unwrap();
    let sql = |sql: &'static str| store.call(move |session| Ok(session.connection().execute_batch(sql)?));
    let on_disk = async || exposed(&Callers::load(store.clone(), clock.clone()).await.unwrap());
    sql("CREATE TRIGGER full BEFORE UPDATE ON caller_keys BEGIN SELECT RAISE(ABORT, 'no room'); END")
        .await
        .unwrap();
    callers.sent_through_relay(key.expose()).await;
    assert_eq!(exposed(&callers), [true]);
    assert_eq!(on_disk().await, [false]);
    sql("DROP TRIGGER full").await.unwrap();
    callers.sent_through_relay(key.expose()).await;
    assert_eq!(on_disk().await, [false], "not at every call");
    clock.advance(Duration::from_secs(10));
    callers.sent_through_relay(key.expose()).await;
    assert_eq!(on_disk().await, [true]);
    // From then on the store is not told again.
    sql("UPDATE caller_keys SET exposed = 0").await.unwrap();
    callers.sent_through_relay(key.expose()).await;
    assert_eq!(on_disk().await, [false]);
}

#[tokio::test]
async fn a_mark_and_a_rotation_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::for_tests(folder.path());
    let callers = Callers::load(store.clone(), Clock::manual()).await.unwrap();
    for round in 0..20 {
        let bot = name(&format!("bot{round}"));
        let key = callers.add(&bot).await.unwrap();
        let (rotated, ()) = tokio::join!(
            callers.rotate(&bot, Duration::from_secs(60)),
            callers.sent_through_relay(key.expose())
        );
        rotated.unwrap();
        let again = Callers::load(store.clone(), Clock::manual()).await.unwrap();
        assert!(again.authenticate(key.expose()).unwrap().key_is_exposed, "{round}");
    }
}

#[tokio::test]
async fn a_caller_that_signs_has_no_secret_and_each_key_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let store = Store::for_tests(folder.path());
    let callers = Callers::load(store.clone(), clock.clone()).await.unwrap();
    let public = |byte: u8| PublicKey::from_slice(&[byte; 32]).unwrap();
    let is = |byte: u8| move |key: &PublicKey| *key == public(byte);
    let first = callers.add_public(&name("ci"), public(9)).await.unwrap();
    assert!(first.starts_with("ohs_"), "{first}");
    assert_eq!(callers.signer(&first, is(9)), Ok(name("ci")));
    assert_eq!(callers.signer(&first, is(8)), Err(UnknownSigner::Wrong));
    for id in ["", "ohs_", "ohs_abcdefghjkmn", &first.replace("ohs_", "ohk_"), &first[4..]] {
        assert_eq!(callers.signer(id, |_| true), Err(UnknownSigner::NoKey), "{id}");
    }
    let secret = format!("{}_{}", first.replace("ohs_", "ohk_"), "A".repeat(43));
    assert_eq!(whose(&callers, &secret), Err(UnknownKey), "a public key is no secret");
    assert!(matches!(callers.add_public(&name("x"), public(9)).await, Err(CallersFault::Taken(_))));
    let second = callers.rotate_public(&name("ci"), public(8), Duration::from_secs(60)).await.unwrap();
    let keys = callers.list().remove(0).keys;
    assert!(keys.iter().all(|key| key.signs) && keys[0].id == second && keys[1].id == first);
    let again = Callers::load(store, clock.clone()).await.unwrap();
    assert_eq!(again.signer(&first, is(9)), Ok(name("ci")));
    clock.advance(Duration::from_secs(60));
    assert_eq!(again.signer(&first, is(9)), Err(UnknownSigner::NoKey));
    assert_eq!(again.signer(&second, is(8)), Ok(name("ci")));
    // Back to a secret: the kinds take turns as the administrator says.
    let key = again.rotate(&name("ci"), Duration::ZERO).await.unwrap();
    assert_eq!(whose(&again, key.expose()), Ok(name("ci")));
    let id = key.expose().split('_').nth(1).unwrap().to_owned();
    assert_eq!(again.signer(&format!("ohs_{id}"), |_| true), Err(UnknownSigner::NoKey));
    assert_eq!(again.signer(&second, is(8)), Err(UnknownSigner::NoKey));
}
