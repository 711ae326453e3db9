//! The whole way with real processes, byte for byte from a caller's socket: each spelling of a path, and calls with a key
//! whose caller hangs up.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::path_vectors::{Fate, spellings};
use crate::support::eventually;
use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

/// Opens sockets to the relay's port.
struct Door {
    tls: TlsConnector,
    port: u16,
    key: String,
}

impl Door {
    fn to(site: &Running) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let file = &site.world.authority.file;
        roots.add(rustls_pki_types::CertificateDer::from_pem_file(file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { tls: Arc::new(config).into(), port: site.world.port, key: site.key.clone() }
    }

    async fn open(&self) -> TlsStream<TcpStream> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        self.tls.connect(ServerName::try_from(host()).unwrap(), socket).await.unwrap()
    }

    /// A head with these first words, and these further lines.
    fn head(&self, first: &str, lines: &str) -> Vec<u8> {
        let (host, port, key) = (host(), self.port, &self.key);
        format!("{first} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n{lines}\r\n")
            .into_bytes()
    }

    /// GET; all that comes back.
    async fn get(&self, target: &str) -> String {
        let mut socket = self.open().await;
        socket.write_all(&self.head(&format!("GET {target}"), "Connection: close\r\n")).await.unwrap();
        let mut answer = Vec::new();
        // What is no HTTP may be hung up on.
        let _ = socket.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn spellings_from_the_callers_socket_to_the_upstreams() {
    let upstream = Upstream::start().await;
    let world = World::new(&upstream.url());
    world.edit_agent("allow = \"GET /rest/api/2/**\"", "accept-relay-trust = true\nallow = \"GET /**\"");
    let site = Running::start(world).await;
    let door = Door::to(&site);
    let mut passed = Vec::new();
    for spelling in spellings() {
        let (line, raw) = (spelling.line, &spelling.raw);
        // A ? begins the query. A # and what follows is cut off where the request is parsed, before anything decides;
        // this upstream has a page of its own under /status.
        if raw.contains(['?', '#']) || raw.ends_with("/status") {
            continue;
        }
        let target = if raw.starts_with('/') { format!("/jira{raw}") } else { raw.clone() };
        let answer = door.get(&target).await;
        match spelling.fate {
            Fate::Allowed { sent, segments } => {
                assert!(answer.starts_with("HTTP/1.1 200 "), "{line}: {answer}");
                assert!(!segments.is_empty(), "{line}");
                passed.push(sent);
            }
            Fate::Refused(_) => {
                let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
                assert!(refused, "{line}: {answer}");
            }
        }
    }
    let seen: Vec<String> =
        upstream.seen().iter().map(|call| call["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(seen, passed);
}

#[tokio::test]
async fn a_caller_that_hangs_up_and_comes_back_has_called_once() {
    let upstream = Upstream::start().await;
    let site = Running::start(World::new(&upstream.url())).await;
    let door = Door::to(&site);
    let path = "/jira/rest/api/2/issue/TEST-1/comment?sleep=500";
    let comment = json!({"body": "hello"}).to_string();
    let lines = format!(
        "Idempotency-Key: \"c-1\"\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        comment.len()
    );
    let mut socket = door.open().await;
    let request = [door.head(&format!("POST {path}"), &lines), comment.clone().into_bytes()].concat();
    socket.write_all(&request).await.unwrap();
    eventually("the upstream has it", Duration::from_secs(10), async || upstream.seen().len() == 1).await;
    drop(socket);

    let call = async |key: &str, body: &str| {
        let request = Request::builder().method(Method::POST).uri(path).header("idempotency-key", key);
        let request = request.header("content-type", "application/json").body(body.to_owned().into());
        site.client.call(&host(), request.unwrap()).await.unwrap()
    };
    let mut answer = None;
    eventually("the answer is there", Duration::from_secs(10), async || {
        let again = call("c-1", &comment).await;
        assert!(again.problem().is_none_or(|code| code == "idempotency-in-flight"), "{again:?}");
        let there = again.status == 200;
        answer = Some(again);
        there
    })
    .await;
    let answer = answer.unwrap();
    assert_eq!(answer.headers["outhaul-replayed"], "true");
    assert_eq!(answer.headers["x-ausername"], "reader");
    assert_eq!(answer.json()["body"], comment);
    assert_eq!(call("c-1", "{}").await.problem(), Some("idempotency-mismatch"));
    assert_eq!(upstream.seen().len(), 1);
    assert!(upstream.seen()[0]["headers"].get("idempotency-key").is_none());

    let status = site.world.status().await;
    assert_eq!(status["idempotency"]["keys"], 1);
    assert!(status["idempotency"]["answer_bytes"].as_u64().unwrap() > 100);
    let fresh = call("c-2", &comment).await;
    assert!(fresh.status == 200 && !fresh.headers.contains_key("outhaul-replayed"));
    assert_eq!(upstream.seen().len(), 2);
}
