//! Frames that break the protocol, from a relay: the stream or the session ends with a reason, the agent lives and comes
//! back.

use bytes::Bytes;
use outhaul::tunnel::code::{CloseCode, ResetCode};
use outhaul::tunnel::frame::{CRITICAL, END_STREAM, Frame, HEADER, Kind, MAX_DATA};
use tokio_tungstenite::tungstenite::Message;

use super::site::LiarSite;
use super::wire::{answer_head, bytes_open, encoded, flagged, frame};

/// What breaks a rule of the session ends it with the code that says so; the agent connects anew and serves.
#[tokio::test]
async fn frames_that_break_the_session_end_it_and_the_agent_comes_back() {
    let mut site = LiarSite::start().await;
    let open = site.head("GET", "x").payload();
    let text = |kind: Kind, payload: &str| vec![frame(kind, 0, payload)];
    let attacks: Vec<(&str, Vec<Frame>, CloseCode)> = vec![
        ("OPEN with an odd id, the agent's", vec![frame(Kind::Open, 1, &open)], CloseCode::Protocol),
        ("OPEN of stream 0", vec![frame(Kind::Open, 0, &open)], CloseCode::Protocol),
        (
            "a stream's number used again",
            vec![flagged(Kind::Open, END_STREAM, 40, &open), flagged(Kind::Open, END_STREAM, 40, &open)],
            CloseCode::Protocol,
        ),
        (
            "a number that goes back",
            vec![flagged(Kind::Open, END_STREAM, 60, &open), flagged(Kind::Open, END_STREAM, 58, &open)],
            CloseCode::Protocol,
        ),
        ("DATA before OPEN", vec![frame(Kind::Data, 1000, "x")], CloseCode::Protocol),
        ("END before OPEN", vec![frame(Kind::End, 1000, "")], CloseCode::Protocol),
        (
            "HEAD on a stream the agent never opened",
            vec![frame(Kind::Head, 1001, answer_head(200, &[]))],
            CloseCode::Protocol,
        ),
        ("a handshake frame again", text(Kind::Welcome, "{}"), CloseCode::Protocol),
        (
            "a critical frame of no known type",
            vec![flagged(Kind::Unknown(0x7e), CRITICAL, 0, "x")],
            CloseCode::Version,
        ),
        ("PING of a wrong length", text(Kind::Ping, "seven.."), CloseCode::Protocol),
        ("DRAIN without a code", text(Kind::Drain, ""), CloseCode::Protocol),
        ("endless PING", vec![frame(Kind::Ping, 0, [0; 8]); 200], CloseCode::Flood),
        ("endless STATUS", vec![frame(Kind::Status, 0, "{}"); 200], CloseCode::Flood),
        ("endless frames of no known type", vec![frame(Kind::Unknown(0x60), 0, "x"); 200], CloseCode::Flood),
    ];
    for (name, frames, expected) in attacks {
        site.tunnel.say(&frames).await;
        let (code, text) = site.tunnel.ended().await;
        assert_eq!(code, expected, "{name}: {text}");
        site.comes_back().await;
    }
}

