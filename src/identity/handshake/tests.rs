use bytes::Bytes;
use proptest::prelude::*;

use super::agent::{Distrust, Intent, Proved, Start, Waiting, confirm};
use super::join::{CloneFault, Join, JoinState};
use super::messages::{Limits, Refuse, RefuseCode, SLOTS, Standing, Welcome};
use super::relay::{Claim, Credential, Opened, Proven, read_confirm};
use super::transcript::Exporter;
use crate::common::ids::{AgentId, BootId};
use crate::identity::encoded::Encoded;
use crate::identity::keys::SigningKey;
use crate::identity::token::EnrolmentSecret;

const SESSION: Exporter = Exporter([1; 32]);
const OTHER_SESSION: Exporter = Exporter([2; 32]);

fn key() -> SigningKey {
    SigningKey::generate().unwrap().0
}

struct Pair {
    agent: SigningKey,
    relay: SigningKey,
    id: AgentId,
    join: Join,
    agent_session: Option<Exporter>,
    relay_session: Option<Exporter>,
    agent_allows: bool,
    relay_allows: bool,
    enrol: bool,
}

#[derive(Debug, PartialEq)]
enum End {
    Agent(Distrust),
    Relay(RefuseCode),
}

/// Which payload is changed on the way, and how.
type Tamper<'a> = &'a dyn Fn(usize, Bytes) -> Bytes;

fn untouched(_: usize, payload: Bytes) -> Bytes {
    payload
}

impl Pair {
    fn new() -> Self {
        Self {
            agent: key(),
            relay: key(),
            id: AgentId::generate(),
            join: Join::first().unwrap(),
            agent_session: Some(SESSION),
            relay_session: Some(SESSION),
            agent_allows: false,
            relay_allows: false,
            enrol: false,
        }
    }

    fn start(&self) -> Start {
        let intent = if self.enrol {
            Intent::Enrol {
                relay: self.relay.public().fingerprint(),
                secret: EnrolmentSecret::from_bytes(Encoded([5; 32])),
            }
        } else {
            Intent::Connect { agent: self.id, relay: self.relay.public(), join: Some(self.join) }
        };
        Start {
            intent,
            site: "acme".parse().unwrap(),
            slot: 0,
            boot: BootId::generate(),
            software: "test".into(),
        }
    }

    fn welcome(&self) -> Welcome {
        Welcome {
            agent: self.id,
            site: "acme".parse().unwrap(),
            join: self.join,
            limits: Limits { max_streams: 10, max_agent_streams: 5 },
            ping_seconds: 15,
            retry_hint: None,
            standing: Standing::Active,
        }
    }

    fn run(&self, tamper: Tamper<'_>) -> Result<(bool, bool), End> {
        let refused = |refuse: Refuse| End::Relay(refuse.code);
        let (hello, waiting): (_, Waiting) = self.start().hello(&self.agent, Encoded::random().unwrap());
        let opened = Opened::read(&tamper(0, hello)).map_err(refused)?;
        // As the relay does it: the pinned key to connect, the shown one to enrol.
        let agent_key = match opened.claim() {
            Claim::Connect(id) if id != self.id => return Err(End::Relay(RefuseCode::UnknownAgent)),
            Claim::Connect(_) => self.agent.public(),
            Claim::Enrol(key) => key,
        };
        let nonce = Encoded::random().unwrap();
        let (challenge, challenged) =
            opened.challenge(&self.relay, self.relay_session, self.relay_allows, nonce).map_err(refused)?;
        let (proof, proved): (_, Proved) = waiting
            .prove(&tamper(1, challenge), &self.agent, self.agent_session, self.agent_allows)
            .map_err(End::Agent)?;
        let proof: Proven = challenged.verify(&tamper(2, proof), &agent_key).map_err(refused)?;
        match proof.credential() {
            Credential::Join(join) => assert_eq!(*join, Some(self.join)),
            Credential::Secret(secret) => {
                assert_eq!(secret.hash(), EnrolmentSecret::from_bytes(Encoded([5; 32])).hash());
            }
        }
        let welcome = proof.welcome(&self.relay, &self.welcome());
        let welcomed = proved.welcomed(&tamper(3, welcome)).map_err(End::Agent)?;
        assert_eq!(welcomed.relay, self.relay.public());
        assert_eq!(welcomed.welcome, self.welcome());
        read_confirm(&tamper(4, confirm())).map_err(refused)?;
        Ok((welcomed.bound, proof.is_bound()))
    }
}

