use std::sync::Mutex;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::Role as WebSocketRole;

use super::*;
use crate::common::ids::RequestId;
use crate::tunnel::head::Scheme;

/// Answers calls by a function, and keeps what else it was told.
struct Echo {
    tasks: Tasks,
    seen: Mutex<Vec<String>>,
    cancelled: mpsc::Sender<ResetCode>,
}

impl Acceptor for Echo {
    fn http(&self, call: IncomingCall) {
        let cancelled = self.cancelled.clone();
        self.tasks.spawn_detached(async move { answer(call, cancelled).await });
    }
    fn bytes(&self, head: BytesHead, stream: ByteStream) {
        self.seen.lock().unwrap().push(format!("bytes {}", head.purpose));
        self.tasks.spawn_detached(async move {
            let (mut reader, mut writer) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
            let _ = writer.shutdown().await;
        });
    }
    fn status(&self, payload: Bytes) {
        self.seen.lock().unwrap().push(format!("status {}", String::from_utf8_lossy(&payload)));
    }
    fn draining(&self, _: DrainCode, text: String) {
        self.seen.lock().unwrap().push(format!("draining {text}"));
    }
}

async fn answer(call: IncomingCall, cancelled: mpsc::Sender<ResetCode>) {
    let IncomingCall { head, body, mut reply } = call;
    match head.target.as_str() {
        "/hang" => {
            let code = reply.cancelled().await;
            let _ = cancelled.send(code).await;
        }
        "/early" => {
            drop(body);
            let _ = reply.send(Response::new(Full::new(Bytes::from_static(b"no need")))).await;
        }
        "/drop" => {}
        "/trailers" => {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("42"));
            let body =
                Full::new(Bytes::from_static(b"body")).with_trailers(std::future::ready(Some(Ok(trailers))));
            let _ = reply.send(Response::new(Box::pin(body))).await;
        }
        "/big" => {
            let chunk = Bytes::from(vec![7u8; 100_000]);
            let frames = (0..50).map(move |_| Ok::<_, String>(http_body::Frame::data(chunk.clone())));
            let _ = reply.send(Response::new(StreamBody::new(futures_iter(frames)))).await;
        }
        _ => {
            let _ = reply.send(Response::new(body)).await;
        }
    }
}

fn futures_iter<I: Iterator + Unpin>(mut items: I) -> impl futures_util::Stream<Item = I::Item> + Unpin {
    struct Iter<F>(F);
    impl<F: FnMut() -> Option<T> + Unpin, T> futures_util::Stream for Iter<F> {
        type Item = T;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            std::task::Poll::Ready(self.0())
        }
    }
    Iter(move || items.next())
}

struct Pair {
    relay: Tunnel,
    agent: Tunnel,
    agent_echo: Arc<Echo>,
    relay_echo: Arc<Echo>,
    cancelled: mpsc::Receiver<ResetCode>,
}

async fn pair() -> Pair {
    let (left, right) = tokio::io::duplex(32 * 1024);
    pair_over(left, right).await
}

async fn pair_over(left: DuplexStream, right: DuplexStream) -> Pair {
    let tasks = Tasks::new();
    let (sender, cancelled) = mpsc::channel(16);
    let echo = || {
        let seen = Mutex::default();
        Arc::new(Echo { tasks: tasks.clone(), seen, cancelled: sender.clone() })
    };
    let (relay_echo, agent_echo) = (echo(), echo());
    let start = |socket, role, acceptor: &Arc<Echo>| {
        let acceptor: Arc<dyn Acceptor> = Arc::clone(acceptor) as _;
        Tunnel::start(socket, role, Settings::default(), Clock::system(), &tasks, acceptor)
    };
    let socket = WebSocketStream::from_raw_socket(left, WebSocketRole::Server, None).await;
    let relay = start(socket, Role::Relay, &relay_echo);
    let socket = WebSocketStream::from_raw_socket(right, WebSocketRole::Client, None).await;
    let agent = start(socket, Role::Agent, &agent_echo);
    Pair { relay, agent, agent_echo, relay_echo, cancelled }
}

