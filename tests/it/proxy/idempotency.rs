//! Calls with an `Idempotency-Key` through the front: sent once, whatever becomes of the caller or the upstream.

use std::sync::Mutex;

use http_body::Frame;
use http_body_util::StreamBody;
use outhaul::agent::idempotency::{Ledger, Limits};
use tokio::sync::Semaphore;

use super::*;
use crate::support::eventually;
use crate::support::store::remembered_in;

pub(super) const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nX-Two: a\r\nX-Two: b\r\n\
                       Set-Cookie: s=1\r\nContent-Length: 10\r\n\r\n{\"id\":\"1\"}";

/// A site that remembers within these bounds, by a clock that the test moves.
pub(super) fn remembering(address: SocketAddr, limits: Limits) -> (World, Ledger, Clock) {
    let clock = Clock::manual();
    let ledger = Ledger::new(limits, clock.clone());
    let mut world = world(&[address], |_| {});
    let remembered = remembered_in(world.store.clone(), ledger.clone(), clock.clone());
    world.front = world.front.clone().remembering(remembered, world.tasks.clone());
    (world, ledger, clock)
}

/// An upstream that keeps each request and answers it with this text once a permit is there.
pub(super) struct Gated {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Seen>,
    pub(super) gate: Arc<Semaphore>,
    log: Arc<Mutex<Vec<String>>>,
}

pub(super) async fn gated(answer: &'static str) -> Gated {
    let (gate, log) = (Arc::new(Semaphore::new(0)), Arc::<Mutex<Vec<String>>>::default());
    let (inner, kept) = (Arc::clone(&gate), Arc::clone(&log));
    let (address, seen) = upstream(move |mut peer, head| {
        let (gate, kept) = (Arc::clone(&inner), Arc::clone(&kept));
        async move {
            let mut next = Some(head);
            while let Some(head) = next {
                let body = if head.contains("transfer-encoding: chunked") {
                    peer.until("0\r\n\r\n").await
                } else {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let body = peer.take(length.map_or(0, |length| length.parse().unwrap())).await;
                    String::from_utf8(body).unwrap()
                };
                kept.lock().unwrap().push(head + &body);
                gate.acquire().await.unwrap().forget();
                peer.send(answer).await;
                next = peer.head().await;
            }
        }
    })
    .await;
    Gated { address, seen, gate, log }
}

/// The same that answers at once.
pub(super) async fn open(answer: &'static str) -> Gated {
    let gated = gated(answer).await;
    gated.gate.add_permits(100_000);
    gated
}

pub(super) fn request(method: &str, path: &str, key: &str, body: &'static str) -> Request<Full<Bytes>> {
    let builder = Request::builder().method(method).uri(path).header("Idempotency-Key", key);
    builder.header("Content-Type", "application/json").body(Full::from(body)).unwrap()
}

pub(super) async fn send(world: &World, key: &str, body: &'static str) -> Answer {
    read(world.call(request("POST", "/jira/anon/issue?a=1", key, body)).await).await
}

/// How many keys and bytes are remembered.
pub(super) fn kept(ledger: &Ledger) -> (usize, u64) {
    let usage = ledger.usage();
    (usage.keys, usage.bytes)
}

pub(super) fn document(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// A dead credential is a 401 of the application: once the token is renewed, the same call with its key must go through.
#[tokio::test]
async fn a_dead_credential_leaves_the_key_free() {
    let upstream = open("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").await;
    let (world, ledger, _) = remembering(upstream.address, Limits::default());
    for sent in 1..3 {
        let answer = read(world.call(request("POST", "/jira/svc/issue", "k", "{}")).await).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "needs-reauth"));
        assert!(document(&answer).get("replayed").is_none(), "{sent}");
        let posts = upstream.log.lock().unwrap().iter().filter(|head| head.starts_with("POST")).count();
        assert_eq!((posts, kept(&ledger)), (sent, (0, 0)));
    }
}

