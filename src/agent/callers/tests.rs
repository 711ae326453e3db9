use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

fn name(text: &str) -> CallerName {
    text.parse().unwrap()
}

#[test]
fn a_key_works_until_its_caller_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let callers = Callers::load(folder.path(), Clock::manual()).unwrap();
    let key = callers.add(&name("bot")).unwrap();
    assert_eq!(callers.authenticate(key.expose()), Ok(name("bot")));
    let mut wrong = key.expose().clone();
    let last = if wrong.pop() == Some('A') { 'E' } else { 'A' };
    wrong.push(last);
    for text in ["", "ohk_", "ohk_abcdefghjkmn_", "x", &wrong, &key.expose()[..20]] {
        assert_eq!(callers.authenticate(text), Err(UnknownKey), "{text}");
    }
    assert!(matches!(callers.add(&name("bot")), Err(CallersFault::Exists(_))));
    callers.remove(&name("bot")).unwrap();
    assert_eq!(callers.authenticate(key.expose()), Err(UnknownKey));
    assert!(matches!(callers.remove(&name("bot")), Err(CallersFault::Unknown(_))));
}

#[test]
fn an_old_key_works_for_its_grace_time_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let callers = Callers::load(folder.path(), clock.clone()).unwrap();
    let first = callers.add(&name("bot")).unwrap();
    let second = callers.rotate(&name("bot"), Duration::from_secs(60)).unwrap();
    clock.advance(Duration::from_secs(59));
    assert!(callers.authenticate(first.expose()).is_ok());
    assert_eq!(callers.list()[0].keys.len(), 2);
    clock.advance(Duration::from_secs(1));
    assert!(callers.authenticate(first.expose()).is_err());
    assert_eq!(callers.list()[0].keys.len(), 1);
    let third = callers.rotate(&name("bot"), Duration::ZERO).unwrap();
    assert!(callers.authenticate(second.expose()).is_err());
    assert!(callers.authenticate(third.expose()).is_ok());
    assert!(matches!(callers.rotate(&name("x"), Duration::ZERO), Err(CallersFault::Unknown(_))));
    assert!(matches!(callers.rotate(&name("bot"), MAX_GRACE * 2), Err(CallersFault::Grace)));
}

#[test]
fn a_later_rotation_never_lengthens_a_grace_time_and_keys_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let callers = Callers::load(folder.path(), clock.clone()).unwrap();
    let first = callers.add(&name("bot")).unwrap();
    callers.rotate(&name("bot"), Duration::from_secs(60)).unwrap();
    callers.rotate(&name("bot"), Duration::from_secs(600)).unwrap();
    clock.advance(Duration::from_secs(61));
    assert!(callers.authenticate(first.expose()).is_err());
    for _ in 0..10 {
        callers.rotate(&name("bot"), Duration::from_secs(600)).unwrap();
    }
    assert_eq!(callers.list()[0].keys.len(), MAX_KEYS);
}

#[test]
fn callers_outlive_a_restart_in_a_file_of_their_owner() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let callers = Callers::load(folder.path(), clock.clone()).unwrap();
    let key = callers.add(&name("bot")).unwrap();
    callers.authenticate(key.expose()).unwrap();
    assert_eq!(callers.list()[0].keys[0].last_used, Some(clock.unix_seconds()));
    let path = folder.path().join(FILE);
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&key.expose()[17..]), "no secret in the file");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");

    let again = Callers::load(folder.path(), clock).unwrap();
    assert_eq!(again.authenticate(key.expose()), Ok(name("bot")));
}

#[test]
fn a_file_that_cannot_be_trusted_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let read = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Callers::load(folder.path(), Clock::manual()).unwrap_err().report().to_string()
    };
    assert!(read("{}", 0o644).contains("chmod 600"));
    assert!(read("{", 0o600).contains("restore it from a backup"));
    assert!(read("{\"version\":2,\"callers\":{}}", 0o600).contains("version 2"));
    assert!(read("{\"version\":1,\"callers\":{\"Bad Name\":[]}}", 0o600).contains("caller name"));
    assert!(read(&" ".repeat((4 << 20) + 1), 0o600).contains("larger than"));
}

#[test]
fn a_change_that_cannot_be_written_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let callers = Callers::load(&state, Clock::manual()).unwrap();
    std::fs::remove_dir(&state).unwrap();
    assert!(matches!(callers.add(&name("bot")), Err(CallersFault::Write { .. })));
    assert!(callers.list().is_empty());
}