fn head(method: Method, target: &str) -> RequestHead {
    RequestHead {
        request_id: RequestId::generate(),
        method,
        scheme: Scheme::Https,
        authority: "acme.relay.example".to_owned(),
        target: target.to_owned(),
        route_length: 0,
        peer: "192.0.2.1".to_owned(),
        headers: HeaderMap::new(),
    }
}

fn empty() -> Full<Bytes> {
    Full::new(Bytes::new())
}

#[tokio::test]
async fn a_body_goes_there_and_back() {
    let pair = pair().await;
    let sent = Bytes::from((0..3_000_000u32).map(|number| (number % 251) as u8).collect::<Vec<_>>());
    for tunnel in [&pair.relay, &pair.agent] {
        let answer =
            tunnel.request(&head(Method::POST, "/echo"), Full::new(sent.clone()), false).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), sent);
    }
    assert_eq!(pair.relay.stats().streams, 0);
    assert_eq!(pair.agent.stats().streams, 0);
}

#[tokio::test]
async fn many_exchanges_at_once() {
    let pair = pair().await;
    let mut all = tokio::task::JoinSet::new();
    for number in 0..200 {
        let relay = pair.relay.clone();
        all.spawn(async move {
            let body = Full::new(Bytes::from(format!("call {number}")));
            let answer = relay.request(&head(Method::POST, "/echo"), body, number % 2 == 0).await.unwrap();
            let text = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(text, format!("call {number}"));
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    assert_eq!(pair.relay.stats().streams, 0);
}

#[tokio::test]
async fn an_early_answer_stops_the_upload_and_still_arrives() {
    let pair = pair().await;
    let endless = (0..).map(|_| Ok::<_, String>(http_body::Frame::data(Bytes::from(vec![0u8; 60_000]))));
    let answer = pair
        .relay
        .request(&head(Method::POST, "/early"), StreamBody::new(futures_iter(endless)), false)
        .await
        .unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "no need");
}

#[tokio::test]
async fn a_held_body_is_not_touched_before_it_is_asked_for() {
    let pair = pair().await;
    let untouched = (0..1).map(|_| -> Result<http_body::Frame<Bytes>, String> { panic!("read too early") });
    let answer = pair
        .relay
        .request(&head(Method::POST, "/early"), StreamBody::new(futures_iter(untouched)), true)
        .await
        .unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "no need");
}

#[tokio::test]
async fn trailers_arrive() {
    let pair = pair().await;
    let answer = pair.relay.request(&head(Method::GET, "/trailers"), empty(), false).await.unwrap();
    let collected = answer.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "42");
    assert_eq!(collected.to_bytes(), "body");
}

#[tokio::test]
async fn who_goes_away_cancels() {
    let mut pair = pair().await;
    let hang = head(Method::GET, "/hang");
    let call = pair.relay.request(&hang, empty(), false);
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    assert_eq!(pair.cancelled.recv().await, Some(ResetCode::Cancel));
    // An answer's body dropped in the middle cancels as well, and nothing stays open.
    let answer = pair.relay.request(&head(Method::GET, "/big"), empty(), false).await.unwrap();
    drop(answer);
    let answer = pair.relay.request(&head(Method::POST, "/echo"), empty(), false).await.unwrap();
    answer.into_body().collect().await.unwrap();
    assert_eq!(pair.relay.stats().streams, 0);
    assert_eq!(pair.agent.stats().streams, 0);
}

