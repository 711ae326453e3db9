//! Frames and handshakes of an agent that lies, at the relay: what they cost is its own.

use bytes::BytesMut;
use outhaul::identity::handshake::join::Join;
use outhaul::identity::handshake::messages::RefuseCode;
use outhaul::net::websocket::send_frame;
use outhaul::tunnel::code::{CloseCode, ResetCode};
use outhaul::tunnel::frame::{CRITICAL, Frame, Kind};

use super::liar_agent::{Enrolled, LiarAgent, answer, calling, honest, next};
use super::site::peak_memory;
use super::wire::{PATIENCE, RawHead, answer_head, bytes_open, flagged, frame};
use crate::support::world::SITE;
use futures_util::FutureExt as _;
use tokio::net::TcpListener;

const MEBIBYTE: u64 = 1 << 20;

/// What breaks a rule of the session ends the liar's session, with the reason, and nobody else's.
#[tokio::test]
async fn an_agent_that_breaks_the_session_ends_its_own() {
    let mut site = LiarAgent::start().await;
    let many = |kind, payload: &[u8]| vec![frame(kind, 0, payload); 200];
    let open = RawHead::new("GET", "x", "/x").payload();
    let attacks: Vec<(&str, Vec<Frame>, CloseCode)> = vec![
        (
            "an answer on a stream it was not given",
            vec![frame(Kind::Head, 4000, answer_head(200, &[]))],
            CloseCode::Protocol,
        ),
        ("OPEN with an even id, the relay's", vec![frame(Kind::Open, 2, &open)], CloseCode::Protocol),
        ("DATA before OPEN", vec![frame(Kind::Data, 7, "x")], CloseCode::Protocol),
        (
            "a number that goes back",
            vec![frame(Kind::Open, 9, &open), frame(Kind::Open, 7, &open)],
            CloseCode::Protocol,
        ),
        ("a handshake frame again", vec![frame(Kind::Hello, 0, "{}")], CloseCode::Protocol),
        ("a critical frame", vec![flagged(Kind::Unknown(0x70), CRITICAL, 0, "")], CloseCode::Version),
        ("endless STATUS", many(Kind::Status, b"{\"version\":\"1\"}"), CloseCode::Flood),
        ("endless PING", many(Kind::Ping, &[0; 8]), CloseCode::Flood),
        ("endless DRAIN", many(Kind::Drain, &[0, 0]), CloseCode::Flood),
    ];
    for (name, frames, expected) in attacks {
        site.tunnel.say(&frames).await;
        let (code, text) = site.tunnel.ended().await;
        assert_eq!(code, expected, "{name}: {text}");
        site.comes_back().await;
        site.still_serves().await;
    }
    // STATUS over its 4 KiB is over the frame's limit.
    let mut long = BytesMut::new();
    Frame { kind: Kind::Data, flags: 0, stream: 0, payload: vec![b' '; 5000].into() }.encode(&mut long);
    long[4] = Kind::Status.number();
    site.tunnel.say_bytes(long.freeze()).await;
    assert_eq!(site.tunnel.ended().await.0, CloseCode::Protocol);
}

/// One site's agent reaches no stream of another's: numbers are of one session only.
#[tokio::test]
async fn an_agent_answers_no_call_of_another_site() {
    let mut site = LiarAgent::start().await;
    assert_eq!(site.world.relay(&["site", "add", "other"]).await.code, 0);
    let token = site.world.relay(&["site", "enrol", "other", "--json"]).await.json();
    let (mut other, _) = Enrolled::enrol(&site.world, token["token"].as_str().unwrap()).await.unwrap();
    let mut theirs = other.connected(&mut site.relay).await;
    let call = calling(&site.client(), "other", "/jira/x");
    let (stream, _) = theirs.opened().await;
    // The liar answers that number in its own session.
    site.tunnel.say(&honest(stream, b"forged")).await;
    assert_eq!(site.tunnel.ended().await.0, CloseCode::Protocol);
    theirs.say(&honest(stream, b"theirs")).await;
    assert_eq!(&call.await.unwrap().unwrap().body[..], b"theirs");
    // Nor does its key connect for that site, or as that agent.
    let refused = site.agent.connect_as(site.agent.id, "other", site.agent.join).await;
    assert_eq!(refused.err().map(|refuse| refuse.code), Some(RefuseCode::WrongSite));
    let refused = site.agent.connect_as(other.id, "other", other.join).await;
    assert_eq!(refused.err().map(|refuse| refuse.code), Some(RefuseCode::BadProof));
    let call = calling(&site.client(), "other", "/jira/y");
    answer(&mut theirs, b"still").await;
    assert_eq!(&call.await.unwrap().unwrap().body[..], b"still");
}

