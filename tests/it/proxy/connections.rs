//! Kept connections, nodes, faults, and calls that nobody waits for any more.

use http_body_util::{Empty, StreamBody};
use outhaul::agent::upstream::Health;
use tokio::sync::mpsc;

use super::*;
use crate::support::eventually;
use crate::support::pki::Authority;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_connection_is_kept_and_reused_but_not_for_long() {
    let (address, seen) = answering(OK).await;
    let clock = Clock::manual();
    let moved = clock.clone();
    let world = world(&[address], |wish| wish.clock = moved);
    for (wait, method, connections) in [
        (0, "GET", 1),
        (0, "GET", 1),
        (4, "POST", 1),
        (6, "GET", 1),
        (6, "POST", 2),
        (4, "POST", 2),
        (16, "GET", 3),
    ] {
        clock.advance(Duration::from_secs(wait));
        let request = Request::builder().method(method).uri("/jira/anon/x");
        let answer = read(world.call(request.body(Empty::<Bytes>::new()).unwrap()).await).await;
        assert_eq!(answer.status, 200);
        assert_eq!(seen.connections(), connections, "{method} after {wait} s");
    }
}

#[tokio::test]
async fn what_says_close_is_not_kept() {
    for text in [
        "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let (address, seen) = answering(text).await;
        let world = world(&[address], |_| {});
        for connections in 1..4 {
            assert_eq!(&world.get("/jira/anon/x").await.body[..], b"ok");
            assert_eq!((seen.connections(), world.upstream.idle_connections()), (connections, 0));
        }
    }
}

/// Answers the first request of a connection; the second it reads, and then it closes without a byte.
async fn stale() -> (SocketAddr, Arc<Seen>) {
    upstream(|mut peer, _| async move {
        peer.send(OK).await;
        peer.head().await;
    })
    .await
}

#[tokio::test]
async fn a_get_sees_a_stale_connection_through() {
    let (address, seen) = stale().await;
    let world = world(&[address], |_| {});
    for _ in 0..5 {
        assert_eq!(world.get("/jira/anon/x").await.status, 200);
    }
    // Four were sent twice.
    assert_eq!((seen.connections(), seen.requests()), (5, 9));
}

#[tokio::test]
async fn a_write_is_never_sent_twice() {
    let (address, seen) = stale().await;
    let world = world(&[address], |_| {});
    assert_eq!(world.post("/jira/anon/x", "1").await.status, 200);
    let lost = world.post("/jira/anon/x", "2").await;
    assert_eq!((lost.status, lost.problem()), (502, problem("upstream-broke", "outcome-unknown", "never")));
    assert_eq!(seen.requests(), 2);
    for method in ["POST", "PUT", "DELETE"] {
        let (address, seen) = upstream(|_, _| async {}).await;
        let world = super::world(&[address], |_| {});
        let request = Request::builder().method(method).uri("/jira/anon/x");
        let lost = read(world.call(request.body(Empty::<Bytes>::new()).unwrap()).await).await;
        assert_eq!(lost.problem(), problem("upstream-broke", "outcome-unknown", "never"), "{method}");
        assert_eq!(seen.requests(), 1, "{method}");
    }
    // On a fresh connection a read is not repeated either, but its caller may.
    let (address, seen) = upstream(|_, _| async {}).await;
    let world = super::world(&[address], |_| {});
    let lost = world.get("/jira/anon/x").await;
    assert_eq!(lost.problem(), problem("upstream-broke", "outcome-unknown", "safe"));
    assert_eq!(seen.requests(), 1);
}

#[tokio::test]
async fn an_answer_that_broke_off_in_its_head_is_not_asked_for_again() {
    let (address, seen) = upstream(|mut peer, _| async move {
        peer.send(OK).await;
        peer.head().await;
        peer.send("HTTP/1.1 200 O").await;
    })
    .await;
    let world = world(&[address], |_| {});
    assert_eq!(world.get("/jira/anon/x").await.status, 200);
    assert_eq!(world.get("/jira/anon/x").await.code(), "upstream-broke");
    assert_eq!(seen.requests(), 2);
}