#[tokio::test]
async fn the_same_call_is_made_once_and_its_answer_given_again() {
    for (answer, status, body) in [
        (CREATED, 201, "{\"id\":\"1\"}"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\nyes\r\n0\r\n\r\n",
            200,
            "okyes",
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno", 400, "no"),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", 500, "oops"),
    ] {
        let upstream = open(answer).await;
        let (world, ledger, _) = remembering(upstream.address, Limits::default());
        for method in ["POST", "PUT", "DELETE"] {
            let before = upstream.seen.requests();
            let call = || async {
                let key = format!("\"{method}\"");
                read(world.call(request(method, "/jira/anon/issue", &key, "{}")).await).await
            };
            let (first, again, third) = (call().await, call().await, call().await);
            assert_eq!((first.status, &first.body[..]), (status, body.as_bytes()), "{method} {answer}");
            assert!(!first.headers.contains_key("outhaul-replayed"));
            for mut again in [again, third] {
                assert_eq!(again.headers.remove("outhaul-replayed").unwrap(), "true");
                assert_eq!((again.status, &again.body), (first.status, &first.body));
                assert_eq!(again.headers, first.headers);
            }
            assert_eq!(upstream.seen.requests(), before + 1, "{method} {answer}");
        }
        assert_eq!((world.metrics.replays(), ledger.usage().keys), (6, 3));
        let log = upstream.log.lock().unwrap().join("").to_lowercase();
        assert!(!log.contains("idempotency"), "the key stays here: {log}");
    }
}

#[tokio::test]
async fn only_calls_that_act_are_remembered() {
    let upstream = open(CREATED).await;
    let (world, ledger, _) = remembering(upstream.address, Limits::default());
    for _ in 0..2 {
        let request = Request::get("/jira/anon/x").header("Idempotency-Key", "k");
        assert_eq!(read(world.call(request.body(Full::<Bytes>::default()).unwrap()).await).await.status, 201);
        assert_eq!(world.post("/jira/anon/x", "no key").await.status, 201);
    }
    assert_eq!((upstream.seen.requests(), kept(&ledger)), (4, (0, 0)));
}

#[tokio::test]
async fn a_call_under_way_is_not_made_again() {
    let upstream = gated(CREATED).await;
    let (world, ..) = remembering(upstream.address, Limits::default());
    let again = async {
        eventually("the first arrived", Duration::from_secs(5), async || upstream.seen.requests() == 1).await;
        let again = send(&world, "k", "{}").await;
        assert_eq!(
            (again.status, again.problem()),
            (409, problem("idempotency-in-flight", "outcome-unknown", "after"))
        );
        assert_eq!(again.headers["retry-after"], "2");
        // Another call under this key is told so at once.
        let other = read(world.call(request("PUT", "/jira/anon/issue?a=1", "k", "{}")).await).await;
        assert_eq!(other.code(), "idempotency-mismatch");
        upstream.gate.add_permits(1);
    };
    let (first, ()) = tokio::join!(send(&world, "k", "{}"), again);
    assert_eq!(first.status, 201);
    let later = send(&world, "k", "{}").await;
    assert_eq!((later.status, &later.headers["outhaul-replayed"]), (201, &"true".parse().unwrap()));
    assert_eq!(upstream.seen.requests(), 1);
}

