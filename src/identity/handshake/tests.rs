use bytes::Bytes;
use proptest::prelude::*;

use super::agent::{Answer, Distrust, Intent, Proved, Start, Waiting, confirm};
use super::join::{CloneFault, Join, JoinState};
use super::messages::{Limits, OuterCertificate, Refuse, RefuseCode, SLOTS, Standing, Welcome};
use super::relay::{Claim, Credential, Opened, Proven, read_confirm};
use super::transcript::{Layer, Session};
use crate::common::ids::{AgentId, BootId};
use crate::identity::encoded::Encoded;
use crate::identity::keys::SigningKey;
use crate::identity::token::EnrolmentSecret;

const SESSION: [u8; 32] = [1; 32];
const OTHER_SESSION: [u8; 32] = [2; 32];
const INSIDE: [u8; 32] = [3; 32];
const OTHER_INSIDE: [u8; 32] = [4; 32];

fn key() -> SigningKey {
    SigningKey::generate().unwrap().0
}

fn outer_certificate() -> OuterCertificate {
    OuterCertificate {
        subject: "CN=relay.example.com".to_owned(),
        issuer: "CN=Corp\u{7} inspection".to_owned(),
        sha256: "ab".repeat(32),
    }
}

struct Pair {
    agent: SigningKey,
    relay: SigningKey,
    id: AgentId,
    join: Join,
    /// The exporters that agent and relay see: under the WebSocket, and inside.
    outside: ([u8; 32], [u8; 32]),
    inside: ([u8; 32], [u8; 32]),
    enrol: bool,
}

#[derive(Debug, PartialEq)]
enum End {
    Agent(Distrust),
    Relay(RefuseCode),
}

/// Which payload is changed on the way, and how.
type Tamper<'a> = &'a dyn Fn(Layer, usize, Bytes) -> Bytes;

fn untouched(_: Layer, _: usize, payload: Bytes) -> Bytes {
    payload
}

impl Pair {
    fn new() -> Self {
        Self {
            agent: key(),
            relay: key(),
            id: AgentId::generate(),
            join: Join::first().unwrap(),
            outside: (SESSION, SESSION),
            inside: (INSIDE, INSIDE),
            enrol: false,
        }
    }

