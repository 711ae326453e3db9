//! Floods from a relay: the agent's memory stays within a bound that does not grow with the flood, and it still serves.

use bytes::{Bytes, BytesMut};
use outhaul::tunnel::frame::{END_STREAM, Frame, Kind};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame as WebSocketFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::site::{LiarSite, peak_memory};
use super::wire::{RawHead, flagged, frame};
use crate::support::world::host;

const MEBIBYTE: u64 = 1 << 20;

/// Sends so many frames in messages as large as may be, and gives what the memory grew by at its peak.
async fn flood(site: &mut LiarSite, frames: impl Iterator<Item = Frame>) -> u64 {
    let before = peak_memory(site.agent.id());
    let mut message = BytesMut::new();
    for frame in frames {
        frame.encode(&mut message);
        if message.len() > 190 << 10 {
            let whole = message.split().freeze();
            assert!(site.tunnel.say_bytes(whole).await, "the agent ended the session:\n{}", site.agent.log());
        }
    }
    site.tunnel.say_bytes(message.freeze()).await;
    peak_memory(site.agent.id()).saturating_sub(before)
}

/// One million frames of a byte or none, on open streams and on streams that are over: bounded memory, no lost session.
#[tokio::test]
async fn a_million_tiny_frames_cost_bounded_memory() {
    let mut site = LiarSite::start().await;
    site.still_serves().await;
    let stream = site.stream();
    // A body that nobody reads: the policy refuses a POST there, and what still comes is dropped.
    site.tunnel.say(&[frame(Kind::Open, stream, site.head("POST", "x").payload())]).await;
    let kinds = [Kind::Data, Kind::Credit, Kind::Stop];
    let grown = flood(
        &mut site,
        (0..1_000_000).map(|at| {
            let kind = kinds[at % 3];
            let payload: &[u8] = match kind {
                Kind::Data => b"x",
                Kind::Credit => &[0, 0, 0, 1],
                _ => b"",
            };
            // Half of them on a stream that ended long ago.
            frame(kind, if at % 2 == 0 { stream } else { 2 }, payload)
        }),
    )
    .await;
    println!("a million tiny frames: {} KiB more at the peak", grown >> 10);
    assert!(grown < 48 * MEBIBYTE, "{grown}");
    site.still_serves().await;
}

/// Streams opened and reset at once, a hundred thousand of them, leave nothing behind.
#[tokio::test]
async fn rapid_resets_leave_nothing_behind() {
    let mut site = LiarSite::start().await;
    site.still_serves().await;
    let open = site.head("GET", "x").payload();
    let first = site.stream();
    let last = first + 2 * 50_000;
    let frames = (first..last).step_by(2).flat_map(|stream| {
        [flagged(Kind::Open, END_STREAM, stream, &open), frame(Kind::Reset, stream, [0, 1])]
    });
    let grown = flood(&mut site, frames).await;
    println!("rapid resets: {} KiB more at the peak", grown >> 10);
    assert!(grown < 64 * MEBIBYTE, "{grown}");
    while site.stream() + 2 < last {}
    site.still_serves().await;
    let status = site.world.status().await;
    assert_eq!(status["relay"]["tunnels"][0]["streams"], 0, "{status}");
}

/// Heads of thousands of fields are refused: small on the wire, they would be large in memory.
#[tokio::test]
async fn heads_of_very_many_fields_are_refused() {
    let mut site = LiarSite::start().await;
    site.still_serves().await;
    let mut head = RawHead::new("GET", &host(), "/jira/rest/api/2/odd/x").bearer(&site.key);
    for number in 0..8_000_u32 {
        head = head.with(format!("{number:x}"), "");
    }
    let open = head.payload();
    assert!(open.len() < 64 << 10);
    let first = site.stream();
    let before = peak_memory(site.agent.id());
    let mut streams = Vec::new();
    for number in 0..300_u64 {
        let stream = first + 2 * number;
        streams.push(stream);
        // Without an end: as long as the agent takes the call, it waits for more.
        site.tunnel.say(&[frame(Kind::Open, stream, &open)]).await;
    }
    let reply = site.tunnel.heard_all(&streams).await;
    let grown = peak_memory(site.agent.id()).saturating_sub(before);
    println!("heads of 8,000 fields: {} KiB more at the peak", grown >> 10);
    assert!(reply.iter().all(|reply| reply.status != Some(200)), "{:?}", reply[0]);
    assert!(grown < 48 * MEBIBYTE, "{grown}");
    while site.stream() < *streams.last().unwrap() {}
    site.still_serves().await;
}

/// A message that never ends is cut at 256 KiB.
#[tokio::test]
async fn a_message_without_an_end_ends_the_session() {
    let mut site = LiarSite::start().await;
    site.still_serves().await;
    let before = peak_memory(site.agent.id());
    let piece = Bytes::from(vec![0; 16 << 10]);
    let mut opcode = OpCode::Data(Data::Binary);
    for _ in 0..4096 {
        let piece = WebSocketFrame::message(piece.clone(), opcode, false);
        if !site.tunnel.say_message(Message::Frame(piece)).await {
            break;
        }
        opcode = OpCode::Data(Data::Continue);
    }
    let grown = peak_memory(site.agent.id()).saturating_sub(before);
    assert!(grown < 16 * MEBIBYTE, "{grown}");
    site.tunnel.ended().await;
    site.comes_back().await;
}