#[tokio::test]
async fn a_key_belongs_to_one_call_of_one_caller() {
    let upstream = open(CREATED).await;
    let (mut world, ..) = remembering(upstream.address, Limits::default());
    assert_eq!(send(&world, "k", "{}").await.status, 201);
    let other_type = Request::post("/jira/anon/issue?a=1")
        .header("Idempotency-Key", "k")
        .header("Content-Type", "text/plain")
        .body(Full::from("{}"))
        .unwrap();
    let bodiless = Request::post("/jira/anon/issue?a=1")
        .header("Idempotency-Key", "k")
        .header("Content-Type", "application/json")
        .body(Full::default())
        .unwrap();
    for other in [
        request("POST", "/jira/anon/issue?a=1", "k", "{ }"),
        request("POST", "/jira/anon/issue?a=1", "k", "{"),
        request("POST", "/jira/anon/issue?a=1", "k", "{}{}"),
        request("POST", "/jira/anon/issue?a=2", "k", "{}"),
        request("POST", "/jira/anon/issue", "k", "{}"),
        request("POST", "/jira/anon/Issue?a=1", "k", "{}"),
        request("PUT", "/jira/anon/issue?a=1", "k", "{}"),
        other_type,
        bodiless,
    ] {
        let answer = read(world.call(other).await).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (422, problem("idempotency-mismatch", "not-sent", "never"))
        );
        assert!(document(&answer)["first_request_id"].is_string());
    }
    // The same by another spelling of key and path.
    let same = read(world.call(request("POST", "/jira/anon/%69ssue?a=1", "\"k\"", "{}")).await).await;
    assert_eq!(same.headers["outhaul-replayed"], "true");
    assert_eq!(upstream.seen.requests(), 1);
    let other = world.site.load().callers.add(&"other".parse().unwrap()).await.unwrap();
    world.key = other.expose().clone();
    let answer = send(&world, "k", "{}").await;
    assert_eq!((answer.status, answer.headers.contains_key("outhaul-replayed")), (201, false));
    assert_eq!(upstream.seen.requests(), 2);
}

#[tokio::test]
async fn a_repeat_needs_the_right_to_call_as_the_first_did() {
    let upstream = open(CREATED).await;
    let (world, ..) = remembering(upstream.address, Limits::default());
    assert_eq!(send(&world, "k", "{}").await.status, 201);
    world.follow("");
    assert_eq!(send(&world, "k", "{}").await.code(), "policy-refused");
}