#[test]
fn connect_and_enrol_in_one_tls_session_are_bound() {
    for enrol in [false, true] {
        for (agent_allows, relay_allows) in [(false, false), (true, false), (false, true), (true, true)] {
            let pair = Pair { agent_allows, relay_allows, enrol, ..Pair::new() };
            assert_eq!(pair.run(&untouched), Ok((true, true)));
        }
    }
}

#[test]
fn an_opened_tls_session_goes_on_only_if_both_allow_it() {
    let opened = || Pair { relay_session: Some(OTHER_SESSION), ..Pair::new() };
    let refused = |pair: Pair| pair.run(&untouched).unwrap_err();
    assert_eq!(refused(opened()), End::Agent(Distrust::Intercepted));
    assert_eq!(refused(Pair { relay_allows: true, ..opened() }), End::Agent(Distrust::Intercepted));
    assert_eq!(refused(Pair { agent_allows: true, ..opened() }), End::Agent(Distrust::RelayForbidsUnbound));
    let both = Pair { agent_allows: true, relay_allows: true, ..opened() };
    assert_eq!(both.run(&untouched), Ok((false, false)));
    let text = Distrust::Intercepted.to_string();
    assert!(text.contains("opened by something in between") && text.contains("allow-unbound"), "{text}");
}

#[test]
fn an_end_without_a_tls_session_is_unbound() {
    let table = [
        (Some(SESSION), None, false, false, Err(End::Relay(RefuseCode::Unbound))),
        (Some(SESSION), None, false, true, Err(End::Agent(Distrust::Intercepted))),
        (Some(SESSION), None, true, true, Ok((false, false))),
        (None, Some(SESSION), true, true, Ok((false, false))),
        (None, Some(SESSION), false, true, Err(End::Agent(Distrust::Intercepted))),
        (None, None, true, true, Ok((false, false))),
    ];
    for (agent_session, relay_session, agent_allows, relay_allows, end) in table {
        let pair = Pair { agent_session, relay_session, agent_allows, relay_allows, ..Pair::new() };
        assert_eq!(pair.run(&untouched), end);
    }
}

#[test]
fn a_wrong_relay_is_refused_before_anything_secret_is_sent() {
    for enrol in [false, true] {
        let pair = Pair { enrol, ..Pair::new() };
        let impostor = key();
        let (hello, waiting) = pair.start().hello(&pair.agent, Encoded::random().unwrap());
        let opened = Opened::read(&hello).unwrap();
        let (challenge, _) = opened.challenge(&impostor, Some(SESSION), true, Encoded([0; 32])).unwrap();
        let fault = waiting.prove(&challenge, &pair.agent, Some(SESSION), true).unwrap_err();
        assert!(matches!(fault, Distrust::WrongKey { .. }), "{fault}");
    }
}

#[test]
fn a_wrong_agent_key_is_refused() {
    let pair = Pair::new();
    let (hello, waiting) = pair.start().hello(&pair.agent, Encoded::random().unwrap());
    let opened = Opened::read(&hello).unwrap();
    let (challenge, challenged) =
        opened.challenge(&pair.relay, Some(SESSION), false, Encoded([0; 32])).unwrap();
    let (proof, _) = waiting.prove(&challenge, &pair.agent, Some(SESSION), false).unwrap();
    let refuse = challenged.verify(&proof, &key().public()).unwrap_err();
    assert_eq!(refuse.code, RefuseCode::BadProof);
}