#[tokio::test]
async fn an_unread_answer_holds_back_its_sender_and_nobody_else() {
    let pair = pair().await;
    let slow = pair.relay.request(&head(Method::GET, "/big"), empty(), false).await.unwrap();
    for _ in 0..20 {
        let answer = pair.relay.request(&head(Method::POST, "/echo"), empty(), false).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    let before = pair.agent.stats().bytes_out;
    assert!(before < 600_000, "{before} bytes sent for a body nobody reads");
    assert_eq!(slow.into_body().collect().await.unwrap().to_bytes().len(), 5_000_000);
}

#[tokio::test]
async fn an_unanswered_call_is_a_fault_and_not_silence() {
    let pair = pair().await;
    let fault = pair.relay.request(&head(Method::GET, "/drop"), empty(), false).await.map(drop).unwrap_err();
    assert_eq!(fault, ExchangeFault::Reset(ResetCode::Internal));
}

#[tokio::test]
async fn a_lost_tunnel_fails_every_call_at_once() {
    let pair = pair().await;
    let relay = pair.relay.clone();
    let call = tasks().spawn_detached(async move {
        relay.request(&head(Method::POST, "/hang"), empty(), false).await.map(drop)
    });
    // The call is on its way once the agent has counted it.
    while pair.agent.stats().opened == 0 {
        tokio::task::yield_now().await;
    }
    pair.agent.close(CloseCode::Stopping, "bye");
    assert!(matches!(call.await.unwrap(), Err(ExchangeFault::OutcomeUnknown(_))));
    let closed = pair.relay.closed().await;
    assert_eq!((closed.code, closed.text.as_str(), closed.by_peer), (CloseCode::Stopping, "bye", true));
    let after = pair.relay.request(&head(Method::GET, "/echo"), empty(), false).await.map(drop);
    assert!(matches!(after, Err(ExchangeFault::NotSent(_))));
}

#[tokio::test]
async fn byte_streams_run_both_ways_with_half_close() {
    let pair = pair().await;
    let purpose = BytesHead { purpose: "egress".into(), target: "a:1".into(), peer: String::new() };
    for tunnel in [&pair.agent, &pair.relay] {
        let (mut reader, mut writer) = tokio::io::split(tunnel.open_bytes(purpose.clone()).unwrap());
        let sent = vec![3u8; 1_000_000];
        let upload = sent.clone();
        let task = tasks().spawn_detached(async move {
            writer.write_all(&upload).await.unwrap();
            writer.shutdown().await.unwrap();
            writer
        });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, sent);
        task.await.unwrap();
    }
    assert_eq!(pair.relay_echo.seen.lock().unwrap().as_slice(), ["bytes egress"]);
}

#[tokio::test]
async fn status_and_drain_are_told() {
    let pair = pair().await;
    pair.agent.send_status(Bytes::from_static(b"{}"));
    pair.relay.drain(DrainCode::Operator, "new version");
    assert!(!pair.relay.is_usable());
    while pair.agent.is_usable() || pair.relay_echo.seen.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(pair.relay_echo.seen.lock().unwrap().as_slice(), ["status {}"]);
    assert_eq!(pair.agent_echo.seen.lock().unwrap().as_slice(), ["draining new version"]);
}

#[tokio::test]
async fn rubbish_closes_the_tunnel_with_a_reason() {
    let (left, right) = tokio::io::duplex(4096);
    let tasks = Tasks::new();
    let (sender, _cancelled) = mpsc::channel(1);
    let acceptor: Arc<dyn Acceptor> =
        Arc::new(Echo { tasks: tasks.clone(), seen: Mutex::default(), cancelled: sender });
    let socket = WebSocketStream::from_raw_socket(left, WebSocketRole::Server, None).await;
    let relay = Tunnel::start(socket, Role::Relay, Settings::default(), Clock::system(), &tasks, acceptor);
    let mut peer = WebSocketStream::from_raw_socket(right, WebSocketRole::Client, None).await;
    let rubbish = tokio_tungstenite::tungstenite::Message::Binary(Bytes::from_static(b"rubbish"));
    futures_util::SinkExt::send(&mut peer, rubbish).await.unwrap();
    let closed = relay.closed().await;
    assert_eq!(closed.code, CloseCode::Protocol);
}

fn tasks() -> Tasks {
    Tasks::new()
}

/// A TCP socket joined to a stream that comes back as it was sent, and its far end.
async fn spliced(
    pair: &Pair,
    patience: Patience,
) -> (tokio::net::TcpStream, tokio::task::JoinHandle<Spliced>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut near, _) = listener.accept().await.unwrap();
    let head = BytesHead { purpose: "pass-through".into(), target: "a".into(), peer: String::new() };
    let stream = pair.relay.open_bytes(head).unwrap();
    let joined = async move {
        splice(&mut near, Bytes::from_static(b"ahead "), stream, patience, &Clock::system()).await
    };
    (far, tasks().spawn_detached(joined))
}

const PATIENT: Patience = Patience { idle: Duration::from_secs(60), stuck: Duration::from_secs(60) };

