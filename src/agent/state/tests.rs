use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::identity::encoded::Encoded;

fn enrolment() -> Enrolment {
    Enrolment {
        relay_url: "wss://relay.example.com".to_owned(),
        relay_key: SigningKey::generate().unwrap().0.public(),
        site: "acme".parse().unwrap(),
        agent: AgentId::generate(),
        enrolled: 7,
    }
}

#[test]
fn an_enrolment_is_whole_or_not_there() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    let state = State::open(&folder).unwrap();
    assert!(state.identity().unwrap().is_none());
    let secret = EnrolmentSecret::generate().unwrap();
    let key = state.enrolling_key(&secret).unwrap().public();
    assert_eq!(state.enrolling_key(&secret).unwrap().public(), key, "the same token tries with the same key");
    let other = EnrolmentSecret::generate().unwrap();
    assert_ne!(state.enrolling_key(&other).unwrap().public(), key);

    let (first, enrolment) = (Join::first().unwrap(), enrolment());
    state.enrolled(&secret, &enrolment, first).unwrap();
    let identity = state.identity().unwrap().unwrap();
    assert_eq!((&identity.enrolment, identity.key.public()), (&enrolment, key));
    for slot in 0..SLOTS {
        assert_eq!(state.join(enrolment.agent, slot).unwrap(), Some(first));
    }
    let next = Join { counter: 2, value: Encoded([3; 32]) };
    state.store_join(enrolment.agent, 1, next).unwrap();
    drop(state);

    let state = State::open(&folder).unwrap();
    assert_eq!(state.join(enrolment.agent, 0).unwrap(), Some(first));
    assert_eq!(state.join(enrolment.agent, 1).unwrap(), Some(next));
    assert_eq!(state.join(AgentId::generate(), 1).unwrap(), None, "of another enrolment");
    for file in std::fs::read_dir(&folder).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }

    // Anew: the old key is gone.
    let before = state.key_path(enrolment.agent);
    assert!(before.exists());
    let anew = Enrolment { agent: AgentId::generate(), ..enrolment };
    let key = state.enrolling_key(&other).unwrap().public();
    state.enrolled(&other, &anew, first).unwrap();
    assert!(!before.exists());
    assert_eq!(state.identity().unwrap().unwrap().key.public(), key);
}

#[test]
fn two_processes_never_share_a_folder() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("state");
    let held = State::open(&folder).unwrap();
    let fault = State::open(&folder).unwrap_err();
    assert!(matches!(fault, StateFault::Held { .. }), "{fault}");
    assert!(fault.to_string().contains("systemctl stop"), "{fault}");
    drop(held);
    State::open(&folder).unwrap();
}

#[test]
fn what_others_may_use_and_what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o750, 0o705, 0o777] {
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let fault = State::open(folder.path()).unwrap_err().to_string();
        assert!(fault.contains("chmod 700"), "{fault}");
    }
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let state = State::open(folder.path()).unwrap();
    std::fs::write(folder.path().join("join-0.json"), "{\"agent\"").unwrap();
    let fault = state.join(AgentId::generate(), 0).unwrap_err().to_string();
    assert!(fault.contains("join-0.json") && fault.contains("enrol --replace"), "{fault}");
    let fault = State::open(Path::new("/proc/no/such")).unwrap_err();
    assert!(matches!(fault, StateFault::Folder { verb: "created", .. }), "{fault}");
}