    /// With something in between that opens TLS.
    fn intercepted() -> Self {
        Self { outside: (SESSION, OTHER_SESSION), ..Self::new() }
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

    fn proof(
        &self,
        waiting: Waiting,
        challenge: &Bytes,
        session: Session,
    ) -> Result<(Bytes, Box<Proved>), Distrust> {
        match waiting.answer(challenge, &self.agent, session, None)? {
            Answer::Proof(proof, proved) => Ok((proof, proved)),
            Answer::StartTls => panic!("TLS inside, where nothing opens it outside"),
        }
    }

    /// Both ends' whole handshake: in which layer it ended well.
    fn run(&self, tamper: Tamper<'_>) -> Result<Layer, End> {
        let outside = (Session::outer(self.outside.0), Session::outer(self.outside.1));
        if self.steps(outside, tamper)? {
            return Ok(Layer::Outer);
        }
        let inside = (Session::inner(self.inside.0), Session::inner(self.inside.1));
        assert!(self.steps(inside, tamper)?, "there is no third layer");
        Ok(Layer::Inner)
    }

    /// `false` if both ends go inside.
    fn steps(
        &self,
        (agent_session, relay_session): (Session, Session),
        tamper: Tamper<'_>,
    ) -> Result<bool, End> {
        let layer = agent_session.layer;
        let refused = |refuse: Refuse| End::Relay(refuse.code);
        let (hello, waiting): (_, Waiting) = self.start().hello(&self.agent, Encoded::random().unwrap());
        let opened = Opened::read(&tamper(layer, 0, hello)).map_err(refused)?;
        // As the relay does it: the pinned key to connect, the shown one to enrol.
        let agent_key = match opened.claim() {
            Claim::Connect(id) if id != self.id => return Err(End::Relay(RefuseCode::UnknownAgent)),
            Claim::Connect(_) => self.agent.public(),
            Claim::Enrol(key) => key,
        };
        let nonce = Encoded::random().unwrap();
        let (challenge, challenged) = opened.challenge(&self.relay, relay_session, nonce);
        let told = outer_certificate();
        let answer = waiting
            .answer(&tamper(layer, 1, challenge), &self.agent, agent_session, Some(&told))
            .map_err(End::Agent)?;
        let Answer::Proof(proof, proved) = answer else {
            challenged.start_tls().map_err(refused)?;
            return Ok(false);
        };
        let proof: Proven = challenged.verify(&tamper(layer, 2, proof), &agent_key).map_err(refused)?;
        match proof.credential() {
            Credential::Join(join) => assert_eq!(*join, Some(self.join)),
            Credential::Secret(secret) => {
                assert_eq!(secret.hash(), EnrolmentSecret::from_bytes(Encoded([5; 32])).hash());
            }
        }
        let issuer = proof.outer().map(|outer| outer.issuer.as_str());
        assert_eq!(issuer, (layer == Layer::Inner).then_some("CN=Corp inspection"), "told inside only");
        let welcome = proof.welcome(&self.relay, &self.welcome());
        let welcomed = proved.welcomed(&tamper(layer, 3, welcome)).map_err(End::Agent)?;
        assert_eq!(welcomed.relay, self.relay.public());
        assert_eq!(welcomed.welcome, self.welcome());
        read_confirm(&tamper(layer, 4, confirm())).map_err(refused)?;
        assert_eq!((welcomed.layer, proof.layer()), (layer, layer));
        Ok(true)
    }
}

/// Changes the document of one payload outside; what is signed beside it stays.
fn outside(index: usize, change: impl Fn(&mut serde_json::Value)) -> impl Fn(Layer, usize, Bytes) -> Bytes {
    move |layer, at, payload| {
        if layer != Layer::Outer || at != index {
            return payload;
        }
        // HELLO is bare; the others have a length before the document and a signature behind it.
        let (before, after) = if at == 0 { (0, 0) } else { (2, 64) };
        let end = payload.len() - after;
        let mut document: serde_json::Value = serde_json::from_slice(&payload[before..end]).unwrap();
        change(&mut document);
        let document = document.to_string();
        let length = u16::try_from(document.len()).unwrap().to_be_bytes();
        [&length[..before], document.as_bytes(), &payload[end..]].concat().into()
    }
}

#[test]
fn in_one_tls_session_it_is_bound_to_that_one() {
    for enrol in [false, true] {
        assert_eq!(Pair { enrol, ..Pair::new() }.run(&untouched), Ok(Layer::Outer));
    }
}

#[test]
fn where_tls_is_opened_on_the_way_it_goes_inside_and_no_other_way() {
    for enrol in [false, true] {
        let opened = || Pair { enrol, ..Pair::intercepted() };
        assert_eq!(opened().run(&untouched), Ok(Layer::Inner));
        let again = Pair { inside: (INSIDE, OTHER_INSIDE), ..opened() };
        assert_eq!(again.run(&untouched), Err(End::Agent(Distrust::InterceptedInside)));
    }
}

#[test]
fn nobody_in_between_can_talk_the_two_out_of_it() {
    let none = |document: &mut serde_json::Value| document["capabilities"] = serde_json::json!([]);
    let strip_hello = outside(0, none);
    let strip_challenge = outside(1, none);
    // What opens TLS can only end it.
    let intercepted = Pair::intercepted();
    assert_eq!(intercepted.run(&strip_hello), Err(End::Relay(RefuseCode::BadProof)));
    assert_eq!(intercepted.run(&strip_challenge), Err(End::Agent(Distrust::Intercepted)));
    // In one session the capabilities are signed, at both ends.
    assert_eq!(Pair::new().run(&strip_hello), Err(End::Agent(Distrust::Signature("CHALLENGE"))));
    assert_eq!(Pair::new().run(&strip_challenge), Err(End::Agent(Distrust::Signature("CHALLENGE"))));
    let text = Distrust::Intercepted.to_string();
    assert!(text.contains("opened by something in between") && text.contains("update it"), "{text}");
}

#[test]
fn a_forged_binding_does_not_make_a_session_the_same() {
    let pair = Pair::intercepted();
    let nonce = Encoded([7; 32]);
    let (hello, waiting) = pair.start().hello(&pair.agent, nonce);
    let opened = Opened::read(&hello).unwrap();
    let ours = super::transcript::Exporter(SESSION);
    let relay_nonce = Encoded([8; 32]);
    let forged = super::transcript::binding(&ours, opened.hello(), &relay_nonce);
    let (challenge, _) = opened.challenge(&pair.relay, Session::outer(OTHER_SESSION), relay_nonce);
    let forge = outside(1, |document| document["binding"] = forged.to_string().into());
    let fault = waiting
        .answer(&forge(Layer::Outer, 1, challenge), &pair.agent, Session::outer(SESSION), None)
        .unwrap_err();
    assert_eq!(fault, Distrust::Signature("CHALLENGE"));
}

#[test]
fn a_proof_fits_one_layer_only() {
    let pair = Pair::new();
    // The same exporter in both layers does not happen; the signature tells them apart nevertheless.
    let (hello, waiting) = pair.start().hello(&pair.agent, Encoded([3; 32]));
    let challenge = |session| Opened::read(&hello).unwrap().challenge(&pair.relay, session, Encoded([4; 32]));
    let (outer, _) = challenge(Session::outer(SESSION));
    let (inner, challenged) = challenge(Session::inner(SESSION));
    assert_ne!(outer, inner);
    let fault = waiting.answer(&outer, &pair.agent, Session::inner(SESSION), None).unwrap_err();
    assert_eq!(fault, Distrust::Signature("CHALLENGE"));
    let refuse = challenged.start_tls().unwrap_err();
    assert_eq!(refuse.code, RefuseCode::BadProof, "no TLS inside of TLS inside");
}

#[test]
fn an_end_of_before_hears_of_it_as_before() {
    let none = |document: &mut serde_json::Value| {
        document.as_object_mut().unwrap().remove("capabilities");
    };
    // An agent of before stops by itself; one that allowed unbound connects may go on, and is refused.
    let pair = Pair::intercepted();
    let (hello, waiting) = pair.start().hello(&pair.agent, Encoded([3; 32]));
    let opened = Opened::read(&outside(0, none)(Layer::Outer, 0, hello)).unwrap();
    let (_, challenged) = opened.challenge(&pair.relay, Session::outer(SESSION), Encoded([4; 32]));
    let proof = serde_json::json!({ "bound": false, "join": pair.join }).to_string();
    let length = u16::try_from(proof.len()).unwrap().to_be_bytes();
    let proof: Bytes = [&length[..], proof.as_bytes(), &[0; 64]].concat().into();
    let refuse = challenged.verify(&proof, &pair.agent.public()).unwrap_err();
    assert_eq!(refuse.code, RefuseCode::Unbound);
    assert!(refuse.code.remedy().contains("update the older one"), "{}", refuse.code.remedy());
    drop(waiting);
    // A relay of before may put a second signature behind: well, where nothing opens TLS.
    let (hello, waiting) = pair.start().hello(&pair.agent, Encoded([3; 32]));
    let opened = Opened::read(&hello).unwrap();
    let (challenge, _) = opened.challenge(&pair.relay, Session::outer(SESSION), Encoded([4; 32]));
    let two: Bytes = [challenge.as_ref(), &[0; 64]].concat().into();
    assert!(pair.proof(waiting, &two, Session::outer(SESSION)).is_ok());
}

#[test]
fn a_wrong_relay_is_refused_before_anything_secret_is_sent() {
    for enrol in [false, true] {
        let pair = Pair { enrol, ..Pair::new() };
        let impostor = key();
        let (hello, waiting) = pair.start().hello(&pair.agent, Encoded::random().unwrap());
        let opened = Opened::read(&hello).unwrap();
        let (challenge, _) = opened.challenge(&impostor, Session::outer(SESSION), Encoded([0; 32]));
        let fault = waiting.answer(&challenge, &pair.agent, Session::outer(SESSION), None).unwrap_err();
        assert!(matches!(fault, Distrust::WrongKey { .. }), "{fault}");
    }
}

#[test]
fn a_wrong_agent_key_is_refused() {
    let pair = Pair::new();
    let (hello, waiting) = pair.start().hello(&pair.agent, Encoded::random().unwrap());
    let opened = Opened::read(&hello).unwrap();
    let (challenge, challenged) = opened.challenge(&pair.relay, Session::outer(SESSION), Encoded([0; 32]));
    let (proof, _) = pair.proof(waiting, &challenge, Session::outer(SESSION)).unwrap();
    let refuse = challenged.verify(&proof, &key().public()).unwrap_err();
    assert_eq!(refuse.code, RefuseCode::BadProof);
}

#[test]
fn a_proof_does_not_fit_another_handshake() {
    let pair = Pair::new();
    let proof_of = |session: Session| {
        let (hello, waiting) = pair.start().hello(&pair.agent, Encoded([3; 32]));
        let opened = Opened::read(&hello).unwrap();
        let (challenge, challenged) = opened.challenge(&pair.relay, session, Encoded([4; 32]));
        let (proof, _) = pair.proof(waiting, &challenge, session).unwrap();
        (challenged, proof)
    };
    // Recorded in one session, replayed in another; or in another layer.
    for (then, now) in [
        (Session::outer(SESSION), Session::outer(OTHER_SESSION)),
        (Session::inner(INSIDE), Session::inner(OTHER_INSIDE)),
        (Session::outer(SESSION), Session::inner(SESSION)),
    ] {
        let (_, recorded) = proof_of(then);
        let (challenged, _) = proof_of(now);
        let refuse = challenged.verify(&recorded, &pair.agent.public()).unwrap_err();
        assert_eq!(refuse.code, RefuseCode::BadProof);
    }
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
            opened.challenge(&pair.relay, Session::outer(SESSION), Encoded([0; 32]));
        let (proof, proved) = pair.proof(waiting, &challenge, Session::outer(SESSION)).unwrap();
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
        intercepted in any::<bool>(), change_outside in any::<bool>(),
    ) {
        let pair = Pair { enrol, ..if intercepted { Pair::intercepted() } else { Pair::new() } };
        let changed = if intercepted && !change_outside { Layer::Inner } else { Layer::Outer };
        let flip = |layer: Layer, index: usize, payload: Bytes| {
            if layer != changed || index != message {
                return payload;
            }
            let mut bytes = payload.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            Bytes::from(bytes)
        };
        let end = pair.run(&flip);
        if changed == Layer::Outer {
            // What is said outside counts for nothing: it may end there, or go on inside with what is said there.
            prop_assert_ne!(end, Ok(Layer::Outer));
        } else {
            prop_assert!(end.is_err(), "{:?}", end);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), which in 0_usize..5) {
        let garbage = |_: Layer, index: usize, payload: Bytes| {
            if index == which { bytes.clone().into() } else { payload }
        };
        prop_assert!(Pair::new().run(&garbage).is_err());
        let _ = Refuse::decode(&bytes);
    }
}