/// An agent opens no calls and no way through the relay.
#[tokio::test]
async fn an_agent_opens_nothing_at_the_relay() {
    let mut site = LiarAgent::start().await;
    let mut opens = vec![RawHead::new("GET", "other.relay.localhost", "/jira/x").payload()];
    for target in ["127.0.0.1:22", "169.254.169.254:80", "[::1]:443", "localhost:1", "10.0.0.1:443", "", "x"]
    {
        opens.extend(
            ["egress", "pass-through", "passthrough", "tcp"].map(|purpose| bytes_open(purpose, target)),
        );
    }
    opens.push(bytes::Bytes::from_static(b"\x03\0\x05topic"));
    opens.push(bytes::Bytes::from_static(b"\x09"));
    for (number, open) in opens.into_iter().enumerate() {
        let stream = 1 + 2 * u64::try_from(number).unwrap();
        site.tunnel.say(&[frame(Kind::Open, stream, open)]).await;
        let reply = site.tunnel.heard(stream).await;
        // An egress that the operator allows nobody is refused in a word.
        let refused = reply.reset.is_some() || reply.body.starts_with(b"no ");
        assert!(refused && reply.status.is_none(), "{number}: {reply:?}");
    }
    // Many at once are refused one by one.
    let first = 1001;
    let open = bytes_open("tcp", "x:1");
    let frames: Vec<Frame> = (0..500).map(|at| frame(Kind::Open, first + 2 * at, &open)).collect();
    site.tunnel.say(&frames).await;
    let all: Vec<u64> = (0..500).map(|at| first + 2 * at).collect();
    let reply = site.tunnel.heard_all(&all).await;
    assert!(reply.iter().all(|reply| reply.reset.is_some()));
    assert!(reply.iter().any(|reply| reply.reset == Some(ResetCode::Refused)), "beyond the bound");
    site.still_serves().await;
}

/// What the operator lists is a name, and not what that name leads to: no loopback, private or metadata address is dialled, no
/// other port or spelling of a listed host, and nothing of the relay's own.
#[tokio::test]
async fn an_agent_reaches_no_forbidden_place_by_egress() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut site = LiarAgent::start_with(|world| {
        let hosts = [
            format!("localhost:{port}"),
            format!("127.0.0.1:{port}"),
            format!("localhost:{}", world.operator_port),
            "169.254.169.254:80".to_owned(),
            "10.0.0.1:443".to_owned(),
        ];
        world.edit_relay(
            "[operator]",
            &format!("[egress]\nallow = {hosts:?}\nconnect-time = \"1 s\"\n\n[operator]"),
        );
    })
    .await;
    let own = site.world.operator_port;
    let mut stream = 1;
    for target in [
        format!("localhost:{port}"),
        format!("LOCALHOST:{port}"),
        format!("localhost.:{port}"),
        format!("127.0.0.1:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("0.0.0.0:{port}"),
        format!("localhost:0{port}"),
        format!("user@localhost:{port}"),
        format!("localhost:{port}\r\nx"),
        format!("localhost:{own}"),
        "localhost:22".to_owned(),
        "169.254.169.254:80".to_owned(),
        "10.0.0.1:443".to_owned(),
        "other.example:443".to_owned(),
        String::new(),
    ] {
        site.tunnel.say(&[frame(Kind::Open, stream, bytes_open("egress", &target))]).await;
        let reply = site.tunnel.heard(stream).await;
        assert!(reply.reset.is_some() || reply.body.starts_with(b"no "), "{target}: {reply:?}");
        stream += 2;
    }
    assert!(listener.accept().now_or_never().is_none(), "nobody came");
    site.still_serves().await;
}

