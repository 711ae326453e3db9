use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::net::tls::{Certificates, http1_server_config};

/// A server that reads one request a connection, keeps it, and answers what it was told, byte for byte.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    tasks: Tasks,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Server {
    async fn start(answer: &'static [u8], tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, issued.cert.pem()).unwrap();
        std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
        let config = http1_server_config(Certificates::load(&certificate, &key).unwrap()).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (asked, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (port, tasks) = (listener.local_addr().unwrap().port(), Tasks::new());
        let server = Self { port, asked: asked.clone(), connections: connections.clone(), tasks, folder };
        let each = server.tasks.clone();
        let accepting = async move {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = each.cancelled() => return,
                };
                connections.fetch_add(1, Ordering::SeqCst);
                let (asked, acceptor) = (asked.clone(), TlsAcceptor::from(config.clone()));
                each.spawn_detached(async move {
                    if !tls {
                        return one(stream, answer, &asked).await;
                    }
                    if let Ok(stream) = acceptor.accept(stream).await {
                        one(stream, answer, &asked).await;
                    }
                });
            }
        };
        server.tasks.spawn_detached(accepting);
        server
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    fn client(&self, way: Way) -> HttpClient {
        HttpClient::new(way, Some(&self.folder.path().join("ca.pem"))).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers once a whole request is there; then waits for the other end to close.
async fn one<S: Stream>(mut stream: S, answer: &[u8], asked: &Mutex<Vec<String>>) {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_ascii_lowercase();
            let length = length
                .split("content-length: ")
                .nth(1)
                .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
            if body.len() >= length {
                asked.lock().unwrap().push(text);
                break;
            }
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    if !answer.is_empty() && stream.write_all(answer).await.is_ok() {
        drop(stream.shutdown().await);
    }
    drop(stream.read_to_end(&mut read).await);
}

const BOUNDS: Bounds = Bounds { answer: ByteSize(64), within: Duration::from_secs(20) };

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

fn told(fault: &AskFault) -> String {
    Report::from_error(Exit::Protocol, fault).to_string()
}

#[tokio::test]
async fn a_question_goes_out_whole_and_its_answer_comes_back_as_it_is() {
    let answer =
        b"HTTP/1.1 302 Found\r\nLocation: https://localhost/elsewhere\r\nContent-Length: 5\r\n\r\nhello";
    let server = Server::start(answer, true).await;
    let request = Request::post(server.url("/keys?of=me"))
        .header("host", "another.example")
        .header("accept-encoding", "gzip")
        .header("content-length", "1")
        .header("x-own", "yes")
        .body(Bytes::from_static(b"question"))
        .unwrap();
    let answer = server.client(Way::Direct).ask(request, BOUNDS).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().as_ref()), (302, b"hello".as_slice()));
    assert_eq!(answer.headers()["location"], "https://localhost/elsewhere");
    let asked = server.asked().remove(0);
    assert!(asked.starts_with("POST /keys?of=me HTTP/1.1\r\n"), "{asked}");
    for field in [
        format!("host: localhost:{}", server.port),
        "x-own: yes".to_owned(),
        "connection: close".to_owned(),
        "accept-encoding: identity".to_owned(),
        "content-length: 8".to_owned(),
        "user-agent: outhaul-agent/".to_owned(),
    ] {
        assert_eq!(asked.matches(&field).count(), 1, "{field} in {asked}");
    }
    assert!(asked.ends_with("\r\n\r\nquestion") && !asked.contains("another.example"), "{asked}");
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "a redirect is not followed");
}

#[tokio::test]
async fn an_answer_without_a_length_is_read_to_its_end() {
    for answer in [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".as_slice(),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nabcde",
    ] {
        let server = Server::start(answer, true).await;
        let answer = server.client(Way::Direct).ask(get(&server.url("")), BOUNDS).await.unwrap();
        assert_eq!(answer.body().as_ref(), b"abcde");
    }
}