#[tokio::test]
async fn a_joined_socket_brings_every_byte_and_ends_one_way_at_a_time() {
    let pair = pair().await;
    let (far, joined) = spliced(&pair, PATIENT).await;
    let (mut reader, mut writer) = far.into_split();
    let sent: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let upload = sent.clone();
    let task = tasks().spawn_detached(async move {
        writer.write_all(&upload).await.unwrap();
        writer.shutdown().await.unwrap();
        writer
    });
    let mut back = Vec::new();
    reader.read_to_end(&mut back).await.unwrap();
    assert!(back.starts_with(b"ahead ") && back[6..] == sent[..]);
    task.await.unwrap();
    let moved = sent.len() as u64 + 6;
    let expected = Spliced { sent: moved, received: moved, end: SpliceEnd::Finished };
    assert_eq!(joined.await.unwrap(), expected);
}

#[tokio::test]
async fn a_joined_socket_that_stands_still_or_takes_nothing_is_let_go() {
    let pair = pair().await;
    let short = Duration::from_millis(300);
    let (far, joined) = spliced(&pair, Patience { idle: short, ..PATIENT }).await;
    assert_eq!(joined.await.unwrap().end, SpliceEnd::Idle);
    drop(far);
    // It sends all it can and reads nothing of what comes back.
    let (mut far, joined) = spliced(&pair, Patience { stuck: short, ..PATIENT }).await;
    let flood = tasks().spawn_detached(async move {
        while far.write_all(&vec![7; 65_536]).await.is_ok() {}
        far
    });
    assert_eq!(joined.await.unwrap().end, SpliceEnd::Stuck);
    flood.await.unwrap();
}

#[tokio::test]
async fn a_joined_socket_hears_of_a_lost_tunnel_and_the_stream_of_a_lost_socket() {
    let pair = pair().await;
    let (far, joined) = spliced(&pair, PATIENT).await;
    // Linger nought: the kernel sends a reset.
    socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    assert!(matches!(joined.await.unwrap().end, SpliceEnd::Socket(_)));
    let (mut far, joined) = spliced(&pair, PATIENT).await;
    let mut ahead = [0; 6];
    far.read_exact(&mut ahead).await.unwrap();
    pair.agent.close(CloseCode::Stopping, "");
    assert_eq!(joined.await.unwrap().end, SpliceEnd::Lost);
}

/// Says one thing, ends its direction and is gone, whatever still comes.
struct Curt(Tasks);

impl Acceptor for Curt {
    fn http(&self, _: IncomingCall) {}
    fn bytes(&self, _: BytesHead, mut stream: ByteStream) {
        self.0.spawn_detached(async move {
            stream.write_all(&vec![5; 200_000]).await.unwrap();
            stream.shutdown().await.unwrap();
        });
    }
    fn status(&self, _: Bytes) {}
    fn draining(&self, _: DrainCode, _: String) {}
}

#[tokio::test]
async fn what_a_stream_said_last_arrives_though_its_end_hears_no_more() {
    let (left, right) = tokio::io::duplex(32 * 1024);
    let tasks = Tasks::new();
    let start = |socket, role| {
        let acceptor: Arc<dyn Acceptor> = Arc::new(Curt(tasks.clone()));
        Tunnel::start(socket, role, Settings::default(), Clock::system(), &tasks, acceptor)
    };
    let socket = WebSocketStream::from_raw_socket(left, WebSocketRole::Server, None).await;
    let relay = start(socket, Role::Relay);
    let socket = WebSocketStream::from_raw_socket(right, WebSocketRole::Client, None).await;
    let agent = start(socket, Role::Agent);
    let (cancelled, _) = mpsc::channel(1);
    let cancelled = (cancelled, mpsc::channel(1).1);
    let echo = Arc::new(Echo { tasks: tasks.clone(), seen: Mutex::default(), cancelled: cancelled.0 });
    let pair = Pair { relay, agent, agent_echo: echo.clone(), relay_echo: echo, cancelled: cancelled.1 };
    let (mut far, joined) = spliced(&pair, PATIENT).await;
    let mut heard = Vec::new();
    far.write_all(&[9; 1000]).await.unwrap();
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.len(), 200_000);
    drop(far);
    assert_eq!(joined.await.unwrap().end, SpliceEnd::Finished);
}
