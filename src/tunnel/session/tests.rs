//! Two sessions, an honest wire between them, and programs at both ends that do whatever they like in any order.

use std::collections::{BTreeMap, VecDeque};

use http::{HeaderMap, Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::common::clock::Clock;
use crate::common::ids::RequestId;
use crate::tunnel::frame::{Frame, Kind};
use crate::tunnel::head::{BytesHead, NoticeHead, RequestHead, Scheme};

/// One end: a session, and what its program knows of each stream.
struct End {
    session: Session,
    streams: BTreeMap<StreamId, Known>,
    now: Instant,
}

#[derive(Default)]
struct Known {
    ours: bool,
    http: bool,
    head_due: bool,
    sent: usize,
    received: usize,
    unread: usize,
    send_ended: bool,
    receive_ended: bool,
    /// This end told the peer to stop, or the peer told this end.
    stopped: bool,
    over: bool,
}

/// What a program may do. The numbers choose a stream and an amount.
#[derive(Debug, Clone)]
enum Step {
    Open(u8, bool),
    Head(u8),
    Send(u8, usize),
    End(u8, bool),
    Read(u8, usize),
    Stop(u8),
    Reset(u8),
    Transmit,
    Deliver,
    Wait(u64),
    Drain,
}

fn step() -> impl Strategy<Value = (bool, Step)> {
    let which = any::<u8>();
    let one = prop_oneof![
        3 => (which, any::<bool>()).prop_map(|(a, b)| Step::Open(a, b)),
        3 => which.prop_map(Step::Head),
        8 => (which, 1usize..300_000).prop_map(|(a, b)| Step::Send(a, b)),
        3 => (which, any::<bool>()).prop_map(|(a, b)| Step::End(a, b)),
        6 => (which, 1usize..300_000).prop_map(|(a, b)| Step::Read(a, b)),
        1 => which.prop_map(Step::Stop),
        1 => which.prop_map(Step::Reset),
        8 => Just(Step::Transmit),
        8 => Just(Step::Deliver),
        2 => (0u64..3_000).prop_map(Step::Wait),
        1 => Just(Step::Drain),
    ];
    (any::<bool>(), one)
}

/// A stretch of the one long text all bodies are cut from, beginning at this offset: loss, repetition and
/// reordering show against it.
fn text(offset: usize, length: usize) -> Bytes {
    static TEXT: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    let all = TEXT.get_or_init(|| (0..1_000_000usize).map(|at| (at % 251) as u8).collect::<Vec<_>>().into());
    let begin = offset % 251;
    all.slice(begin..begin + length)
}

fn http_open(target: &str) -> Open {
    Open::Http(Box::new(RequestHead {
        request_id: RequestId::from_bytes([7; 16]),
        method: Method::POST,
        scheme: Scheme::Https,
        authority: "acme.example".into(),
        target: target.into(),
        route_length: 0,
        peer: "192.0.2.1".into(),
        headers: HeaderMap::new(),
    }))
}

fn response() -> ResponseHead {
    ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() }
}

fn settings() -> Settings {
    Settings { max_streams_in: 8, max_streams_out: 10, window_budget: 3 << 20, ..Settings::default() }
}

impl End {
    fn new(role: Role) -> Self {
        let now = Clock::system().now();
        Self { session: Session::new(role, settings(), now), streams: BTreeMap::new(), now }
    }

