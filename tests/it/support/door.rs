//! A caller's ways to a site: raw TLS, HTTP/1.1 and HTTP/2 connections that are kept, bodies that stream. And the
//! same requests straight to an upstream, to compare.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outhaul::common::tasks::Tasks;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::world::host;

/// Any error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Any body.
pub(crate) type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// Which protocol a caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// Makes connections to one port as a caller of one site.
#[derive(Clone)]
pub(crate) struct Door {
    roots: rustls::RootCertStore,
    pub(crate) port: u16,
    pub(crate) key: String,
    host: String,
}

/// One kept connection.
pub(crate) enum Line {
    One(hyper::client::conn::http1::SendRequest<AnyBody>),
    Two(hyper::client::conn::http2::SendRequest<AnyBody>),
}

/// An answer read to its end, good or not.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Whole {
    /// Code and outcome of a problem document of ours.
    pub(crate) fn problem(&self) -> Option<(String, String)> {
        let code = self.headers.get("outhaul-problem")?.to_str().unwrap().to_owned();
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        Some((code, document["outcome"].as_str().unwrap().to_owned()))
    }
}

impl Door {
    pub(crate) fn new(authority: &Path, port: u16, key: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        Self { roots, port, key: key.to_owned(), host: host() }
    }

    /// The same by another name of the site.
    pub(crate) fn by(self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self }
    }

    /// A TLS connection to say anything on.
    pub(crate) async fn tls(&self, version: Version) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let protocol: &[u8] = if version == Version::Two { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone()).unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    /// Host and port, as callers write them.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A kept connection.
    pub(crate) async fn line(&self, version: Version) -> std::io::Result<Line> {
        let stream = self.tls(version).await?;
        Line::over(stream, version).await
    }

    /// Sends one request with the key on a line; the path is below the site's host.
    pub(crate) async fn send(
        &self,
        line: &mut Line,
        mut request: Request<AnyBody>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let bearer = format!("Bearer {}", self.key).parse().unwrap();
        request.headers_mut().entry(http::header::AUTHORIZATION).or_insert(bearer);
        line.send(&self.authority(), request).await
    }

    /// Says something in HTTP/1.1 and reads until the relay closes, or is silent for `patience`.
    pub(crate) async fn say(&self, bytes: &[u8], patience: Duration) -> Vec<u8> {
        let mut stream = self.tls(Version::One).await.unwrap();
        // The relay may close while we still write.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        while let Ok(Ok(count)) = tokio::time::timeout(patience, stream.read_buf(&mut answer)).await {
            if count == 0 {
                break;
            }
        }
        answer
    }
}

impl Line {
    /// In the clear, straight to an upstream.
    pub(crate) async fn direct(address: SocketAddr) -> std::io::Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Self::over(socket, Version::One).await
    }

    async fn over<S>(stream: S, version: Version) -> std::io::Result<Self>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        let tasks = Tasks::new();
        match version {
            Version::One => {
                let shake = hyper::client::conn::http1::Builder::new().max_buf_size(512 << 10).handshake(io);
                let (sender, connection) = shake.await.map_err(std::io::Error::other)?;
                tasks.spawn_detached(connection);
                Ok(Self::One(sender))
            }
            Version::Two => {
                let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
                builder.initial_stream_window_size(1 << 20).initial_connection_window_size(8 << 20);
                let shake = builder.max_header_list_size(512 << 10).handshake(io);
                let (sender, connection) = shake.await.map_err(std::io::Error::other)?;
                tasks.spawn_detached(connection);
                Ok(Self::Two(sender))
            }
        }
    }

    /// Sends a request; its URI is a path.
    pub(crate) async fn send(
        &mut self,
        authority: &str,
        mut request: Request<AnyBody>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        match self {
            Self::One(sender) => {
                let host = authority.parse().unwrap();
                request.headers_mut().entry(http::header::HOST).or_insert(host);
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Two(sender) => {
                let uri = format!("https://{authority}{}", request.uri());
                *request.uri_mut() = uri.parse().unwrap();
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Whether it can't take another request.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Two(sender) => sender.is_closed(),
        }
    }
}

/// Reads an answer to its end; an error if it breaks off.
pub(crate) async fn whole(response: Response<Incoming>) -> Result<Whole, hyper::Error> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned();
    Ok(Whole { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
}

/// No body.
pub(crate) fn empty() -> AnyBody {
    AnyBody::new(Empty::new().map_err(|never| match never {}))
}

/// A body of known length: `Content-Length`.
pub(crate) fn full(bytes: impl Into<Bytes>) -> AnyBody {
    AnyBody::new(Full::new(bytes.into()).map_err(|never| match never {}))
}

/// A body of unknown length, in pieces of this size: chunked in HTTP/1.1.
pub(crate) fn pieces(bytes: impl Into<Bytes>, size: usize) -> AnyBody {
    let bytes = bytes.into();
    let count = bytes.len().div_ceil(size);
    let pieces = (0..count).map(move |number| {
        let end = bytes.len().min((number + 1) * size);
        Ok::<_, BoxError>(Frame::data(bytes.slice(number * size..end)))
    });
    AnyBody::new(StreamBody::new(futures_util::stream::iter(pieces)))
}

/// A body that the test feeds piece by piece; dropping the feeder without an end breaks it off.
pub(crate) fn fed() -> (Feeder, AnyBody) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Option<Bytes>>(1);
    let stream = futures_util::stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(bytes)) => Some((Ok(Frame::data(bytes)), Some(receiver))),
            Some(None) => None,
            None => Some((Err::<_, BoxError>("the caller leaves".into()), None)),
        }
    });
    (Feeder(sender), AnyBody::new(StreamBody::new(Box::pin(stream))))
}

/// The other end of a fed body.
pub(crate) struct Feeder(tokio::sync::mpsc::Sender<Option<Bytes>>);

impl Feeder {
    /// One more piece; whether somebody still takes it.
    pub(crate) async fn feed(&self, bytes: impl Into<Bytes>) -> bool {
        self.0.send(Some(bytes.into())).await.is_ok()
    }

    /// The good end.
    pub(crate) async fn end(self) {
        let _ = self.0.send(None).await;
    }
}
