//! Any frames of a peer against the state machine alone, and a program that reads nothing: what has to be kept stays within
//! what was granted.

use std::collections::HashMap;

use bytes::BytesMut;
use outhaul::common::clock::Clock;
use outhaul::tunnel::credit::INITIAL_WINDOW;
use outhaul::tunnel::frame::{Frame, Kind};
use outhaul::tunnel::session::{Event, Role, Session, Settings};
use proptest::prelude::*;

use super::wire::{RawHead, answer_head, bytes_open, encoded, flagged};

/// Kinds that a peer would send, good and bad, the costly ones more often.
fn any_frame() -> impl Strategy<Value = Frame> {
    let kind = prop_oneof![
        4 => Just(0x10_u8),
        2 => Just(0x11),
        8 => Just(0x12),
        2 => Just(0x13),
        4 => 0x14_u8..=0x16,
        1 => 0x20_u8..=0x23,
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        Just(RawHead::new("POST", "a", "/x").payload().to_vec()),
        Just(bytes_open("tcp", "x:1").to_vec()),
        Just(answer_head(200, &[]).to_vec()),
        (0_usize..=64 << 10).prop_map(|length| vec![b'x'; length]),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    (kind, any::<u8>(), 0_u64..24, payload).prop_map(|(kind, flags, stream, mut payload)| {
        let kind = Kind::from_number(kind);
        payload.truncate(kind.max_payload());
        // Critical frames end the session at once: seldom.
        flagged(kind, flags & 0x03, stream, payload)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_a_peer_makes_a_session_keep_is_what_it_was_granted(
        relay in any::<bool>(),
        frames in proptest::collection::vec(any_frame(), 1..200),
    ) {
        let role = if relay { Role::Relay } else { Role::Agent };
        let settings = Settings { max_streams_in: 4, max_streams_out: 4, ..Settings::default() };
        let now = Clock::system().now();
        let mut session = Session::new(role, settings, now);
        let mut unread = HashMap::<u64, usize>::new();
        for frame in &frames {
            session.receive(encoded(std::slice::from_ref(frame)), now);
            while let Some(event) = session.poll_event() {
                match event {
                    Event::Data { stream, bytes } => *unread.entry(stream).or_default() += bytes.len(),
                    Event::Reset { stream, .. } | Event::Lost { stream, .. } => {
                        unread.remove(&stream);
                    }
                    _ => {}
                }
            }
            prop_assert!(session.open_streams() <= 8);
            prop_assert!(unread.values().all(|bytes| *bytes <= INITIAL_WINDOW as usize), "{unread:?}");
        }
        // And what it owes the peer for that is small.
        let mut out = BytesMut::new();
        for _ in 0..100 {
            session.transmit(&mut out);
        }
        prop_assert!(out.len() <= 64 * frames.len() + 1024, "{}", out.len());
    }
}
