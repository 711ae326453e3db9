//! Bodies, both ways: framing, size, pace, ends.

use std::sync::atomic::AtomicU64;

use http_body::Frame;
use http_body_util::StreamBody;

use super::*;

type Piece = Result<Frame<Bytes>, BoxError>;

/// So many pieces of 64 KB, and how many were taken.
fn pieces(count: u64) -> (impl Body<Data = Bytes, Error = BoxError> + Send + 'static, Arc<AtomicU64>) {
    let taken = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&taken);
    let piece = Bytes::from(vec![7; 64 << 10]);
    let stream = futures_util::stream::unfold(0, move |number| {
        let (piece, counter) = (piece.clone(), Arc::clone(&counter));
        async move {
            (number < count).then(|| {
                counter.fetch_add(1, Ordering::SeqCst);
                (Piece::Ok(Frame::data(piece)), number + 1)
            })
        }
    });
    (StreamBody::new(Box::pin(stream)), taken)
}

#[tokio::test]
async fn answers_without_a_body_stay_without_and_the_connection_lives() {
    let (address, seen) = upstream(|mut peer, head| async move {
        let mut next = Some(head);
        while let Some(head) = next {
            let answer = match head.split(' ').next().unwrap() {
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"1\"\r\n\r\n",
                "DELETE" => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"1\"\r\n\r\n",
            };
            peer.send(answer).await;
            next = peer.head().await;
        }
    })
    .await;
    let world = world(&[address], |_| {});
    for (method, status, length) in [
        ("HEAD", 200, Some("12345")),
        ("DELETE", 204, None),
        ("GET", 304, Some("99")),
        ("HEAD", 200, Some("12345")),
    ] {
        let request = Request::builder().method(method).uri("/jira/anon/x");
        let response = world.call(request.body(Full::<Bytes>::default()).unwrap()).await;
        assert!(response.body().is_end_stream(), "{method}");
        let answer = read(response).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0));
        let given = answer.headers.get("content-length").map(|length| length.to_str().unwrap());
        assert_eq!(given, length, "{method}");
    }
    assert_eq!(seen.connections(), 1);
}

#[tokio::test]
async fn bytes_pass_untouched_whatever_their_framing() {
    let binary: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    for framing in ["length", "chunked", "close"] {
        let sent = binary.clone();
        let (address, _) = upstream(move |mut peer, _| {
            let sent = sent.clone();
            async move {
                let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX-Latin: \u{e4}";
                peer.send(head).await;
                match framing {
                    "length" => peer.send("\r\nContent-Length: 20000\r\n\r\n").await,
                    "chunked" => peer.send("\r\nTransfer-Encoding: chunked\r\n\r\n4e20\r\n").await,
                    _ => peer.send("\r\n\r\n").await,
                }
                peer.socket.write_all(&sent).await.unwrap();
                if framing == "chunked" {
                    peer.send("\r\n0\r\n\r\n").await;
                }
            }
        })
        .await;
        let world = world(&[address], |_| {});
        let answer = world.get("/jira/anon/x").await;
        assert_eq!(answer.headers["content-encoding"], "gzip");
        assert_eq!(answer.headers["x-latin"].as_bytes(), "\u{e4}".as_bytes());
        assert!(!answer.headers.contains_key("transfer-encoding"));
        assert!(answer.body == binary, "{framing}");
    }
}

