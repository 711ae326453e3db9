use super::*;

fn name(text: &str) -> CallerName {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_key_works_until_its_caller_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let callers = Callers::load(Store::for_tests(folder.path()), Clock::manual()).await.unwrap();
    let key = callers.add(&name("bot")).await.unwrap();
    assert_eq!(callers.authenticate(key.expose()), Ok(name("bot")));
    let mut wrong = key.expose().clone();
    let last = if wrong.pop() == Some('A') { 'E' } else { 'A' };
    wrong.push(last);
    for text in ["", "ohk_", "ohk_abcdefghjkmn_", "x", &wrong, &key.expose()[..20]] {
        assert_eq!(callers.authenticate(text), Err(UnknownKey), "{text}");
    }
    assert!(matches!(callers.add(&name("bot")).await, Err(CallersFault::Exists(_))));
    callers.remove(&name("bot")).await.unwrap();
    assert_eq!(callers.authenticate(key.expose()), Err(UnknownKey));
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
    assert_eq!(again.authenticate(key.expose()), Ok(name("bot")));
    let ids = |callers: &Callers| {
        let keys = |caller: ListedCaller| caller.keys.into_iter().map(|key| (key.id, key.expires));
        callers.list().into_iter().flat_map(keys).collect::<Vec<_>>()
    };
    assert_eq!(ids(&again), ids(&callers), "all keys, in their order");
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
    assert_eq!(callers.authenticate(&secret), Err(UnknownKey), "a public key is no secret");
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
    assert_eq!(again.authenticate(key.expose()), Ok(name("ci")));
    let id = key.expose().split('_').nth(1).unwrap().to_owned();
    assert_eq!(again.signer(&format!("ohs_{id}"), |_| true), Err(UnknownSigner::NoKey));
    assert_eq!(again.signer(&second, is(8)), Err(UnknownSigner::NoKey));
}