/// STATUS that lies changes what is shown of the liar's own site, and moves no operator's cursor.
#[tokio::test]
async fn a_status_that_lies_is_shown_harmlessly_and_anchors_nothing() {
    let mut site = LiarAgent::start().await;
    let head = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let deep = "[".repeat(2000);
    for status in [
        r#"{"version":"\u001b[2Jv","upstreams":{"\u001b]0;x\u0007":{"stateless":true,"health":"up"}}}"#
            .to_owned(),
        format!(r#"{{"audit":{{"number":9,"head":"{head}","time":9,"signature":"{head}"}}}}"#),
        "null".to_owned(),
        "{".to_owned(),
        deep,
    ] {
        site.tunnel.say(&[frame(Kind::Status, 0, status)]).await;
    }
    site.still_serves().await;
    for arguments in [&["agents"][..], &["agent", "show", &site.agent.id.to_string()], &["agents", "--json"]]
    {
        let shown = site.world.relay(arguments).await;
        assert_eq!(shown.code, 0, "{shown:?}");
        assert!(!shown.out.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{:?}", shown.out);
    }
    let agents = site.world.relay(&["agents", "--json"]).await.json();
    assert!(agents["agents"][0]["audit"].is_null(), "an unsigned head is no anchor: {agents}");
    assert!(!site.relay.log().contains('\u{1b}'));
}

/// A million tiny frames, and heads of thousands of fields, cost the relay a bounded memory.
#[tokio::test]
async fn floods_of_an_agent_cost_the_relay_bounded_memory() {
    let mut site = LiarAgent::start().await;
    site.still_serves().await;
    let call = calling(&site.client(), SITE, "/jira/flood");
    let (stream, _) = site.tunnel.opened().await;
    let before = peak_memory(site.relay.id());
    let kinds =
        [(Kind::Stop, &b""[..]), (Kind::Credit, &[0, 0, 0, 1]), (Kind::Reset, &[0, 1]), (Kind::Data, b"x")];
    let mut message = BytesMut::new();
    for at in 0..1_000_000_usize {
        let (kind, payload) = kinds[at % 4];
        // Data and resets for what is over, the rest for a call under way.
        let to = if matches!(kind, Kind::Stop | Kind::Credit) { stream } else { 2 };
        frame(kind, to, payload).encode(&mut message);
        if message.len() > 200 << 10 {
            assert!(site.tunnel.say_bytes(message.split().freeze()).await, "the relay ended the session");
        }
    }
    site.tunnel.say(&honest(stream, b"done")).await;
    assert_eq!(&call.await.unwrap().unwrap().body[..], b"done");
    let grown = peak_memory(site.relay.id()).saturating_sub(before);
    println!("a million tiny frames at the relay: {} KiB more at the peak", grown >> 10);
    assert!(grown < 48 * MEBIBYTE, "{grown}");
    let names: Vec<Vec<u8>> = (0..8000_u32).map(|number| format!("{number:x}").into_bytes()).collect();
    let fields: Vec<(&[u8], &[u8])> = names.iter().map(|name| (&name[..], &b""[..])).collect();
    let head = answer_head(200, &fields);
    for _ in 0..5 {
        let call = calling(&site.client(), SITE, "/jira/fields");
        let (stream, _) = site.tunnel.opened().await;
        site.tunnel.say(&[frame(Kind::Head, stream, &head)]).await;
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.status.as_u16(), 500, "{:?}", answer.problem());
    }
    site.still_serves().await;
}

/// A token works once, a proof in the handshake it was made for only, and no version below ours is agreed on.
#[tokio::test]
async fn enrolments_proofs_and_versions_can_not_be_replayed() {
    let site = LiarAgent::start().await;
    let token = site.world.token().await;
    let (mut agent, enrolling) = Enrolled::enrol(&site.world, &token).await.unwrap();
    let again = Enrolled::enrol(&site.world, &token).await;
    assert_eq!(again.err().map(|refuse| refuse.code), Some(RefuseCode::TokenUsed));
    let (_tunnel, join, connecting) = agent.connect_as(agent.id, SITE, agent.join).await.unwrap();
    agent.join = join;
    for spoken in [enrolling, connecting] {
        let mut socket = agent.way.open().await;
        send_frame(&mut socket, Kind::Hello, spoken.hello.clone(), PATIENCE).await.unwrap();
        next(&mut socket, Kind::Challenge).await.unwrap();
        send_frame(&mut socket, Kind::Proof, spoken.proof, PATIENCE).await.unwrap();
        let refused = next(&mut socket, Kind::Welcome).await.unwrap_err();
        assert_eq!(refused.code, RefuseCode::BadProof);
        for versions in ["[0,0]", "[2,9]", "[5,1]"] {
            let hello = String::from_utf8(spoken.hello.to_vec()).unwrap().replace("[1,1]", versions);
            let mut socket = agent.way.open().await;
            send_frame(&mut socket, Kind::Hello, hello.into(), PATIENCE).await.unwrap();
            let refused = next(&mut socket, Kind::Challenge).await.unwrap_err();
            assert_eq!(refused.code, RefuseCode::Version, "{versions}");
        }
        // One that was changed on the way is not the one that was signed.
        let wider = String::from_utf8(spoken.hello.to_vec()).unwrap().replace("[1,1]", "[0,1]");
        let mut socket = agent.way.open().await;
        send_frame(&mut socket, Kind::Hello, wider.into(), PATIENCE).await.unwrap();
        assert!(next(&mut socket, Kind::Challenge).await.is_ok());
    }
}

/// A copy of an agent's state that connects later than the agent shows an old join state: it is refused, the operator is
/// told, and the live session stays.
#[tokio::test]
async fn a_copy_of_an_agent_is_refused_and_told_of() {
    let mut site = LiarAgent::start().await;
    let old = site.agent.join;
    site.comes_back().await;
    let stale = Join { counter: 1, value: old.value };
    for join in [stale, Join::first().unwrap()] {
        let refused = site.agent.connect_as(site.agent.id, SITE, join).await;
        assert_eq!(refused.err().map(|refuse| refuse.code), Some(RefuseCode::CloneSuspected));
    }
    site.still_serves().await;
    let shown = site.world.relay(&["agent", "show", &site.agent.id.to_string()]).await;
    assert!(shown.out.contains("clone-suspected"), "{shown:?}");
}