#[tokio::test]
async fn no_connection_means_not_sent_and_another_node_takes_over() {
    let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let alone = world(&[nowhere], |_| {});
    let refused = alone.post("/jira/anon/x", "1").await;
    assert_eq!(
        (refused.status, refused.problem()),
        (502, problem("upstream-unreachable", "not-sent", "safe"))
    );
    assert_eq!(alone.upstream.health(), Health::Down);
    assert!(alone.upstream.nodes()[0].detail.is_some());

    let (address, seen) = answering(OK).await;
    let world = world(&[nowhere, address, nowhere], |_| {});
    for _ in 0..6 {
        assert_eq!(world.post("/jira/anon/x", "1").await.status, 200);
    }
    assert_eq!(seen.requests(), 6);
}

#[tokio::test]
async fn calls_go_round_the_nodes_that_say_they_run() {
    let (one, first) = answering(OK).await;
    let (two, second) = answering(OK).await;
    // It serves calls, but its state is not RUNNING.
    let starting = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let third = starting.local_addr().unwrap();
    Tasks::new().spawn_detached(async move {
        while let Ok((mut socket, _)) = starting.accept().await {
            let text =
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\n{\"state\":\"STARTING\"}";
            let _ = socket.read(&mut [0; 4096]).await;
            let _ = socket.write_all(text.as_bytes()).await;
        }
    });
    let world = world(&[one, third, two], |_| {});
    eventually("the third is down", SOON, async || world.upstream.nodes()[1].health == Health::Down).await;
    assert!(world.upstream.nodes()[1].detail.as_ref().unwrap().contains("STARTING"));
    for _ in 0..9 {
        assert_eq!(&world.get("/jira/anon/x").await.body[..], b"ok");
    }
    assert!(first.requests() >= 3 && second.requests() >= 3);

    let sticky = super::world(&[one, two], |wish| wish.config.affinity_cookie = Some("ROUTE".to_owned()));
    let before = (first.requests(), second.requests());
    for _ in 0..8 {
        assert_eq!(sticky.get("/jira/anon/x").await.status, 200);
    }
    let after = (first.requests() - before.0, second.requests() - before.1);
    assert!(after == (8, 0) || after == (0, 8), "{after:?}");
}

#[tokio::test]
async fn what_is_no_http_answer_does_not_pass() {
    for text in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 700 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    ] {
        let (address, _) = answering(text).await;
        let world = world(&[address], |_| {});
        let answer = world.get("/jira/anon/x").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream-answer"), "{text}");
    }
    let (address, _) = upstream(|mut peer, _| async move {
        let line = format!("X-Long: {}\r\n", "x".repeat(8000));
        peer.send(&format!("HTTP/1.1 200 OK\r\n{}\r\n", line.repeat(12))).await;
        peer.is_closed().await;
    })
    .await;
    let world = world(&[address], |_| {});
    assert_eq!(world.get("/jira/anon/x").await.code(), "upstream-answer");
}

#[tokio::test]
async fn https_upstreams_are_checked_against_their_authority() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (chain, key) = authority.issue("jira", &["localhost"]);
    let certificates = outhaul::net::tls::Certificates::load(&chain, &key).unwrap();
    let mut config = outhaul::net::tls::server_config(certificates).unwrap();
    Arc::get_mut(&mut config).unwrap().alpn_protocols = vec![b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    Tasks::new().spawn_detached(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let _ = socket.read(&mut [0; 4096]).await;
            let text = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
            let _ = socket.write_all(text.as_bytes()).await;
            let _ = socket.shutdown().await;
        }
    });
    let node = |host: &str| vec![format!("https://{host}:{port}").parse().unwrap()];
    let trusting = world(&[], |wish| {
        wish.config.nodes = node("localhost");
        wish.config.ca_file = Some(authority.file.clone());
    });
    assert_eq!(trusting.get("/jira/anon/x").await.status, 200);
    let wrong_name = world(&[], |wish| {
        wish.config.nodes = node("127.0.0.1");
        wish.config.ca_file = Some(authority.file.clone());
    });
    let refused = wrong_name.post("/jira/anon/x", "1").await;
    assert_eq!(refused.problem(), problem("upstream-unreachable", "not-sent", "never"));
}

