//! A session between a hostile peer and a careless program: the input is a list of what both do.
//!
//! Whatever they do, the session stays within its bounds, ends every stream exactly once, and writes whole frames.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use outhaul::common::clock::Clock;
use outhaul::common::ids::RequestId;
use outhaul::tunnel::code::{CloseCode, DrainCode, ResetCode};
use outhaul::tunnel::frame::{Frame, Kind, MAX_MESSAGE};
use outhaul::tunnel::head::{BytesHead, Open, RequestHead, ResponseHead, Scheme};
use outhaul::tunnel::session::{Event, Role, Session, Settings, StreamId};

const MOST: u32 = 4;

/// One run.
pub(crate) fn run(input: &[u8]) {
    let mut input = Input(input);
    let role = if input.byte() & 1 == 0 { Role::Relay } else { Role::Agent };
    let settings = Settings {
        max_streams_in: MOST,
        max_streams_out: MOST,
        window_budget: 1 << 20,
        ..Settings::default()
    };
    let mut now = Clock::system().now();
    let mut session = Session::new(role, settings, now);
    let mut lasts = HashMap::<StreamId, u32>::new();
    let mut ours = Vec::new();
    while !input.0.is_empty() {
        turn(&mut session, &mut input, &mut now, &mut ours);
        while let Some(event) = session.poll_event() {
            if let Event::Finished { stream } | Event::Reset { stream, .. } | Event::Lost { stream, .. } =
                event
            {
                *lasts.entry(stream).or_default() += 1;
            }
        }
        assert!(session.open_streams() <= 2 * MOST);
    }
    session.close(CloseCode::Stopping, "");
    while let Some(event) = session.poll_event() {
        if let Event::Lost { stream, .. } = event {
            *lasts.entry(stream).or_default() += 1;
        }
    }
    assert_eq!(session.open_streams(), 0);
    assert!(lasts.values().all(|count| *count == 1), "a stream that ended more than once");
}

fn turn(session: &mut Session, input: &mut Input<'_>, now: &mut Instant, ours: &mut Vec<StreamId>) {
    let stream = |choice: u8| u64::from(choice % 16);
    match input.byte() % 14 {
        0 => {
            let length = usize::from(input.byte());
            session.receive(Bytes::copy_from_slice(input.take(length)), *now);
        }
        1..=4 => session.receive(lawful(input), *now),
        5 => {
            let open = if input.byte() & 1 == 0 { http_open() } else { bytes_open() };
            let hold = input.byte() & 1 == 0;
            if let Ok(id) = session.open(&open, hold) {
                ours.push(id);
            }
        }
        6 => {
            let head = ResponseHead { status: http::StatusCode::OK, headers: http::HeaderMap::new() };
            let _ = session.send_head(stream(input.byte()), &head);
        }
        7 => {
            let id = stream(input.byte());
            let length = usize::from(input.byte()) * 1024;
            session.send_data(id, &mut Bytes::from(vec![0; length]));
        }
        8 => {
            let _ = session.send_end(stream(input.byte()), None);
        }
        9 => {
            let id = stream(input.byte());
            session.accept_body(id);
            session.consumed(id, usize::from(input.byte()) * 1024, *now);
        }
        10 => session.stop(stream(input.byte())),
        11 => session.reset(stream(input.byte()), ResetCode::Cancel),
        12 => {
            *now += Duration::from_millis(u64::from(input.byte()) * 40);
            session.tick(*now);
            if input.byte() == 255 {
                session.drain(DrainCode::Stopping, "");
            }
        }
        _ => {
            let mut out = BytesMut::new();
            session.transmit(&mut out);
            assert!(out.len() <= MAX_MESSAGE);
            let mut out = out.freeze();
            while Frame::decode(&mut out).expect("whole frames only").is_some() {}
        }
    }
}

/// A frame of a known type on a small stream number: what a peer that knows the protocol would abuse.
fn lawful(input: &mut Input<'_>) -> Bytes {
    const KINDS: [u8; 10] = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x20, 0x22, 0x23];
    let kind = Kind::from_number(KINDS[usize::from(input.byte()) % KINDS.len()]);
    let flags = input.byte() & 3;
    let stream = u64::from(input.byte() % 16);
    let mut payload = BytesMut::new();
    match kind {
        Kind::Open => http_open().encode(&mut payload).unwrap(),
        Kind::Head => payload.extend_from_slice(&[0, 200, 0, 0]),
        Kind::Data => payload.resize(usize::from(input.byte()) * 256, 0),
        Kind::Credit => payload.extend_from_slice(&[0, input.byte(), input.byte(), 0]),
        Kind::Ping => payload.resize(8, 0),
        _ => payload.extend_from_slice(&[0, input.byte()]),
    }
    let mut message = BytesMut::new();
    Frame { kind, flags, stream, payload: payload.freeze() }.encode(&mut message);
    message.freeze()
}

fn http_open() -> Open {
    Open::Http(Box::new(RequestHead {
        request_id: RequestId::from_bytes([1; 16]),
        method: http::Method::POST,
        scheme: Scheme::Https,
        authority: "a.example".into(),
        target: "/jira/x".into(),
        route_length: 0,
        peer: String::new(),
        headers: http::HeaderMap::new(),
    }))
}

fn bytes_open() -> Open {
    Open::Bytes(BytesHead { purpose: "egress".into(), target: "a:1".into(), peer: String::new() })
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