#[tokio::test]
async fn a_body_that_a_rule_looks_into_is_compared_as_any_other() {
    let upstream = open(CREATED).await;
    let (world, ..) = remembering(upstream.address, Limits::default());
    world.follow(
        "[[policy.rule]]\nallow = \"POST /anon/issue\"\nwhy = \"a test\"\nas = \"anonymous\"\nbody = { \"/key\" = \"DEMO\" }\n",
    );
    let body = "{\"key\": \"DEMO\"}";
    let (first, again) = (send(&world, "k", body).await, send(&world, "k", body).await);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(again.headers["outhaul-replayed"], "true");
    assert_eq!(send(&world, "k", "{\"key\":\"DEMO\"}").await.code(), "idempotency-mismatch");
    assert_eq!(send(&world, "k", "{\"key\": \"OTHER\"}").await.code(), "policy-refused");
    assert_eq!(upstream.seen.requests(), 1);
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let upstream = open(CREATED).await;
    let (world, ..) = remembering(upstream.address, Limits::default());
    let long = "k".repeat(256);
    for key in ["", "a b", "\"a", "a,b", "\"\"", long.as_str()] {
        let answer = send(&world, key, "{}").await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, problem("bad-request", "not-sent", "never")),
            "{key}"
        );
    }
    let two = Request::post("/jira/anon/issue").header("Idempotency-Key", "k").header("idempotency-key", "k");
    let answer = read(world.call(two.body(Full::<Bytes>::default()).unwrap()).await).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"));
    assert_eq!(upstream.seen.requests(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_finds_the_answer_when_it_comes_back() {
    let upstream = gated(CREATED).await;
    let (world, ..) = remembering(upstream.address, Limits::default());
    let arrived = eventually("it arrived", Duration::from_secs(5), async || upstream.seen.requests() == 1);
    tokio::select! {
        answer = send(&world, "k", "{}") => panic!("{answer:?}"),
        () = arrived => {}
    }
    assert_eq!(send(&world, "k", "{}").await.code(), "idempotency-in-flight");
    upstream.gate.add_permits(1);
    let mut answer = None;
    eventually("the answer is there", Duration::from_secs(5), async || {
        let again = send(&world, "k", "{}").await;
        let there = again.status == 201;
        answer = Some(again);
        there
    })
    .await;
    assert_eq!(answer.unwrap().headers["outhaul-replayed"], "true");
    assert_eq!(upstream.seen.requests(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_midst_of_the_answer_finds_it_whole() {
    let gate = Arc::new(Semaphore::new(0));
    let inner = Arc::clone(&gate);
    let (address, seen) = upstream(move |mut peer, _| {
        let gate = Arc::clone(&inner);
        async move {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
            gate.acquire().await.unwrap().forget();
            peer.send("rest").await;
            peer.head().await;
        }
    })
    .await;
    let (world, ..) = remembering(address, Limits::default());
    let mut response = world.call(request("POST", "/jira/anon/issue?a=1", "k", "")).await;
    let first = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(&first.data_ref().unwrap()[..], b"half");
    drop(response);
    gate.add_permits(1);
    eventually("the answer is whole", Duration::from_secs(5), async || {
        let again = send(&world, "k", "").await;
        again.status == 200 && &again.body[..] == b"halfrest"
    })
    .await;
    assert_eq!(seen.requests(), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_an_unknown_outcome_that_stays() {
    let arrived = Arc::new(Semaphore::new(0));
    let inner = Arc::clone(&arrived);
    let (address, seen) = upstream(move |mut peer, _| {
        inner.add_permits(1);
        async move { assert!(peer.is_closed().await) }
    })
    .await;
    let (world, ..) = remembering(address, Limits::default());
    let half = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"half")))]);
    let broken = futures_util::stream::once(async move {
        arrived.acquire().await.unwrap().forget();
        Err(BoxError::from("gone"))
    });
    let broken = Request::post("/jira/anon/issue")
        .header("Idempotency-Key", "k")
        .header("Content-Length", "8")
        .body(Box::pin(StreamBody::new(futures_util::StreamExt::chain(half, broken))))
        .unwrap();
    let first = read(world.call(broken).await).await;
    assert_eq!(first.problem(), problem("bad-request", "outcome-unknown", "never"));
    // The upstream may have taken the half for the whole.
    let again = Request::post("/jira/anon/issue")
        .header("Idempotency-Key", "k")
        .body(Full::from("halfrest"))
        .unwrap();
    let again = read(world.call(again).await).await;
    assert_eq!(again.problem(), first.problem());
    assert_eq!((document(&again)["replayed"].as_bool(), again.status), (Some(true), first.status));
    let other =
        Request::post("/jira/anon/issue").header("Idempotency-Key", "k").body(Full::from("other")).unwrap();
    assert_eq!(read(world.call(other).await).await.code(), "idempotency-mismatch");
    assert_eq!(seen.requests(), 1);
}

#[tokio::test]
async fn an_upstream_that_dies_is_not_asked_again() {
    for (sent, code, known) in [
        ("", "upstream-broke", None),
        ("HTTP/1.1 201 Cre", "upstream-broke", None),
        ("nonsense\r\n\r\n", "upstream-answer", None),
        ("HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nhalf", "idempotency-answer-gone", Some(201)),
    ] {
        let (address, seen) = upstream(move |mut peer, _| async move {
            peer.take(2).await;
            peer.send(sent).await;
        })
        .await;
        let (world, ledger, _) = remembering(address, Limits::default());
        let first = world.call(request("POST", "/jira/anon/issue?a=1", "k", "{}")).await;
        match known {
            None => {
                assert_eq!(read(first).await.problem(), problem(code, "outcome-unknown", "never"), "{sent}");
            }
            Some(_) => assert!(first.into_body().collect().await.is_err(), "half an answer is no answer"),
        }
        for _ in 0..3 {
            let again = send(&world, "k", "{}").await;
            let outcome = if known.is_some() { "answered" } else { "outcome-unknown" };
            assert_eq!(again.problem(), problem(code, outcome, "never"), "{sent}");
            assert_eq!(document(&again)["answered"].as_u64(), known);
        }
        assert_eq!((seen.requests(), kept(&ledger)), (1, (1, 0)), "{sent}");
    }
}

#[tokio::test]
async fn what_was_not_sent_or_not_taken_frees_the_key() {
    // The rule's limit is ten bytes; nothing is sent.
    let upstream = open(CREATED).await;
    let (world, ledger, _) = remembering(upstream.address, Limits::default());
    let call = |body| request("POST", "/jira/small/x", "k", body);
    let mut large = call("more than ten bytes");
    large.headers_mut().insert("content-length", "19".parse().unwrap());
    assert_eq!(read(world.call(large).await).await.problem(), problem("body-too-large", "not-sent", "never"));
    assert_eq!(ledger.usage().keys, 0);
    assert_eq!(read(world.call(call("{}")).await).await.status, 201);
    assert_eq!(upstream.seen.requests(), 1);
    // No connection.
    let (world, ledger, _) = remembering("127.0.0.1:1".parse().unwrap(), Limits::default());
    for _ in 0..2 {
        assert_eq!(
            send(&world, "k", "{}").await.problem(),
            problem("upstream-unreachable", "not-sent", "safe")
        );
    }
    assert_eq!(ledger.usage().keys, 0);
    // The application did not take it.
    for answer in [
        "HTTP/1.1 401 U\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 429 T\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno",
    ] {
        let upstream = open(answer).await;
        let (world, ledger, _) = remembering(upstream.address, Limits::default());
        for made in 1..=2 {
            assert_eq!(&send(&world, "k", "{}").await.body[..], b"no");
            assert_eq!((upstream.seen.requests(), ledger.usage().keys), (made, 0));
        }
    }
}

#[tokio::test]
async fn a_day_later_the_key_is_free() {
    let upstream = open(CREATED).await;
    let (world, ledger, clock) = remembering(upstream.address, Limits::default());
    assert_eq!(send(&world, "k", "{}").await.status, 201);
    clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert!(send(&world, "k", "{}").await.headers.contains_key("outhaul-replayed"));
    assert_eq!(send(&world, "k", "other").await.code(), "idempotency-mismatch");
    clock.advance(Duration::from_secs(1));
    assert!(!send(&world, "k", "other").await.headers.contains_key("outhaul-replayed"));
    assert_eq!((upstream.seen.requests(), ledger.usage().keys), (2, 1));
}

#[tokio::test]
async fn full_is_refused_and_nothing_forgotten() {
    let upstream = open(CREATED).await;
    let (world, _, clock) = remembering(upstream.address, Limits { max_keys: 2, ..Limits::default() });
    for key in ["1", "2"] {
        assert_eq!(send(&world, key, "{}").await.status, 201);
    }
    clock.advance(Duration::from_secs(24 * 3600 - 60));
    let refused = send(&world, "3", "{}").await;
    assert_eq!((refused.status, refused.problem()), (503, problem("idempotency-full", "not-sent", "after")));
    assert_eq!(refused.headers["retry-after"], "60");
    assert!(document(&refused)["detail"].as_str().unwrap().contains("`max-keys`"));
    for key in ["1", "2"] {
        assert!(send(&world, key, "{}").await.headers.contains_key("outhaul-replayed"));
    }
    assert_eq!(world.post("/jira/anon/x", "no key").await.status, 201);
    assert_eq!(upstream.seen.requests(), 3);
    clock.advance(Duration::from_secs(60));
    assert_eq!(send(&world, "3", "{}").await.status, 201);

    let (world, ..) = remembering(upstream.address, Limits { max_keys_per_caller: 1, ..Limits::default() });
    assert_eq!(send(&world, "1", "{}").await.status, 201);
    let refused = send(&world, "2", "{}").await;
    assert!(document(&refused)["detail"].as_str().unwrap().contains("`max-keys-per-caller`"));
    assert_eq!(refused.headers["retry-after"], "3600", "nobody is told to wait for a day");
}

#[tokio::test]
async fn an_answer_too_large_to_keep_passes_whole_and_is_not_asked_for_again() {
    const LENGTH: usize = 3 << 20;
    for chunked in [false, true] {
        let (address, seen) = upstream(move |mut peer, _| async move {
            let body = vec![b'x'; LENGTH];
            let head = if chunked {
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{LENGTH:x}\r\n")
            } else {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")
            };
            peer.send(&head).await;
            peer.socket.write_all(&body).await.unwrap();
            peer.send(if chunked { "\r\n0\r\n\r\n" } else { "" }).await;
            peer.head().await;
        })
        .await;
        let (world, ledger, _) = remembering(address, Limits::default());
        let first = send(&world, "k", "").await;
        assert_eq!((first.status, first.body.len()), (200, LENGTH));
        let again = send(&world, "k", "").await;
        assert_eq!(
            (again.status, again.problem()),
            (409, problem("idempotency-answer-gone", "answered", "never"))
        );
        assert_eq!(document(&again)["answered"], 200);
        assert_eq!((seen.requests(), kept(&ledger)), (1, (1, 0)));
    }
}

#[tokio::test]
async fn of_a_hundred_at_once_one_is_made() {
    let upstream = gated(CREATED).await;
    let (world, ..) = remembering(upstream.address, Limits::default());
    let calls = (0..100).map(|_| send(&world, "k", "{}"));
    let release = async {
        eventually("the first arrived", Duration::from_secs(5), async || upstream.seen.requests() == 1).await;
        upstream.gate.add_permits(1);
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(calls), release);
    let mut fresh = 0;
    for answer in answers {
        match answer.status {
            201 => fresh += usize::from(!answer.headers.contains_key("outhaul-replayed")),
            _ => assert_eq!(answer.code(), "idempotency-in-flight"),
        }
    }
    assert_eq!((fresh, upstream.seen.requests()), (1, 1));
    // And spread over threads.
    let upstream = open(CREATED).await;
    let (world, ..) = remembering(upstream.address, Limits::default());
    let world = Arc::new(world);
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let world = Arc::clone(&world);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    futures_util::future::join_all((0..10).map(|_| send(&world, "k", "{}"))).await
                })
            })
        })
        .collect();
    let join = move || threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>();
    let answers = tokio::task::spawn_blocking(join).await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)), "{answers:?}");
    assert_eq!((answers.len(), upstream.seen.requests()), (100, 1));
}

