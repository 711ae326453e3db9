//! A plain HTTPS client: one connection a call, to loopback whatever the name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use outhaul::common::tasks::Tasks;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;

/// An answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem document of ours, if it is one.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.headers.get("outhaul-problem").and_then(|code| code.to_str().ok())
    }
}

/// Trusts one authority; sends one caller's key.
#[derive(Clone)]
pub(crate) struct Client {
    tls: tokio_rustls::TlsConnector,
    port: u16,
    key: Option<String>,
}

impl Client {
    /// To a port on loopback.
    pub(crate) fn new(authority: &Path, port: u16) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { tls: Arc::new(config).into(), port, key: None }
    }

    /// The same with this key as bearer.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// GET.
    pub(crate) async fn get(&self, host: &str, path: &str) -> std::io::Result<Answer> {
        self.call(host, Request::get(path).body(Bytes::new()).unwrap()).await
    }

    /// Any method with a JSON body.
    pub(crate) async fn send(
        &self,
        method: Method,
        host: &str,
        path: &str,
        json: &serde_json::Value,
    ) -> std::io::Result<Answer> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.call(host, request.body(json.to_string().into()).unwrap()).await
    }

    /// Sends it to `host` (as SNI and `Host`), at most a minute.
    pub(crate) async fn call(&self, host: &str, request: Request<Bytes>) -> std::io::Result<Answer> {
        let whole = self.exchange(host, request);
        tokio::time::timeout(Duration::from_secs(60), whole).await.map_err(std::io::Error::other)?
    }

    /// A connection to write bytes of one's own to.
    pub(crate) async fn raw(&self, host: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        self.tls.connect(ServerName::try_from(host.to_owned()).unwrap(), socket).await.unwrap()
    }

    async fn exchange(&self, host: &str, mut request: Request<Bytes>) -> std::io::Result<Answer> {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let socket = self.tls.connect(name, socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(std::io::Error::other)?;
        Tasks::new().spawn_detached(connection);
        let authority = format!("{host}:{}", self.port);
        request.headers_mut().entry(header::HOST).or_insert(authority.parse().unwrap());
        if let Some(key) = &self.key {
            let value = format!("Bearer {key}").parse().unwrap();
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        let response = sender.send_request(request.map(Full::new)).await.map_err(std::io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

/// GET in the clear from a port on loopback; the whole answer as text.
pub(crate) async fn plain_get(port: u16, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