/// A key of a known seed, in PKCS#8 with its public half (RFC 8410, section 7).
fn fixed_key(seed: u8) -> SigningKey {
    use ring::signature::KeyPair as _;
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let before = [0x30, 0x51, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let document = [&before, &[seed; 32][..], &[0x81, 0x21, 0], pair.public_key().as_ref()].concat();
    SigningKey::from_pkcs8(&document).unwrap()
}

/// One handshake in which nothing is left to chance: Ed25519 signatures are not (RFC 8032).
fn golden(pair: &Pair, session: Session, name: &str) -> Vec<String> {
    let start = Start {
        boot: BootId::from_bytes([0x22; 16]),
        software: "outhaul-agent/golden".into(),
        ..pair.start()
    };
    let (hello, waiting) = start.hello(&pair.agent, Encoded([0x33; 32]));
    let opened = Opened::read(&hello).unwrap();
    let (challenge, challenged) = opened.challenge(&pair.relay, session, Encoded([0x44; 32]));
    let told = OuterCertificate { issuer: "CN=Corp inspection".to_owned(), ..outer_certificate() };
    let Answer::Proof(proof, proved) = waiting.answer(&challenge, &pair.agent, session, Some(&told)).unwrap()
    else {
        panic!("one session")
    };
    let welcome =
        challenged.verify(&proof, &pair.agent.public()).unwrap().welcome(&pair.relay, &pair.welcome());
    proved.welcomed(&welcome).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    [
        ("hello", hello),
        ("challenge", challenge),
        ("proof", proof),
        ("welcome", welcome),
        ("confirm", confirm()),
    ]
    .iter()
    .map(|(step, payload)| format!("{name}-{step} {}", hex(payload)))
    .collect()
}

#[test]
fn golden_handshakes_are_made_and_read_as_ever() {
    let file = include_str!("../../../tests/vectors/handshake.txt");
    let kept: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
    let join = Join { counter: 7, value: Encoded([0x55; 32]) };
    let mut made = Vec::new();
    for (enrol, purpose) in [(false, "connect"), (true, "enrol")] {
        for session in [Session::outer([0x66; 32]), Session::inner([0x77; 32])] {
            let (agent, relay, id) = (fixed_key(1), fixed_key(2), AgentId::from_bytes([0x11; 16]));
            let pair = Pair { agent, relay, id, join, enrol, ..Pair::new() };
            made.extend(golden(&pair, session, &format!("{purpose}-{}", session.layer.as_str())));
        }
    }
    assert_eq!(made, kept, "\n{}\n", made.join("\n"));
}