#[test]
fn a_proof_does_not_fit_another_handshake() {
    let pair = Pair::new();
    let proof_of = |session: Exporter| {
        let (hello, waiting) = pair.start().hello(&pair.agent, Encoded([3; 32]));
        let opened = Opened::read(&hello).unwrap();
        let (challenge, challenged) =
            opened.challenge(&pair.relay, Some(session), false, Encoded([4; 32])).unwrap();
        let (proof, _) = waiting.prove(&challenge, &pair.agent, Some(session), false).unwrap();
        (challenged, proof)
    };
    let (_, recorded) = proof_of(SESSION);
    let (challenged, _) = proof_of(OTHER_SESSION);
    let refuse = challenged.verify(&recorded, &pair.agent.public()).unwrap_err();
    assert_eq!(refuse.code, RefuseCode::BadProof);
}

#[test]
fn hello_is_judged() {
    let hello = |change: &dyn Fn(&mut serde_json::Value)| {
        let pair = Pair::new();
        let (hello, _) = pair.start().hello(&pair.agent, Encoded([0; 32]));
        let mut document: serde_json::Value = serde_json::from_slice(&hello).unwrap();
        change(&mut document);
        Opened::read(&Bytes::from(document.to_string())).map(|_| ()).map_err(|refuse| refuse.code)
    };
    assert_eq!(hello(&|document| document["later"] = "unknown members pass".into()), Ok(()));
    assert_eq!(hello(&|document| document["versions"] = serde_json::json!([1, 9])), Ok(()));
    let table: [(&str, serde_json::Value, RefuseCode); 9] = [
        ("versions", serde_json::json!([2, 3]), RefuseCode::Version),
        ("versions", serde_json::json!([0, 0]), RefuseCode::Version),
        ("versions", serde_json::json!("1"), RefuseCode::BadProof),
        ("slot", SLOTS.into(), RefuseCode::BadProof),
        ("site", "Not A Site".into(), RefuseCode::BadProof),
        ("nonce", "short".into(), RefuseCode::BadProof),
        ("agent", serde_json::Value::Null, RefuseCode::BadProof),
        ("purpose", "enrol".into(), RefuseCode::BadProof),
        ("software", "x".repeat(200).into(), RefuseCode::BadProof),
    ];
    for (member, value, code) in table {
        assert_eq!(hello(&|document| document[member] = value.clone()), Err(code), "{member} {value}");
    }
    let long = Bytes::from(vec![b' '; 5000]);
    assert_eq!(Opened::read(&long).unwrap_err().code, RefuseCode::BadProof);
}

#[test]
fn a_welcome_for_somebody_else_is_refused() {
    let pair = Pair::new();
    for wrong in [
        Welcome { agent: AgentId::generate(), ..pair.welcome() },
        Welcome { site: "other".parse().unwrap(), ..pair.welcome() },
    ] {
        let (hello, waiting) = pair.start().hello(&pair.agent, Encoded::random().unwrap());
        let opened = Opened::read(&hello).unwrap();
        let (challenge, challenged) =
            opened.challenge(&pair.relay, Some(SESSION), false, Encoded([0; 32])).unwrap();
        let (proof, proved) = waiting.prove(&challenge, &pair.agent, Some(SESSION), false).unwrap();
        let checked = challenged.verify(&proof, &pair.agent.public()).unwrap();
        let payload = checked.welcome(&pair.relay, &wrong);
        assert_eq!(proved.welcomed(&payload).unwrap_err(), Distrust::WrongWelcome);
    }
}

