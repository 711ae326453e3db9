use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tokio::io::DuplexStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::net::websocket::FrameError;
use crate::tunnel::frame::Kind;

const TIME: Duration = Duration::from_secs(10);

struct Key(Ed25519KeyPair);

impl Identity for Key {
    fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().unwrap()
    }
}

/// Shows the key of another, which it does not hold.
struct Thief(Key, [u8; 32]);

impl Identity for Thief {
    fn public(&self) -> [u8; 32] {
        self.1
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }
}

fn key(seed: u8) -> Key {
    Key(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
}

fn pin(seed: u8) -> PeerKey {
    PeerKey::Key(key(seed).public())
}

const AGENT: u8 = 1;
const RELAY: u8 = 2;
const OTHER: u8 = 3;

type End = (Line<DuplexStream>, Result<[u8; 32], StartFault>);

async fn meet(
    (agent, relay_pin): (Arc<dyn Identity>, PeerKey),
    (relay, agent_pin): (Arc<dyn Identity>, PeerKey),
) -> (End, End) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let mut near = Line::new(WebSocketStream::from_raw_socket(near, Role::Client, None).await);
    let mut far = Line::new(WebSocketStream::from_raw_socket(far, Role::Server, None).await);
    let connecting = near.connect_inside(agent, relay_pin, TIME);
    let accepting = far.accept_inside(relay, agent_pin, TIME);
    let (connected, accepted) = Box::pin(async { tokio::join!(connecting, accepting) }).await;
    ((near, connected), (far, accepted))
}

fn wrong_key(end: &Result<[u8; 32], StartFault>) -> bool {
    matches!(end, Err(StartFault::Tls(fault)) if fault.wrong_key)
}

#[tokio::test]
async fn two_that_know_each_other_share_a_session_and_frames_pass() {
    let fingerprint = ring::digest::digest(&ring::digest::SHA256, &key(RELAY).public());
    let fingerprint = PeerKey::Fingerprint(fingerprint.as_ref().try_into().unwrap());
    for relay_pin in [pin(RELAY), fingerprint] {
        let agent = (Arc::new(key(AGENT)) as Arc<dyn Identity>, relay_pin);
        let ((mut near, connected), (mut far, accepted)) =
            meet(agent, (Arc::new(key(RELAY)), pin(AGENT))).await;
        assert_eq!(connected.unwrap(), accepted.unwrap(), "one exporter");
        assert!(near.is_inner() && far.is_inner());
        for payload in [Bytes::new(), Bytes::from(vec![7; 4000])] {
            near.send(Kind::Hello, payload.clone(), TIME).await.unwrap();
            assert_eq!(far.receive(TIME).await.unwrap().payload, payload);
            far.send(Kind::Challenge, payload.clone(), TIME).await.unwrap();
            assert_eq!(near.receive(TIME).await.unwrap().payload, payload);
        }
        let again = near.connect_inside(Arc::new(key(AGENT)), pin(RELAY), TIME).await;
        assert!(matches!(again, Err(StartFault::Twice)), "no session inside of a session inside");
        assert!(near.is_inner());
    }
}

#[tokio::test]
async fn a_relay_with_another_key_or_without_the_key_it_shows_is_refused() {
    let thief = Thief(key(OTHER), key(RELAY).public());
    for relay in [Arc::new(key(OTHER)) as Arc<dyn Identity>, Arc::new(thief)] {
        for relay_pin in [pin(RELAY), PeerKey::Fingerprint([9; 32])] {
            let agent = Arc::new(key(AGENT));
            let ((near, connected), (far, accepted)) =
                meet((agent, relay_pin), (Arc::clone(&relay), pin(AGENT))).await;
            assert!(wrong_key(&connected), "{connected:?}");
            let fault = accepted.unwrap_err().to_string();
            assert!(fault.contains("refused the key shown to it"), "the alert arrives: {fault}");
            // Both can still say goodbye on the WebSocket outside.
            assert!(!near.is_inner() && !far.is_inner());
        }
    }
}

#[tokio::test]
async fn an_agent_with_another_key_or_without_the_key_it_shows_is_refused() {
    let thief = Thief(key(OTHER), key(AGENT).public());
    for agent in [Arc::new(key(OTHER)) as Arc<dyn Identity>, Arc::new(thief)] {
        let ((mut near, connected), (_far, accepted)) =
            meet((agent, pin(RELAY)), (Arc::new(key(RELAY)), pin(AGENT))).await;
        assert!(wrong_key(&accepted), "{accepted:?}");
        // The client has done its part by then; it hears of it with the first frame.
        assert!(connected.is_ok());
        let heard = near.receive(TIME).await.unwrap_err();
        assert!(matches!(heard, FrameError::Broken(_)), "{heard:?}");
    }
}

#[tokio::test]
async fn one_in_between_with_keys_of_its_own_is_refused_by_both() {
    let middle = || Arc::new(key(OTHER)) as Arc<dyn Identity>;
    let agent = (Arc::new(key(AGENT)) as Arc<dyn Identity>, pin(RELAY));
    let ((_, connected), _) = meet(agent, (middle(), pin(AGENT))).await;
    let (_, (_, accepted)) = meet((middle(), pin(RELAY)), (Arc::new(key(RELAY)), pin(AGENT))).await;
    assert!(wrong_key(&connected) && wrong_key(&accepted));
}

#[tokio::test]
async fn who_speaks_no_tls_or_falls_silent_is_left() {
    let (near, far) = tokio::io::duplex(4096);
    let mut near = Line::new(WebSocketStream::from_raw_socket(near, Role::Client, None).await);
    let mut far = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let rubbish = tokio_tungstenite::tungstenite::Message::binary(vec![0; 100]);
    futures_util::SinkExt::send(&mut far, rubbish).await.unwrap();
    let fault = near.connect_inside(Arc::new(key(AGENT)), pin(RELAY), TIME).await.unwrap_err();
    assert!(matches!(fault, StartFault::Tls(_)), "{fault:?}");
    let fault =
        near.connect_inside(Arc::new(key(AGENT)), pin(RELAY), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(fault, StartFault::TooSlow(_)), "{fault:?}");
    let gone = near.send(Kind::Hello, Bytes::new(), TIME).await.unwrap_err();
    assert!(matches!(gone, FrameError::Closed { .. }), "{gone:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_spki_is_the_one_encoding_of_one_key(bytes in prop::collection::vec(any::<u8>(), 0..60), key: [u8; 32]) {
        let shown = rustls::pki_types::CertificateDer::from(bytes.clone());
        prop_assert!(PeerKey::Key(key).check(&shown, &[]).is_err());
        // Nothing before, nothing behind.
        let info = pin::public_key_info(key);
        prop_assert_eq!(pin::raw_key(&info), Some(key));
        prop_assert_eq!(pin::raw_key(&[info, vec![0]].concat()), None);
    }
}