    fn pick(&self, choice: u8) -> Option<StreamId> {
        let live: Vec<_> = self.streams.iter().filter(|(_, known)| !known.over).map(|(id, _)| *id).collect();
        (!live.is_empty()).then(|| live[usize::from(choice) % live.len()])
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Open(kind, hold) => {
                let open = match kind % 4 {
                    0 | 1 => http_open("/a"),
                    2 => Open::Bytes(BytesHead {
                        purpose: "t".into(),
                        target: String::new(),
                        peer: String::new(),
                    }),
                    _ => Open::Notice(NoticeHead { topic: "t".into() }),
                };
                if let Ok(id) = self.session.open(&open, hold) {
                    let http = matches!(open, Open::Http(_));
                    self.streams.insert(id, Known { ours: true, http, ..Known::default() });
                }
            }
            Step::Head(choice) => {
                if let Some(id) = self.pick(choice) {
                    let known = self.streams.get_mut(&id).unwrap();
                    if self.session.send_head(id, &response()).unwrap() {
                        assert!(known.head_due, "a second head");
                        known.head_due = false;
                    }
                }
            }
            Step::Send(choice, amount) => self.pick(choice).into_iter().for_each(|id| self.send(id, amount)),
            Step::End(choice, trailers) => {
                self.pick(choice).into_iter().for_each(|id| self.end(id, trailers));
            }
            Step::Read(choice, amount) => {
                if let Some(id) = self.pick(choice) {
                    let known = self.streams.get_mut(&id).unwrap();
                    self.session.accept_body(id);
                    let amount = amount.min(known.unread);
                    known.unread -= amount;
                    self.session.consumed(id, amount, self.now);
                }
            }
            Step::Stop(choice) => {
                // Only a request's body is stopped; who no longer wants an answer resets.
                if let Some(id) = self.pick(choice)
                    && !self.streams[&id].ours
                {
                    self.session.stop(id);
                    self.streams.get_mut(&id).unwrap().stopped = true;
                }
            }
            Step::Reset(choice) => {
                if let Some(id) = self.pick(choice) {
                    self.session.reset(id, ResetCode::Cancel);
                    self.streams.get_mut(&id).unwrap().over = true;
                }
            }
            Step::Wait(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.session.tick(self.now);
            }
            Step::Drain => self.session.drain(DrainCode::Stopping, "stopping"),
            Step::Transmit | Step::Deliver => {}
        }
    }

    fn send(&mut self, id: StreamId, amount: usize) {
        let known = self.streams.get_mut(&id).unwrap();
        if known.head_due || known.send_ended {
            return;
        }
        let mut bytes = text(known.sent, amount);
        self.session.send_data(id, &mut bytes);
        known.sent += amount - bytes.len();
    }

    fn end(&mut self, id: StreamId, trailers: bool) {
        let known = self.streams.get_mut(&id).unwrap();
        if known.head_due {
            return;
        }
        let mut fields = HeaderMap::new();
        fields.insert("x-end", http::HeaderValue::from_static("1"));
        self.session.send_end(id, trailers.then_some(&fields)).unwrap();
        known.send_ended = true;
    }

    fn learn(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Opened { stream, open, ended } => {
                    let http = matches!(open, Open::Http(_));
                    let known = Known { http, head_due: http, receive_ended: ended, ..Known::default() };
                    assert!(self.streams.insert(stream, known).is_none(), "opened twice");
                }
                Event::Head { stream, .. } => {
                    assert!(self.known(stream).ours && self.known(stream).http);
                }
                Event::Data { stream, bytes } => {
                    let known = self.known(stream);
                    assert!(!known.receive_ended);
                    assert!(bytes == text(known.received, bytes.len()), "other bytes than were sent");
                    known.received += bytes.len();
                    known.unread += bytes.len();
                    assert!(known.unread <= 4 << 20, "more arrived than any window allows");
                }
                Event::End { stream, .. } => {
                    let known = self.known(stream);
                    assert!(!std::mem::replace(&mut known.receive_ended, true), "ended twice");
                }
                Event::Stopped { stream } => {
                    let known = self.known(stream);
                    known.stopped = true;
                    known.send_ended = true;
                }
                Event::Finished { stream } | Event::Reset { stream, by_peer: true, .. } => {
                    let known = self.known(stream);
                    assert!(!std::mem::replace(&mut known.over, true), "over twice");
                }
                Event::Reset { by_peer: false, .. } => panic!("an honest peer was found at fault"),
                Event::Writable { stream } => {
                    self.known(stream);
                }
                Event::Draining { .. } | Event::Status { .. } => {}
                Event::Lost { .. } | Event::Closed { .. } => panic!("the session died: {event:?}"),
            }
        }
    }

    /// The stream an event speaks of: it must be one that is not over.
    fn known(&mut self, id: StreamId) -> &mut Known {
        let known = self.streams.get_mut(&id).unwrap();
        assert!(!known.over, "an event after the last one");
        known
    }

    /// Reads all there is, answers what is unanswered, ends what is open.
    fn settle(&mut self) {
        let live: Vec<_> = self.streams.iter().filter(|(_, known)| !known.over).map(|(id, _)| *id).collect();
        for id in live {
            self.session.accept_body(id);
            let known = self.streams.get_mut(&id).unwrap();
            let unread = std::mem::take(&mut known.unread);
            self.session.consumed(id, unread, self.now);
            if known.head_due {
                known.head_due = !self.session.send_head(id, &response()).unwrap();
            }
            // What was begun is sent to its end, so that a missing CREDIT would show as a hang.
            if !known.send_ended && known.sent < 600_000 && !known.head_due {
                self.send(id, 400_000);
            } else {
                self.end(id, false);
            }
        }
    }
}