#[tokio::test]
async fn trailers_pass_to_a_caller_that_takes_them() {
    let (address, _) = answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nSet-Cookie: a=b\r\n\r\n",
    )
    .await;
    let world = world(&[address], |_| {});
    let request =
        Request::get("/jira/anon/x").header("TE", "trailers").body(Full::<Bytes>::default()).unwrap();
    let answer = read(world.call(request).await).await;
    assert_eq!(&answer.body[..], b"ok");
    let trailers = answer.trailers.unwrap();
    assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"7".parse::<http::HeaderValue>().unwrap()));
    let without = world.get("/jira/anon/x").await;
    assert_eq!((&without.body[..], without.trailers), (&b"ok"[..], None));
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_in_an_error() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n",
    ] {
        let (address, _) = upstream(move |mut peer, _| async move { peer.send(text).await }).await;
        let world = world(&[address], |_| {});
        let response = world.call(get("/jira/anon/x")).await;
        assert_eq!(response.status(), 200);
        assert!(response.into_body().collect().await.is_err(), "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_stands_still_ends_in_an_error_but_a_slow_reader_does_not() {
    let (address, _) = upstream(|mut peer, _| async move {
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin").await;
        if peer.number == 1 {
            peer.send("right").await;
        }
        peer.is_closed().await;
    })
    .await;
    let world = world(&[address], |wish| wish.config.idle_timeout = Duration::from_millis(300));
    let stalled = world.call(get("/jira/anon/x")).await.into_body().collect().await;
    assert!(stalled.unwrap_err().to_string().contains("stood still"));
    let response = world.call(get("/jira/anon/x")).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(&read(response).await.body[..], b"beginright");
}

#[tokio::test]
async fn a_hundred_megabytes_go_each_way() {
    const LENGTH: usize = 100 << 20;
    let (address, _) = upstream(|mut peer, head| async move {
        if head.starts_with("GET") {
            peer.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")).await;
            let piece = vec![7; 1 << 20];
            for _ in 0..100 {
                peer.socket.write_all(&piece).await.unwrap();
            }
        } else {
            let mut left = LENGTH - peer.buffer.len();
            let mut buffer = vec![0; 1 << 20];
            while left > 0 {
                let count = peer.socket.read(&mut buffer).await.unwrap();
                assert!(count > 0 && buffer[..count].iter().all(|byte| *byte == 7));
                left -= count;
            }
            peer.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let world = world(&[address], |_| {});
    let mut body = world.call(get("/jira/anon/x")).await.into_body();
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.len() <= 128 << 10, "a piece of {} bytes", data.len());
        count += data.len();
    }
    assert_eq!(count, LENGTH);
    let (body, _) = pieces(LENGTH as u64 / (64 << 10));
    let request = Request::post("/jira/anon/x").header("content-length", LENGTH).body(body).unwrap();
    assert_eq!(read(world.call(request).await).await.status, 201);
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_upstream() {
    let written = Arc::<AtomicU64>::default();
    let counter = Arc::clone(&written);
    let (address, _) = upstream(move |mut peer, _| {
        let counter = Arc::clone(&counter);
        async move {
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n").await;
            let piece = vec![7; 16 << 10];
            while let Ok(count) = peer.socket.write(&piece).await {
                counter.fetch_add(count as u64, Ordering::SeqCst);
            }
        }
    })
    .await;
    let world = world(&[address], |_| {});
    let mut response = world.call(get("/jira/anon/x")).await;
    response.body_mut().frame().await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let first = written.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    // What lies in the kernel's own buffers, and no more.
    assert_eq!(written.load(Ordering::SeqCst), first);
    assert!(first < 16 << 20, "{first} bytes were taken ahead of the reader");
}

#[tokio::test]
async fn an_upstream_that_stops_reading_stops_the_caller() {
    let (address, _) = upstream(|mut peer, _| async move {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let world = world(&[address], |_| {});
    let (body, taken) = pieces(1600);
    let request = Request::post("/jira/anon/x").body(body).unwrap();
    let watch = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let first = taken.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(taken.load(Ordering::SeqCst), first);
        assert!(first < 256, "{first} pieces were taken ahead of the upstream");
    };
    let (answer, ()) = tokio::join!(world.call(request), watch);
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn an_early_answer_passes_while_the_body_is_still_being_sent() {
    let (address, seen) = upstream(|mut peer, _| async move {
        peer.take(64 << 10).await;
        peer.send("HTTP/1.1 413 Too Big\r\nConnection: close\r\nContent-Length: 7\r\n\r\ntoo big").await;
        // Closed with bytes unread: the kernel sends a reset.
    })
    .await;
    for _ in 0..20 {
        let world = world(&[address], |_| {});
        let (body, taken) = pieces(1600);
        let request = Request::post("/jira/anon/x").header("content-length", 1600 * (64 << 10)).body(body);
        let answer = read(world.call(request.unwrap()).await).await;
        assert_eq!((answer.status, &answer.body[..]), (413, &b"too big"[..]));
        assert!(!answer.headers.contains_key("outhaul-problem"), "the upstream's own answer");
        assert!(taken.load(Ordering::SeqCst) < 1600);
        assert_eq!(world.upstream.idle_connections(), 0);
    }
    assert_eq!(seen.requests(), 20);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_or_while_it_is_sent() {
    let (tell, mut told) = tokio::sync::mpsc::channel(4);
    let (address, seen) = upstream(move |mut peer, _| {
        let tell = tell.clone();
        async move { tell.send(peer.is_closed().await).await.unwrap() }
    })
    .await;
    let world = world(&[address], |wish| wish.config.max_request_body = ByteSize::kib(64));
    let declared = world.post("/jira/small/x", "eleven byte").await;
    assert_eq!((declared.status, declared.problem()), (413, problem("body-too-large", "not-sent", "never")));
    assert_eq!(seen.connections(), 0);
    let (body, _) = pieces(2);
    let request = Request::post("/jira/anon/x").body(body).unwrap();
    let streamed = read(world.call(request).await).await;
    assert_eq!(
        (streamed.status, streamed.problem()),
        (413, problem("body-too-large", "outcome-unknown", "never"))
    );
    assert_eq!((seen.requests(), told.recv().await), (1, Some(true)));
}

#[tokio::test]
async fn a_body_that_lies_about_its_length_or_stops_is_not_finished_for_the_caller() {
    let (address, _) = upstream(|mut peer, _| async move {
        peer.is_closed().await;
    })
    .await;
    let world = world(&[address], |wish| wish.config.idle_timeout = Duration::from_millis(300));
    let post = |length: u64| Request::post("/jira/anon/x").header("content-length", length);
    let short = read(world.call(post(10).body(Full::from("short")).unwrap()).await).await;
    assert_eq!(short.problem(), problem("bad-request", "outcome-unknown", "never"));
    let long = read(world.call(post(3).body(Full::from("longer")).unwrap()).await).await;
    assert_eq!(long.problem(), problem("bad-request", "outcome-unknown", "never"));
    let broken: Vec<Piece> = vec![Ok(Frame::data(Bytes::from_static(b"x"))), Err("gone".into())];
    let broken = StreamBody::new(futures_util::stream::iter(broken));
    let broken = read(world.call(post(9).body(broken).unwrap()).await).await;
    assert_eq!(broken.problem(), problem("bad-request", "outcome-unknown", "never"));
    let silent = StreamBody::new(futures_util::stream::pending::<Piece>());
    let silent = read(world.call(post(9).body(silent).unwrap()).await).await;
    assert_eq!(
        (silent.status, silent.problem()),
        (408, problem("caller-too-slow", "outcome-unknown", "never"))
    );
}

#[tokio::test]
async fn interim_answers_stop_at_the_agent() {
    let (address, _) = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let world = world(&[address], |_| {});
    let answer = world.get("/jira/anon/x").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"ok"[..]));
    assert!(!answer.headers.contains_key("link"));
}