#[test]
fn refusals_read_back_and_unknown_ones_too() {
    for code in RefuseCode::ALL {
        let refuse = Refuse { retry_after: Some(7), ..Refuse::new(*code, "because") };
        assert_eq!(Refuse::decode(&refuse.encode()), refuse);
        assert!(!code.remedy().is_empty());
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
    }
    let newer = Refuse::decode(br#"{"code":"moon-phase","detail":"not\u001b[31m now","more":1}"#);
    assert_eq!((newer.code, newer.detail.as_str()), (RefuseCode::Other, "not[31m now"));
    assert_eq!(Refuse::decode(b"\xff").code, RefuseCode::Other);
}

/// A relay's store of one slot, and a crash at will: before the agent stores, and before CONFIRM arrives.
fn connect(state: &mut JoinState, disk: &mut Join, shown: Join, crash: u8) -> Result<(), CloneFault> {
    *state = state.admit(Some(shown), Encoded::random().unwrap())?;
    let given = state.pending.unwrap();
    if crash > 0 {
        *disk = given;
    }
    if crash > 1 {
        *state = state.confirmed(&given).unwrap();
    }
    Ok(())
}

#[test]
fn a_late_confirm_of_an_older_connect_counts_for_nothing() {
    let first = Join::first().unwrap();
    let older = JoinState::enrolled(first).admit(Some(first), Encoded([1; 32])).unwrap();
    let newer = older.admit(Some(first), Encoded([2; 32])).unwrap();
    assert_eq!(newer.confirmed(&older.pending.unwrap()), None);
    assert!(newer.confirmed(&newer.pending.unwrap()).is_some());
}

#[test]
fn join_state_tells_a_copy() {
    let first = Join::first().unwrap();
    let mut state = JoinState { accepted: None, pending: Some(first) };
    let (mut disk, copy) = (first, first);
    connect(&mut state, &mut disk, first, 2).unwrap();
    assert_eq!(disk.counter, 2);
    let refused = state.admit(Some(copy), Encoded([0; 32]));
    assert_eq!(refused, Err(CloneFault::Stale { shown: 1, current: 2 }));
    let forged = Join { counter: 2, value: Encoded([0; 32]) };
    let ahead = Join { counter: 99, ..disk };
    for unknown in [None, Some(forged), Some(ahead)] {
        assert_eq!(state.admit(unknown, Encoded([0; 32])), Err(CloneFault::Unknown));
    }
    assert_eq!(JoinState::default().admit(Some(first), Encoded([0; 32])), Err(CloneFault::Unknown));
    assert!(!format!("{disk:?}").contains(&disk.value.to_string()), "the value is not shown");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_crash_locks_an_agent_out_and_a_copy_never_outlives_a_confirm(
        crashes in prop::collection::vec(0_u8..3, 1..40),
    ) {
        let first = Join::first().unwrap();
        let mut state = JoinState { accepted: None, pending: Some(first) };
        let mut disk = first;
        for crash in crashes {
            let copy = disk;
            prop_assert_eq!(connect(&mut state, &mut disk, copy, crash), Ok(()));
            let copy_passes = state.admit(Some(copy), Encoded([0; 32])).is_ok();
            prop_assert_eq!(copy_passes, crash < 2);
            prop_assert!(state.admit(Some(disk), Encoded([0; 32])).is_ok());
        }
    }

    #[test]
    fn any_flipped_bit_ends_the_handshake(
        message in 0_usize..5, at in any::<prop::sample::Index>(), bit in 0_u8..8, enrol in any::<bool>(),
        unbound in any::<bool>(), both_allow in any::<bool>(),
    ) {
        let pair = Pair {
            enrol,
            relay_session: Some(if unbound { OTHER_SESSION } else { SESSION }),
            agent_allows: unbound || both_allow,
            relay_allows: unbound || both_allow,
            ..Pair::new()
        };
        let flip = |index: usize, payload: Bytes| {
            if index != message {
                return payload;
            }
            let mut bytes = payload.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            Bytes::from(bytes)
        };
        prop_assert!(pair.run(&flip).is_err());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), which in 0_usize..5) {
        let garbage = |index: usize, payload: Bytes| if index == which { bytes.clone().into() } else { payload };
        prop_assert!(Pair::new().run(&garbage).is_err());
        let _ = Refuse::decode(&bytes);
    }
}