#[tokio::test]
async fn more_calls_than_connections_wait_and_then_hear_so() {
    let (address, seen) = upstream(|mut peer, _| async move {
        tokio::time::sleep(Duration::from_millis(800)).await;
        peer.send(OK).await;
        peer.head().await;
    })
    .await;
    let world = world(&[address], |wish| {
        wish.config.max_connections = 1;
        wish.config.connect_timeout = Duration::from_millis(300);
    });
    let (first, second) = tokio::join!(world.get("/jira/anon/x"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.post("/jira/anon/x", "1").await
    });
    assert_eq!(first.status, 200);
    assert_eq!((second.status, second.problem()), (503, problem("site-busy", "not-sent", "after")));
    assert_eq!(seen.requests(), 1);
}

#[tokio::test]
async fn a_slow_upstream_is_given_up_with_the_outcome_open() {
    let (address, seen) = upstream(|mut peer, _| async move {
        peer.is_closed().await;
    })
    .await;
    let world = world(&[address], |wish| wish.config.first_byte_timeout = Duration::from_millis(300));
    let read = world.get("/jira/anon/x").await;
    assert_eq!((read.status, read.problem()), (504, problem("upstream-too-slow", "outcome-unknown", "safe")));
    let write = world.post("/jira/anon/x", "1").await;
    assert_eq!(write.problem(), problem("upstream-too-slow", "outcome-unknown", "never"));
    assert_eq!(seen.requests(), 2);
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_is_cancelled_at_the_upstream() {
    let (tell, mut told) = mpsc::channel(4);
    let (address, _) = upstream(move |mut peer, _| {
        let tell = tell.clone();
        async move {
            if peer.number == 1 {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin").await;
            }
            tell.send("called").await.unwrap();
            tell.send(if peer.is_closed().await { "closed" } else { "open" }).await.unwrap();
        }
    })
    .await;
    let world = world(&[address], |_| {});
    // Before the head,
    tokio::select! {
        _ = world.get("/jira/anon/x") => panic!("there is no answer"),
        said = told.recv() => assert_eq!(said, Some("called")),
    }
    assert_eq!(told.recv().await, Some("closed"));
    // and in the body.
    let answer = world.call(get("/jira/anon/x")).await;
    assert_eq!((answer.status(), told.recv().await), (http::StatusCode::OK, Some("called")));
    drop(answer);
    assert_eq!(told.recv().await, Some("closed"));
}

#[tokio::test]
async fn a_write_that_was_sent_whole_is_read_to_its_end() {
    let (tell, mut told) = mpsc::channel(4);
    let (address, seen) = upstream(move |mut peer, _| {
        let tell = tell.clone();
        async move {
            peer.take(1).await;
            tell.send("called").await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
            peer.send(OK).await;
            // The connection went on living, and serves the next call.
            peer.head().await.unwrap();
            tell.send("again").await.unwrap();
            peer.send(OK).await;
            peer.is_closed().await;
        }
    })
    .await;
    let world = world(&[address], |_| {});
    tokio::select! {
        _ = world.post("/jira/anon/x", "1") => panic!("there is no answer"),
        said = told.recv() => assert_eq!(said, Some("called")),
    }
    eventually("it is handed back", SOON, async || world.upstream.idle_connections() == 1).await;
    assert_eq!(world.get("/jira/anon/x").await.status, 200);
    assert_eq!(told.recv().await, Some("again"));
    assert_eq!(seen.connections(), 1);
}

#[tokio::test]
async fn a_write_that_was_half_sent_is_cancelled() {
    let (tell, mut told) = mpsc::channel(4);
    let (address, _) = upstream(move |mut peer, _| {
        let tell = tell.clone();
        async move {
            tell.send(true).await.unwrap();
            tell.send(peer.is_closed().await).await.unwrap();
        }
    })
    .await;
    let world = world(&[address], |_| {});
    let endless =
        StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<Bytes>, BoxError>>());
    let request = Request::post("/jira/anon/x").header("content-length", 9).body(endless).unwrap();
    tokio::select! {
        _ = world.call(request) => panic!("there is no answer"),
        said = told.recv() => assert_eq!(said, Some(true)),
    }
    assert_eq!(told.recv().await, Some(true));
}
