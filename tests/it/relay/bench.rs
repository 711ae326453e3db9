//! A relay on loopback, and ways to call it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outhaul::common::tasks::Tasks;
use outhaul::net::local;
use outhaul::net::tls::{Peer, client_config};
use outhaul::relay::Relay;
use outhaul::relay::config::Config;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::client::{Answer, Client};
use crate::support::eventually;
use crate::support::pki::Authority;
use crate::support::process::text;

pub(crate) const ZONE: &str = "relay.localhost";
pub(crate) const HOST: &str = "acme.relay.localhost";

/// A running relay with the site `acme`.
pub(crate) struct Bench {
    pub(crate) config: Config,
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    operator: SocketAddr,
    relay: Option<Relay>,
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with("", "").await
    }

    /// With lines for `[limits]` and `[agents]`.
    pub(crate) async fn with(limits: &str, agents: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = text(folder.path()).to_owned();
        let authority = Authority::new(folder.path());
        let (chain, key) = authority.issue("relay", &[ZONE, &format!("*.{ZONE}")]);
        let file = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\ncertificate = \"{}\"\nprivate-key = \"{}\"\nzone = \"{ZONE}\"\n\
             [operator]\nlisten = \"127.0.0.1:0\"\n[admin]\nsocket = \"{at}/relay.sock\"\n\
             [state]\ndirectory = \"{at}/state\"\n[agents]\n{agents}\n[limits]\n{limits}\n",
            text(&chain),
            text(&key),
        );
        let config = Config::parse("relay.toml", &file).unwrap_or_else(|report| panic!("{report}"));
        let relay = Relay::start(&config).await.unwrap_or_else(|report| panic!("{report}"));
        let (address, operator) = (relay.addresses[0], relay.operator);
        let client = Client::new(&authority.file, address.port());
        let bench = Self { config, authority, address, client, operator, relay: Some(relay), folder };
        bench.admin("/sites", json!({"name": "acme"})).await;
        bench
    }

    /// An operator's command.
    pub(crate) async fn admin(&self, path: &str, body: Value) -> Value {
        let client = local::Client::new(&self.config.admin_socket, "outhaul-relay");
        client.post(path, &body).await.unwrap_or_else(|report| panic!("{path}: {report}"))
    }

    /// A fresh token.
    pub(crate) async fn token(&self, role: &str) -> String {
        let made = self.admin("/sites/acme/enrol", json!({"role": role, "valid_seconds": 3600})).await;
        made["token"].as_str().unwrap().to_owned()
    }

    /// All agents, as operators see them.
    pub(crate) async fn agents(&self) -> Value {
        let client = local::Client::new(&self.config.admin_socket, "outhaul-relay");
        client.get("/agents").await.unwrap()["agents"].clone()
    }

    /// Waits until so many tunnels are in.
    pub(crate) async fn tunnels(&self, count: usize) {
        eventually("tunnels", Duration::from_secs(5), async || {
            let agents = self.agents().await;
            let tunnels =
                agents.as_array().unwrap().iter().map(|agent| agent["tunnels"].as_array().unwrap().len());
            tunnels.sum::<usize>() == count
        })
        .await;
    }

    /// A page of the operator port.
    pub(crate) async fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.operator).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// One figure of `/metrics`.
    pub(crate) async fn figure(&self, name: &str) -> i64 {
        let page = self.page("/metrics").await;
        let line = page.lines().find(|line| line.split(' ').next() == Some(name));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Waits until nothing is open but so many tunnels' connections.
    pub(crate) async fn is_calm(&self, connections: i64) {
        let mut seen = String::new();
        let calm = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let now = (
                    self.figure("outhaul_ingress_connections").await,
                    self.figure("outhaul_ingress_calls_now").await,
                    self.figure("outhaul_registry_streams").await,
                    self.figure("outhaul_ingress_agent_handshakes_now").await,
                );
                seen = format!("{now:?}");
                if now == (connections, 0, 0, 0) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(calm.await.is_ok(), "(connections, calls, streams, handshakes) stay {seen}");
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client.get(HOST, path).await.unwrap()
    }

    /// A TLS connection of our own, to say on it what no client would.
    pub(crate) async fn tls(&self, host: &str, alpn: &[u8]) -> TlsStream<TcpStream> {
        let config = client_config(Peer::Upstream, Some(&self.authority.file)).unwrap();
        let mut config = (*config).clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        let socket = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await.unwrap()
    }

    /// Says something in HTTP/1.1 and reads until the relay closes, at most 10 s.
    pub(crate) async fn say(&self, request: &str) -> String {
        let mut stream = self.tls(HOST, b"http/1.1").await;
        // The relay may close while we still write.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
        let _ = read.await.expect("closed within 10 s");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// An HTTP/2 connection.
    pub(crate) async fn http2(&self) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
        let stream = self.tls(HOST, b"h2").await;
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.unwrap();
        Tasks::new().spawn_detached(connection);
        sender
    }

    /// Stops the relay and starts it again with the same state, on the same port.
    pub(crate) async fn restart(&mut self) {
        self.relay.take().unwrap().stop(Duration::from_secs(1)).await;
        self.config.server.listen = vec![self.address.to_string().parse().unwrap()];
        let relay = Relay::start(&self.config).await.unwrap_or_else(|report| panic!("{report}"));
        self.operator = relay.operator;
        self.relay = Some(relay);
    }

    /// Stops the relay.
    pub(crate) async fn stop(&mut self, grace: Duration) {
        self.relay.take().unwrap().stop(grace).await;
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// Sends over HTTP/2 and reads all.
pub(crate) async fn over_http2(
    sender: &mut hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, hyper::Error> {
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}