#[tokio::test]
async fn a_repeat_waits_for_its_whole_body_and_no_longer() {
    let upstream = open(CREATED).await;
    let (world, ..) = remembering(upstream.address, Limits::default());
    assert_eq!(send(&world, "k", "{}").await.status, 201);
    let pieces = |pieces: Vec<Result<&'static str, &'static str>>| {
        let frames = pieces
            .into_iter()
            .map(|piece| piece.map(|text| Frame::data(Bytes::from(text))).map_err(BoxError::from));
        Request::post("/jira/anon/issue?a=1")
            .header("Idempotency-Key", "k")
            .header("Content-Type", "application/json")
            .body(StreamBody::new(futures_util::stream::iter(frames)))
            .unwrap()
    };
    let same = read(world.call(pieces(vec![Ok("{"), Ok(""), Ok("}")])).await).await;
    assert_eq!(same.headers["outhaul-replayed"], "true");
    let broken = read(world.call(pieces(vec![Ok("{"), Err("gone")])).await).await;
    assert_eq!(broken.problem(), problem("bad-request", "not-sent", "never"));
    // A body without an end is not read further than the first one went.
    let endless = StreamBody::new(futures_util::stream::repeat_with(|| {
        Ok::<_, BoxError>(Frame::data(Bytes::from("{}")))
    }));
    let endless = Request::post("/jira/anon/issue?a=1")
        .header("Idempotency-Key", "k")
        .header("Content-Type", "application/json")
        .body(endless)
        .unwrap();
    assert_eq!(read(world.call(endless).await).await.code(), "idempotency-mismatch");
    assert_eq!(upstream.seen.requests(), 1);
}

#[tokio::test]
async fn an_answer_whose_task_is_gone_is_no_whole_answer() {
    let (pieces, taken) = tokio::sync::mpsc::channel(2);
    pieces.send(Ok(Some(Frame::data(Bytes::from_static(b"half"))))).await.unwrap();
    drop(pieces);
    assert!(FrontBody::handed(taken).collect().await.is_err());
    let (pieces, taken) = tokio::sync::mpsc::channel(2);
    pieces.send(Ok(Some(Frame::data(Bytes::from_static(b"all"))))).await.unwrap();
    pieces.send(Ok(None)).await.unwrap();
    assert_eq!(&FrontBody::handed(taken).collect().await.unwrap().to_bytes()[..], b"all");
}