#[tokio::test]
async fn an_answer_that_is_none_or_too_much_is_refused_and_told() {
    for (answer, says) in [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n".as_slice(), "more than 64 B"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n\
              00000000000000000000000000000000000000000000000000000000000000000\r\n0\r\n\r\n",
            "more than 64 B",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "broke its answer off"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab", "coding “gzip”"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "does not speak HTTP/1.1"),
    ] {
        let server = Server::start(answer, true).await;
        let fault = server.client(Way::Direct).ask(get(&server.url("/")), BOUNDS).await.unwrap_err();
        assert!(told(&fault).contains(says) && !fault.not_sent(), "{}\n  should say: {says}", told(&fault));
    }
    let mut endless = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    endless.resize(200_000, b'x');
    let server = Server::start(endless.leak(), true).await;
    let fault = server.client(Way::Direct).ask(get(&server.url("/")), BOUNDS).await.unwrap_err();
    assert!(matches!(fault, AskFault::Broken { .. }), "{fault}");
}

#[tokio::test]
async fn whoever_never_answers_is_left() {
    let server = Server::start(b"", true).await;
    let bounds = Bounds { within: Duration::from_millis(300), ..BOUNDS };
    let fault = server.client(Way::Direct).ask(get(&server.url("/")), bounds).await.unwrap_err();
    assert!(matches!(fault, AskFault::TooSlow { .. }) && !fault.not_sent(), "{fault}");
}

#[tokio::test]
async fn a_stranger_hears_nothing_and_the_clear_is_spoken_only_at_home() {
    let server = Server::start(b"HTTP/1.1 200 OK\r\n\r\n", true).await;
    let stranger = Server::start(b"", true).await;
    let fault = stranger.client(Way::Direct).ask(get(&server.url("/")), BOUNDS).await.unwrap_err();
    assert!(fault.not_sent() && told(&fault).contains("name its certificate as ca-file"), "{}", told(&fault));
    assert_eq!(server.asked(), [""; 0]);

    let clear = Server::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false).await;
    let url = format!("http://127.0.0.1:{}/", clear.port);
    let client = clear.client(Way::Direct);
    let fault = client.ask(get(&url), BOUNDS).await.unwrap_err();
    assert!(fault.not_sent() && fault.to_string().contains("must begin with https://"), "{fault}");
    assert_eq!(clear.connections.load(Ordering::SeqCst), 0);
    let answer = client.allow_loopback_http().ask(get(&url), BOUNDS).await.unwrap();
    assert_eq!(answer.body().as_ref(), b"hi");
}

/// A proxy that connects each CONNECT to `port` here, whatever host it names.
async fn proxy(port: u16, tasks: &Tasks) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (own, asked) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let noted = asked.clone();
    tasks.spawn_detached(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(near.read_u8().await.unwrap());
        }
        noted.lock().unwrap().push(String::from_utf8(head).unwrap());
        near.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
        let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
    });
    (own, asked)
}

#[tokio::test]
async fn a_proxy_connects_and_reads_nothing() {
    let server = Server::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true).await;
    let (port, asked) = proxy(server.port, &server.tasks).await;
    let address = Target { host: "127.0.0.1".to_owned(), port };
    let client = server.client(Way::Proxy(Proxy::new(address)));
    assert_eq!(client.ask(get(&server.url("/a")), BOUNDS).await.unwrap().body().as_ref(), b"hi");
    let asked = asked.lock().unwrap().remove(0);
    assert!(asked.starts_with(&format!("CONNECT localhost:{} ", server.port)), "{asked}");
}

/// Leads every host to one port here, or nowhere.
struct Elsewhere(Option<u16>);

impl Opener for Elsewhere {
    fn open<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Box<dyn Stream>, OpenFault>> {
        Box::pin(async move {
            let Some(port) = self.0 else {
                return Err(OpenFault::Closed(format!("{target} is not on the list: ask whoever keeps it")));
            };
            Ok(Box::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()) as Box<dyn Stream>)
        })
    }
}

#[tokio::test]
async fn another_way_carries_tls_to_the_host_that_was_named() {
    let server = Server::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true).await;
    let client = server.client(Way::Through(Arc::new(Elsewhere(Some(server.port)))));
    assert_eq!(client.ask(get("https://localhost/"), BOUNDS).await.unwrap().body().as_ref(), b"hi");
    // Whoever carries it can't put another host in its place.
    let fault = client.ask(get("https://login.example.com/"), BOUNDS).await.unwrap_err();
    assert!(told(&fault).contains("for another host name") && fault.not_sent(), "{}", told(&fault));
    let client = server.client(Way::Through(Arc::new(Elsewhere(None))));
    let fault = client.ask(get("https://localhost/"), BOUNDS).await.unwrap_err();
    assert_eq!(fault.to_string(), "localhost:443 is not on the list: ask whoever keeps it");
}