/// Messages that are no run of frames end the session too: cut, over their length, text, or without an end.
#[tokio::test]
async fn messages_that_are_no_frames_end_the_session() {
    let mut site = LiarSite::start().await;
    let whole = encoded(&[frame(Kind::Ping, 0, [0; 8])]);
    let mut long = whole.to_vec();
    long[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut over = vec![0; HEADER + MAX_DATA + 1];
    over[..4].copy_from_slice(&u32::try_from(MAX_DATA + 1).unwrap().to_be_bytes());
    over[4] = Kind::Data.number();
    for (name, message) in [
        ("a header cut short", Message::Binary(whole.slice(..HEADER - 1))),
        ("a payload cut short", Message::Binary(whole.slice(..HEADER + 3))),
        ("four gigabytes announced", Message::Binary(long.into())),
        ("DATA over 64 KiB", Message::Binary(over.into())),
        ("text", Message::text("{\"hello\": 1}")),
        ("zeros", Message::Binary(Bytes::from_static(&[0; 64]))),
        ("a message over 256 KiB", Message::Binary(vec![0; 300 << 10].into())),
    ] {
        site.tunnel.say_message(message).await;
        let (code, text) = site.tunnel.ended().await;
        assert!(matches!(code, CloseCode::Protocol | CloseCode::Broken), "{name}: {code} {text}");
        site.comes_back().await;
    }
}

/// What breaks a rule of one stream costs that stream alone.
#[tokio::test]
async fn frames_that_break_a_stream_cost_that_stream() {
    let mut site = LiarSite::start().await;
    let open = site.head("POST", "x").payload();
    let end = || frame(Kind::End, 0, "");
    let attacks: Vec<(&str, Vec<Frame>)> = vec![
        ("HEAD from the side that asked", vec![frame(Kind::Head, 0, answer_head(200, &[]))]),
        ("an empty DATA", vec![frame(Kind::Data, 0, "")]),
        ("END twice", vec![end(), end()]),
        ("DATA after END", vec![end(), frame(Kind::Data, 0, "x")]),
        ("END with trailers that are none", vec![frame(Kind::End, 0, [0, 9, 0])]),
        ("CREDIT of nothing", vec![frame(Kind::Credit, 0, [0; 4])]),
        ("CREDIT of a wrong length", vec![frame(Kind::Credit, 0, [1; 3])]),
        ("credit that overflows", vec![frame(Kind::Credit, 0, u32::MAX.to_be_bytes()); 2]),
    ];
    for (name, mut frames) in attacks {
        let stream = site.stream();
        for frame in &mut frames {
            frame.stream = stream;
        }
        // An answer may come first where the request was whole; then it is the late frame that counts for nothing.
        frames.insert(0, frame(Kind::Open, stream, &open));
        site.tunnel.say(&frames).await;
        let reply = site.tunnel.heard(stream).await;
        assert!(reply.closed.is_none(), "{name}: the session lives: {reply:?}");
        assert!(reply.reset == Some(ResetCode::Protocol) || reply.status.is_some(), "{name}: {reply:?}");
        site.still_serves().await;
    }
    // An OPEN that can't be read, or of a kind that is not known.
    for (payload, code) in [
        (Bytes::new(), ResetCode::Protocol),
        (open.slice(..open.len() - 1), ResetCode::Protocol),
        (Bytes::from_static(&[9, 0, 0]), ResetCode::Unsupported),
        (Bytes::from_static(&[1; 40]), ResetCode::Protocol),
        ([&open[..], b"more"].concat().into(), ResetCode::Protocol),
    ] {
        let stream = site.stream();
        site.tunnel.say(&[frame(Kind::Open, stream, &payload)]).await;
        assert_eq!(site.tunnel.heard(stream).await.reset, Some(code), "{payload:?}");
    }
    site.still_serves().await;
}

/// Body over the credit is a fault of its stream: the agent holds no more than it granted.
#[tokio::test]
async fn body_over_its_credit_resets_the_stream() {
    let mut site = LiarSite::start().await;
    let hold = outhaul::tunnel::frame::HOLD;
    let stream = site.stream();
    let head = site.head("GET", "x").with("expect", "100-continue");
    // Held: nothing may come before it is asked for.
    let frames = [flagged(Kind::Open, hold, stream, head.payload()), frame(Kind::Data, stream, "x")];
    site.tunnel.say(&frames).await;
    let reply = site.tunnel.heard(stream).await;
    assert_eq!(reply.reset, Some(ResetCode::Protocol), "{reply:?}");
    site.still_serves().await;
}

/// A relay that asks for a way into the site's network by a `bytes` stream gets none, whatever it calls it.
#[tokio::test]
async fn no_byte_stream_leads_into_the_site() {
    let mut site = LiarSite::start().await;
    let upstream = site.odd.address.to_string();
    for purpose in ["egress", "", "tcp", "admin", "EGRESS", "egress\0"] {
        for target in [&*upstream, "127.0.0.1:22", "169.254.169.254:80", "jira.example:443", ""] {
            let stream = site.stream();
            site.tunnel
                .say(&[
                    frame(Kind::Open, stream, bytes_open(purpose, target)),
                    frame(Kind::Data, stream, "GET / HTTP/1.1\r\n\r\n"),
                ])
                .await;
            let reply = site.tunnel.heard(stream).await;
            assert!(reply.reset.is_some() && reply.body.is_empty(), "{purpose} {target}: {reply:?}");
        }
    }
    assert!(site.odd.connections().is_empty(), "nothing was dialled");
    site.still_serves().await;
}
