//! One HTTP client for everything the agent asks of the internet: identity providers, certificate authorities.
//!
//! [`HttpClient::ask`] is the entry point. One request is one connection, which is closed behind the answer: such
//! questions are rare, and no kept connection can prove stale under one that must not be sent twice. Redirects are
//! given back as they are, not followed. Applications at the site have a client of their own, `agent::upstream`.

mod exchange;
mod fault;
mod target;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use super::dial::{self, Proxy, Purpose, Target};
use super::tls::{self, Peer, TlsFault};
use crate::common::limits::ByteSize;

pub use fault::{AskFault, OpenFault};

/// A two-way stream of bytes to a host.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens a stream to a host by another way than TCP from here. TLS runs inside it, so whoever carries it sees the
/// host's name and bytes without a meaning.
pub trait Opener: Send + Sync {
    /// A stream to the target. The caller bounds the time.
    fn open<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Box<dyn Stream>, OpenFault>>;
}

/// How a host is reached.
#[derive(Clone)]
pub enum Way {
    /// By TCP from this machine.
    Direct,
    /// Through an HTTP proxy, by CONNECT.
    Proxy(Proxy),
    /// By whatever else.
    Through(Arc<dyn Opener>),
}

/// What an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Its body may be so large. The head has a bound of its own, of 64 KB.
    pub answer: ByteSize,
    /// So long for all of it, from the name to the last byte.
    pub within: Duration,
}

/// HTTP/1.1 over TLS, bounded.
#[derive(Clone)]
pub struct HttpClient {
    way: Way,
    tls: Arc<ClientConfig>,
    loopback_http: bool,
}

impl HttpClient {
    /// A client that goes `way`, and trusts the system's authorities and those in `ca_file`.
    pub fn new(way: Way, ca_file: Option<&Path>) -> Result<Self, TlsFault> {
        Ok(Self { way, tls: tls::client_config(Peer::Service, ca_file)?, loopback_http: false })
    }

    /// Takes `http://` URLs too where the host is this machine itself.
    #[must_use]
    pub fn allow_loopback_http(self) -> Self {
        Self { loopback_http: true, ..self }
    }

    /// Sends the request, whose URI is the whole URL, and gives the answer with its body whole. `Host`,
    /// `Connection`, `Content-Length` and `Accept-Encoding` are this client's own affair; what a request says of them
    /// is replaced.
    pub async fn ask(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Response<Bytes>, AskFault> {
        let url = target::read(request.uri(), self.loopback_http)?;
        let host = url.target.to_string();
        match tokio::time::timeout(bounds.within, self.exchange(request, url, bounds)).await {
            Ok(answered) => answered,
            Err(_) => Err(AskFault::TooSlow { host, within: bounds.within }),
        }
    }

    async fn exchange(
        &self,
        request: Request<Bytes>,
        url: target::Url,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, AskFault> {
        let stream = self.open(&url.target, bounds.within).await?;
        let host = url.target.to_string();
        let request = exchange::prepare(request, &url);
        if !url.tls {
            return exchange::exchange(stream, request, &host, bounds.answer).await;
        }
        let stream = tls::connect(Arc::clone(&self.tls), &url.target.host, stream, bounds.within).await?;
        exchange::exchange(stream, request, &host, bounds.answer).await
    }

    async fn open(&self, target: &Target, within: Duration) -> Result<Box<dyn Stream>, OpenFault> {
        let proxy = match &self.way {
            Way::Direct => None,
            Way::Proxy(proxy) => Some(proxy),
            Way::Through(opener) => return opener.open(target).await,
        };
        Ok(Box::new(dial::dial(target, proxy, Purpose::Calls, within.min(CONNECT)).await?))
    }
}

/// For resolving and connecting; a host that takes longer is down, and a fault that says so helps more than a
/// timeout of the whole.
const CONNECT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