/// More streams at once than the agent takes are refused one by one, though the relay's WELCOME allows itself any number.
#[tokio::test]
async fn streams_beyond_the_agents_own_bound_are_refused() {
    let mut site = LiarSite::start().await;
    let head = site.head("GET", "x").with("expect", "100-continue").with("content-length", "10");
    let open = head.payload();
    let opens = (0..6_000).map(|at| frame(Kind::Open, 2 + 2 * at, &open));
    let grown = flood(&mut site, opens).await;
    let last: Vec<u64> = (5_900..6_000).map(|at| 2 + 2 * at).collect();
    let reply = site.tunnel.heard_all(&last).await;
    println!("6,000 streams at once: {} KiB more at the peak", grown >> 10);
    assert!(reply.iter().all(|reply| reply.status != Some(200)), "{reply:?}");
    assert!(grown < 256 * MEBIBYTE, "{grown}");
}

/// A relay that sends every new tunnel away at once (DRAIN) does not make the agent dial in a circle.
#[tokio::test]
async fn a_relay_that_drains_at_once_is_not_dialled_in_a_circle() {
    let mut site = LiarSite::start().await;
    let drain = frame(Kind::Drain, 0, [0, 1]);
    let mut kept = Vec::new();
    site.tunnel.say(std::slice::from_ref(&drain)).await;
    let clock = outhaul::common::clock::Clock::system();
    let begun = clock.now();
    let window = std::time::Duration::from_secs(4);
    while let Some(left) = window.checked_sub(clock.now().saturating_duration_since(begun)) {
        // Each is held open, so that the agent has to hold it too.
        let Ok(mut tunnel) = tokio::time::timeout(left, site.relay.tunnel()).await else { break };
        tunnel.say(std::slice::from_ref(&drain)).await;
        kept.push(tunnel);
    }
    println!("tunnels dialled within 4 s of being sent away: {}", kept.len());
    assert!(kept.len() <= 20, "{}", kept.len());
}

/// A body that is small as it comes and huge inside passes as it comes; where a rule would have to look inside it is refused.
#[tokio::test]
async fn compressed_bodies_are_never_inflated() {
    let mut site = LiarSite::start_with(|world| {
        world.edit_agent(
            "[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
            "[[policy.rule]]\nallow = \"POST /rest/api/2/odd/judged\"\nwhy = \"Looks inside\"\n\
             as = { service = \"reader\" }\nbody = { \"/a\" = 1 }\n\n\
             [[policy.rule]]\nallow = \"POST /rest/api/2/odd/plain\"\nwhy = \"Tests\"\n\
             as = { service = \"reader\" }\n\n[[policy.rule]]\nallow = \"GET /rest/api/2/**\"",
        );
    })
    .await;
    site.still_serves().await;
    let bomb = bomb();
    let before = peak_memory(site.agent.id());
    let compressed = |head: RawHead| {
        head.with("content-type", "application/json")
            .with("content-encoding", "gzip")
            .with("content-length", bomb.len().to_string())
    };
    let head = compressed(site.head("POST", "plain"));
    assert_eq!(site.ask(&head, &bomb).await.status, Some(200));
    let head = compressed(site.head("POST", "judged"));
    assert_eq!(site.ask(&head, &bomb).await.problem(), Some("bad-request"));
    let arrived: Vec<_> = site.arrived().into_iter().filter(|call| call.line.starts_with("POST")).collect();
    assert!(arrived.len() == 1 && arrived[0].body == bomb, "as it came");
    let grown = peak_memory(site.agent.id()).saturating_sub(before);
    assert!(grown < 16 * MEBIBYTE, "{grown}");
}

/// A gzip member (RFC 1952) of many deflate blocks (RFC 1951), each the same 258 zeros over and over.
fn bomb() -> Vec<u8> {
    let mut bits = Bits::default();
    // One last block with fixed codes: a zero, then "258 back by 1", a hundred thousand times.
    bits.put(0b1, 1);
    bits.put(0b01, 2);
    bits.code(0x30, 8);
    for _ in 0..100_000 {
        bits.code(0b1100_0101, 8);
        bits.code(0, 5);
    }
    bits.code(0, 7);
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bomb.extend(bits.bytes);
    // Whoever looks at the checksum has inflated it all by then.
    bomb.extend([0; 8]);
    bomb
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    /// Numbers begin with their lowest bit.
    fn put(&mut self, value: u32, count: u32) {
        for at in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = u8::from(value >> at & 1 == 1);
            *self.bytes.last_mut().unwrap() |= bit << (self.used % 8);
            self.used += 1;
        }
    }

    /// Huffman codes begin with their highest.
    fn code(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            self.put(value >> at & 1, 1);
        }
    }
}
