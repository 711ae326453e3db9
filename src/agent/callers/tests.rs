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
