//! Dialling, proxies, TLS and WebSockets over real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outhaul::common::report::{Exit, Report};
use outhaul::common::secret::Secret;
use outhaul::common::tasks::Tasks;
use outhaul::net::dial::{Credentials, Proxy, Purpose, Scheme, Target, dial};
use outhaul::net::reload::keep_certificate;
use outhaul::net::tls::{Certificates, Peer, client_config, connect, server_config};
use outhaul::net::websocket;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::eventually;
use crate::support::pki::Authority;

const PATIENCE: Duration = Duration::from_secs(10);

fn at(address: SocketAddr) -> Target {
    Target { host: address.ip().to_string(), port: address.port() }
}

/// Listens, and gives each connection to `serve`.
async fn listen<F>(
    tasks: &Tasks,
    address: &str,
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    let bound = listener.local_addr().unwrap();
    let group = tasks.clone();
    tasks.spawn_detached(async move {
        while let Ok((stream, _)) = listener.accept().await {
            group.spawn_detached(serve(stream));
        }
    });
    bound
}

async fn echo(tasks: &Tasks, address: &str) -> SocketAddr {
    listen(tasks, address, |mut stream| async move {
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

async fn echoes(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
}

async fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn both_families_are_dialled_and_a_dead_address_does_not_matter() {
    let tasks = Tasks::new();
    let four = echo(&tasks, "127.0.0.1:0").await;
    echoes(dial(&at(four), None, Purpose::Tunnel, PATIENCE).await.unwrap()).await;
    // Only 127.0.0.1 listens there: where localhost is ::1 too, that address is dead.
    let name = Target { host: "localhost".to_owned(), port: four.port() };
    echoes(dial(&name, None, Purpose::Calls, PATIENCE).await.unwrap()).await;
    if TcpListener::bind("[::1]:0").await.is_ok() {
        let six = echo(&tasks, "[::1]:0").await;
        echoes(dial(&at(six), None, Purpose::Calls, PATIENCE).await.unwrap()).await;
    }
}

#[tokio::test]
async fn nobody_there_and_no_such_name_say_what_to_do() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fault = dial(&at(closed), None, Purpose::Calls, PATIENCE).await.unwrap_err();
    let text = Report::from_error(Exit::Unavailable, &fault).to_string();
    assert!(text.contains("can't be reached") && text.contains("refused"), "{text}");
    let name = Target { host: "no-such-name.invalid".to_owned(), port: 443 };
    let fault = dial(&name, None, Purpose::Calls, PATIENCE).await.unwrap_err();
    assert!(fault.to_string().contains("no-such-name.invalid can't be resolved"), "{fault}");
}

#[tokio::test]
async fn through_a_proxy_with_and_without_login() {
    let tasks = Tasks::new();
    let origin = echo(&tasks, "127.0.0.1:0").await;
    let proxy = listen(&tasks, "127.0.0.1:0", move |mut stream| async move {
        let head = head_of(&mut stream).await;
        assert!(head.starts_with(&format!("CONNECT {origin} HTTP/1.1\r\n")), "{head}");
        if !head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n") {
            let refusal =
                b"HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 2\r\n\r\nno";
            stream.write_all(refusal).await.unwrap();
            return;
        }
        let mut behind = TcpStream::connect(origin).await.unwrap();
        // What the origin says first comes in one packet with the proxy's own head.
        stream.write_all(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello ").await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
    })
    .await;
    let with = |credentials: Option<&str>| Proxy {
        login: credentials.map(|text| Credentials::new(Scheme::Basic, Secret::new(text.to_owned()))),
        ..Proxy::new(at(proxy))
    };
    let mut stream =
        dial(&at(origin), Some(&with(Some("user:pass"))), Purpose::Tunnel, PATIENCE).await.unwrap();
    let mut first = [0; 6];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"hello ", "bytes behind the proxy's head are not lost");
    echoes(stream).await;
    for (credentials, says) in
        [(None, "set proxy-credentials"), (Some("user:wrong"), "does not accept the user name and password")]
    {
        let fault = dial(&at(origin), Some(&with(credentials)), Purpose::Tunnel, PATIENCE).await.unwrap_err();
        let text = Report::from_error(Exit::Unavailable, &fault).to_string();
        assert!(text.contains(&format!("the proxy {proxy}")) && text.contains(says), "{text}");
        assert!(!text.contains("wrong") && !text.contains("pass:"), "no secret: {text}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_slow_dead_or_none_is_named() {
    let tasks = Tasks::new();
    let within = Duration::from_millis(300);
    let silent = listen(&tasks, "127.0.0.1:0", |stream| async move {
        tokio::time::sleep(PATIENCE).await;
        drop(stream);
    })
    .await;
    let dripping = listen(&tasks, "127.0.0.1:0", |mut stream| async move {
        for byte in b"HTTP/1.1 200 OK".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    })
    .await;
    let garbage = listen(&tasks, "127.0.0.1:0", |mut stream| async move {
        let _ = stream.write_all(&[0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x0a]).await;
    })
    .await;
    let endless = listen(&tasks, "127.0.0.1:0", |mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n").await.is_ok() {}
    })
    .await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target { host: "relay.example".to_owned(), port: 443 };
    for (proxy, says) in [
        (silent, "did not answer CONNECT to"),
        (dripping, "did not answer CONNECT to"),
        (garbage, "does not answer as an HTTP proxy"),
        (endless, "sent a head of more than"),
        (closed, "can't be reached: check `proxy`"),
    ] {
        let way = Proxy::new(at(proxy));
        let fault = dial(&target, Some(&way), Purpose::Tunnel, within).await.unwrap_err();
        let text = Report::from_error(Exit::Unavailable, &fault).to_string();
        assert!(text.contains(&format!("the proxy {proxy}")) && text.contains(says), "{text}\n  not: {says}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_live_on() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (chain, key) = authority.issue("relay", &["localhost"]);
    let certificates = Certificates::load(&chain, &key).unwrap();
    let tasks = Tasks::new();
    let poll = Duration::from_secs(600);
    keep_certificate(Arc::clone(&certificates), chain.clone(), key.clone(), poll, &tasks);
    let acceptor = TlsAcceptor::from(server_config(certificates).unwrap());
    let address = listen(&tasks, "127.0.0.1:0", move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let (mut read, mut write) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        }
    })
    .await;
    let client = client_config(Peer::Relay, Some(&authority.file)).unwrap();
    let open = async || {
        let stream = dial(&at(address), None, Purpose::Tunnel, PATIENCE).await.unwrap();
        connect(Arc::clone(&client), "localhost", stream, PATIENCE).await.unwrap()
    };
    let shown = |stream: &tokio_rustls::client::TlsStream<_>| -> CertificateDer<'static> {
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let mut old = open().await;
    let before = shown(&old);
    tokio::time::sleep(Duration::from_millis(200)).await;
    std::fs::write(&chain, "half a certifica").unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(shown(&open().await), before, "a bad new file changes nothing");
    authority.issue("relay", &["localhost"]);
    eventually("the new certificate", PATIENCE, async || shown(&open().await) != before).await;
    echoes(&mut old).await;
    tasks.cancel();
}

async fn opened(answer: &'static str) -> String {
    let (ours, mut theirs) = duplex(64 * 1024);
    theirs.write_all(answer.as_bytes()).await.unwrap();
    theirs.shutdown().await.unwrap();
    let fault = websocket::connect(ours, "relay.example", "", "test", PATIENCE).await.unwrap_err();
    Report::from_error(Exit::Unavailable, &fault).to_string()
}

#[tokio::test]
async fn an_answer_that_is_no_websocket_is_explained() {
    for (answer, says) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404 Not Found"),
        ("HTTP/1.1 404 Not Found\r\n\r\n", "check the relay's URL"),
        ("HTTP/1.1 403 Forbidden\r\nServer: Squid\x01\r\n\r\n", "relay.example"),
        (
            "HTTP/1.1 403 Forbidden\r\nServer: Squid\r\n\r\n",
            "server “Squid”): something before the relay forbids it",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\nVia: 1.1 gate\r\n\r\n<html>", "via “1.1 gate”"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html>login", "login page"),
        ("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", "leads elsewhere"),
        ("HTTP/1.1 503 No\r\nOuthaul-Problem: rate-limited\r\n\r\n", "problem “rate-limited”"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            "does not answer as an Outhaul relay",
        ),
        ("SSH-2.0-x\r\n\r\n", "does not answer as an Outhaul relay"),
        ("", "broke while the WebSocket was opened"),
    ] {
        let text = opened(answer).await;
        assert!(text.contains(says), "{text}\n  should say: {says}");
    }
    let (ours, _theirs) = duplex(64);
    let within = Duration::from_millis(50);
    let fault = websocket::connect(ours, "relay.example", "", "test", within).await.unwrap_err();
    assert!(fault.to_string().contains("did not answer the WebSocket request"), "{fault}");
}

#[tokio::test]
async fn only_an_agents_request_is_upgraded() {
    let request = |change: fn(&mut http::HeaderMap)| {
        let mut request = http::Request::get("/agent/v1").body(()).unwrap();
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-protocol", "chat, outhaul.v1"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        change(request.headers_mut());
        websocket::answer_upgrade(&request)
    };
    let response = request(|_| {}).unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(response.headers()["sec-websocket-protocol"], "outhaul.v1");
    let upgrade = request(|headers| drop(headers.remove("upgrade")));
    assert_eq!(upgrade.unwrap_err(), websocket::UpgradeFault::NotAnUpgrade);
    let protocol =
        request(|headers| drop(headers.insert("sec-websocket-protocol", "outhaul.v2".parse().unwrap())));
    assert_eq!(protocol.unwrap_err(), websocket::UpgradeFault::Subprotocol);
}