#[derive(Default)]
struct Wire(VecDeque<Bytes>);

impl Wire {
    fn carry(&mut self, from: &mut End) {
        let mut message = BytesMut::new();
        from.session.transmit(&mut message);
        assert!(message.len() <= frame::MAX_MESSAGE, "a message of {} bytes", message.len());
        if !message.is_empty() {
            self.0.push_back(message.freeze());
        }
        from.learn();
    }

    fn deliver(&mut self, to: &mut End) -> bool {
        let Some(message) = self.0.pop_front() else { return false };
        to.session.receive(message, to.now);
        to.learn();
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Any order of events keeps the books: every byte once and in order, every stream over exactly once at each
    /// end, no honest peer at fault, and nothing hangs once both ends read and end what they have.
    #[test]
    fn any_order_of_events_keeps_the_invariants(steps in proptest::collection::vec(step(), 1..250)) {
        let (mut relay, mut agent) = (End::new(Role::Relay), End::new(Role::Agent));
        let (mut down, mut up) = (Wire::default(), Wire::default());
        for (at_relay, step) in &steps {
            let (here, there, out) =
                if *at_relay { (&mut relay, &mut agent, &mut down) } else { (&mut agent, &mut relay, &mut up) };
            match step {
                Step::Transmit => out.carry(here),
                Step::Deliver => { out.deliver(there); }
                step => here.act(step),
            }
            here.learn();
        }
        for round in 0.. {
            relay.settle();
            agent.settle();
            down.carry(&mut relay);
            up.carry(&mut agent);
            while down.deliver(&mut agent) {}
            while up.deliver(&mut relay) {}
            if relay.session.open_streams() + agent.session.open_streams() == 0 {
                break;
            }
            prop_assert!(round < 2_000, "hangs: {:?} {:?}", relay.session.streams, agent.session.streams);
        }
        for (mine, theirs) in [(&relay, &agent), (&agent, &relay)] {
            for (id, known) in &mine.streams {
                prop_assert!(known.over, "stream {id} never ended");
                if let Some(peer) = theirs.streams.get(id)
                    && known.receive_ended && !known.stopped && !peer.stopped
                {
                    prop_assert_eq!(known.received, peer.sent, "stream {} lost bytes", id);
                }
            }
        }
        prop_assert_eq!(relay.session.budget.left, settings().window_budget);
    }

    /// Whatever a peer sends: no panic, no more streams than allowed, nothing but whole frames comes back.
    #[test]
    fn a_hostile_peer_is_bounded(
        frames in proptest::collection::vec(
            (any::<u8>(), any::<u8>(), 0u64..12, proptest::collection::vec(any::<u8>(), 0..60)), 0..200),
        relay in any::<bool>(),
    ) {
        let role = if relay { Role::Relay } else { Role::Agent };
        let now = Clock::system().now();
        let mut session = Session::new(role, settings(), now);
        let mut lasts = BTreeMap::<StreamId, u32>::new();
        for (number, (kind, flags, stream, payload)) in frames.into_iter().enumerate() {
            let mut message = BytesMut::new();
            let stream = if kind % 3 == 0 { number as u64 } else { stream };
            // Mostly known types, some with a payload that makes sense.
            let kind = Kind::from_number([0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x20, 0x22, kind][usize::from(kind) % 10]);
            let mut payload = BytesMut::from(payload.as_slice());
            if kind == Kind::Open && flags & 4 == 0 {
                payload.clear();
                http_open("/x").encode(&mut payload).unwrap();
            }
            Frame { kind, flags: flags & 3, stream, payload: payload.freeze() }.encode(&mut message);
            session.receive(message.freeze(), now);
            while let Some(event) = session.poll_event() {
                if let Event::Finished { stream } | Event::Reset { stream, .. } | Event::Lost { stream, .. } = event {
                    *lasts.entry(stream).or_default() += 1;
                }
            }
            prop_assert!(session.open_streams() <= 8);
            let mut out = BytesMut::new();
            session.transmit(&mut out);
            let mut out = out.freeze();
            while Frame::decode(&mut out).unwrap().is_some() {}
        }
        prop_assert!(lasts.values().all(|count| *count == 1), "{lasts:?}");
    }
}

fn pair() -> (End, End, Wire, Wire) {
    (End::new(Role::Relay), End::new(Role::Agent), Wire::default(), Wire::default())
}

/// Opens streams at the relay and answers them at the agent, with this much body each.
fn answered(relay: &mut End, agent: &mut End, down: &mut Wire, bodies: &[usize]) {
    for _ in bodies {
        relay.act(&Step::Open(0, false));
    }
    down.carry(relay);
    while down.deliver(agent) {}
    let ids: Vec<_> = agent.streams.keys().copied().collect();
    for (id, body) in ids.into_iter().zip(bodies) {
        agent.session.send_head(id, &response()).unwrap();
        agent.streams.get_mut(&id).unwrap().head_due = false;
        agent.send(id, *body);
        agent.end(id, false);
    }
}

#[test]
fn a_short_answer_overtakes_bulk_but_does_not_starve_it() {
    let (mut relay, mut agent, mut down, _) = pair();
    answered(&mut relay, &mut agent, &mut down, &[100_000, 100_000, 500]);
    let mut message = BytesMut::new();
    agent.session.transmit(&mut message);
    let mut message = message.freeze();
    let mut order = Vec::new();
    while let Some(frame) = Frame::decode(&mut message).unwrap() {
        order.push((frame.stream, frame.kind, frame.payload.len()));
    }
    let short = order.iter().position(|(id, kind, _)| *id == 6 && *kind == Kind::Data).unwrap();
    let before: usize = order[..short].iter().map(|(_, _, length)| length).sum();
    assert!(before <= 2 * 17 * 1024, "{before} bytes before the short answer: {order:?}");
    assert!(order[short + 1..].iter().any(|(id, _, _)| *id != 6), "no bulk in the batch: {order:?}");
    assert!(
        order.iter().all(|(_, _, length)| *length <= 16 * 1024),
        "long frames while others wait: {order:?}"
    );
}

#[test]
fn a_lone_download_uses_long_frames() {
    let (mut relay, mut agent, mut down, _) = pair();
    answered(&mut relay, &mut agent, &mut down, &[131_072]);
    let mut longest = 0;
    loop {
        let mut message = BytesMut::new();
        agent.session.transmit(&mut message);
        let mut message = message.freeze();
        if message.is_empty() {
            break;
        }
        while let Some(frame) = Frame::decode(&mut message).unwrap() {
            longest = longest.max(frame.payload.len());
        }
    }
    assert!(longest > 32 * 1024, "{longest}");
}

#[test]
fn more_streams_than_allowed_are_refused_one_by_one() {
    let (mut relay, mut agent, mut down, mut up) = pair();
    for _ in 0..10 {
        relay.act(&Step::Open(0, false));
    }
    assert_eq!(relay.session.open(&http_open("/"), false), Err(OpenFault::TooMany));
    down.carry(&mut relay);
    while down.deliver(&mut agent) {}
    assert_eq!(agent.session.open_streams(), 8);
    up.carry(&mut agent);
    up.deliver(&mut relay);
    assert_eq!(relay.session.open_streams(), 8);
    assert_eq!(relay.streams.values().filter(|known| known.over).count(), 2);
}

#[test]
fn what_was_not_sent_is_lost_as_unsent() {
    let now = Clock::system().now();
    let mut session = Session::new(Role::Relay, Settings::default(), now);
    let sent = session.open(&http_open("/"), false).unwrap();
    session.transmit(&mut BytesMut::new());
    let unsent = session.open(&http_open("/"), false).unwrap();
    session.close(CloseCode::Broken, "gone");
    let events: Vec<_> = std::iter::from_fn(|| session.poll_event()).collect();
    assert_eq!(events[0], Event::Lost { stream: sent, unsent: false });
    assert_eq!(events[1], Event::Lost { stream: unsent, unsent: true });
    assert!(matches!(events[2], Event::Closed { .. }));
    assert_eq!(session.open(&http_open("/"), false), Err(OpenFault::Closed));
}

#[test]
fn silence_ends_the_session() {
    let now = Clock::system().now();
    let mut session = Session::new(Role::Relay, Settings::default(), now);
    session.tick(now + Duration::from_secs(39));
    assert!(!session.is_closed());
    session.tick(now + Duration::from_secs(40));
    assert!(matches!(session.poll_event(), Some(Event::Closed { code: CloseCode::Silent, .. })));
}

#[test]
fn a_stream_over_its_credit_is_reset_and_the_session_lives() {
    let (mut relay, mut agent, mut down, _) = pair();
    relay.act(&Step::Open(0, false));
    down.carry(&mut relay);
    down.deliver(&mut agent);
    let mut message = BytesMut::new();
    for _ in 0..5 {
        let payload = Bytes::from(vec![0; frame::MAX_DATA]);
        Frame { kind: Kind::Data, flags: 0, stream: 2, payload }.encode(&mut message);
    }
    agent.session.receive(message.freeze(), agent.now);
    let last = std::iter::from_fn(|| agent.session.poll_event()).last();
    assert_eq!(last, Some(Event::Reset { stream: 2, code: ResetCode::Protocol, by_peer: false }));
    assert!(!agent.session.is_closed());
}

#[test]
fn an_unknown_frame_is_skipped_and_a_critical_one_ends_the_session() {
    let now = Clock::system().now();
    let mut session = Session::new(Role::Agent, Settings::default(), now);
    for (flags, ends) in [(0, false), (frame::CRITICAL, true)] {
        let mut message = BytesMut::new();
        Frame { kind: Kind::Unknown(0x7e), flags, stream: 9, payload: Bytes::from_static(b"new") }
            .encode(&mut message);
        session.receive(message.freeze(), now);
        assert_eq!(session.is_closed(), ends);
    }
}

#[test]
fn a_flood_of_pings_ends_the_session() {
    let now = Clock::system().now();
    let mut session = Session::new(Role::Agent, Settings::default(), now);
    let mut message = BytesMut::new();
    for _ in 0..101 {
        Frame { kind: Kind::Ping, flags: 0, stream: 0, payload: Bytes::from_static(&[0; 8]) }
            .encode(&mut message);
    }
    session.receive(message.freeze(), now);
    assert!(matches!(session.poll_event(), Some(Event::Closed { code: CloseCode::Flood, .. })));
}
