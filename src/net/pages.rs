//! A small HTTP/1.1 server: for local pages (the admin socket, metrics, health), and for pages that people open in
//! their browsers. Bounded in every way, and not meant for callers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use http::StatusCode;
use http_body_util::Limited;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::local::{PeerUid, Right};
use crate::common::tasks::Tasks;

/// Where connections come from, and what each may do.
pub(super) trait Accept: Sync {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Waits for the next one.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Io, Right, Option<PeerUid>)>> + Send;
}

impl Accept for TcpListener {
    type Io = TcpStream;
    async fn next(&self) -> io::Result<(TcpStream, Right, Option<PeerUid>)> {
        let (stream, _) = self.accept().await?;
        let _ = stream.set_nodelay(true);
        Ok((stream, Right::Read, None))
    }
}

/// Opens a TCP port. Must run inside a runtime.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Answers on a TCP port, in the clear, until the group is told to stop. Whoever connects may only read.
pub async fn serve(listener: &TcpListener, router: Router, tasks: &Tasks) {
    answer(listener, router, tasks, Manner::LOCAL).await;
}

/// Answers people's browsers until the group is told to stop: over TLS, or in the clear where there is no
/// configuration for it.
pub async fn serve_browsers(
    listener: &TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    tasks: &Tasks,
) {
    answer(listener, router, tasks, Manner { tls: tls.map(TlsAcceptor::from), ..Manner::BROWSERS }).await;
}

/// How a server answers, and its bounds.
#[derive(Clone)]
pub(super) struct Manner {
    tls: Option<TlsAcceptor>,
    connections: usize,
    body: usize,
    /// How long an exchange may take.
    life: Duration,
    /// A request that has arrived is worked off to its end among these tasks, though its client goes away: what it
    /// changed must be recorded, and its parts must not fall apart.
    lasting: Option<Tasks>,
}

impl Manner {
    const LOCAL: Self = Self { tls: None, connections: 32, body: 256 * 1024, life: MAX_LIFE, lasting: None };
    const BROWSERS: Self =
        Self { tls: None, connections: 256, body: 64 * 1024, life: MAX_LIFE, lasting: None };

    /// For commands, of which some take long and some bring much; each route bounds its own body.
    pub(super) fn commands(tasks: &Tasks) -> Self {
        Self { body: 32 << 20, life: MAX_COMMAND, lasting: Some(tasks.clone()), ..Self::LOCAL }
    }
}

pub(super) async fn answer<A: Accept>(listener: &A, router: Router, tasks: &Tasks, manner: Manner) {
    let places = Arc::new(Semaphore::new(manner.connections));
    let stop = tasks.token();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next(listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, right, peer, place)) => {
                let router = router.clone();
                let (stop, manner) = (stop.clone(), manner.clone());
                tasks.spawn_detached(async move {
                    let _place = place;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(manner.life) => {}
                        () = open(stream, (right, peer), router, manner) => {}
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, usually: trying again at once would only spin.
                tracing::warn!(%error, "a local page server could not accept");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn next<A: Accept>(
    listener: &A,
    places: &Arc<Semaphore>,
) -> io::Result<(A::Io, Right, Option<PeerUid>, Place)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, right, peer) = listener.next().await?;
    Ok((stream, right, peer, place))
}

async fn open(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    who: (Right, Option<PeerUid>),
    router: Router,
    manner: Manner,
) {
    let Some(acceptor) = manner.tls.clone() else { return exchange(stream, who, router, manner).await };
    match tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => exchange(stream, who, router, manner).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake of a browser failed"),
        Err(_) => tracing::debug!("a TLS handshake of a browser took too long"),
    }
}

/// One request and its answer; our clients ask once a connection.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (right, peer): (Right, Option<PeerUid>),
    router: Router,
    manner: Manner,
) {
    let Manner { body: max_body, lasting, .. } = manner;
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut request = request.map(|body| Body::new(Limited::new(body, max_body)));
        request.extensions_mut().insert(right);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let answer = router.clone().call(request);
        let lasting = lasting.clone();
        async move {
            let Some(tasks) = lasting else { return answer.await };
            let gone = |_| StatusCode::INTERNAL_SERVER_ERROR.into_response();
            tasks.spawn_detached(answer).await.unwrap_or_else(|error| Ok(gone(error)))
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an exchange on a local page server broke off");
    }
}

const MAX_HEAD: usize = 16 * 1024;
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
const HEADER_TIME: Duration = Duration::from_secs(10);
const MAX_LIFE: Duration = Duration::from_secs(60);
const MAX_COMMAND: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn pages_are_read_over_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let group = tasks.clone();
        let right = async |axum::Extension(right): axum::Extension<Right>| format!("{right:?}");
        let router = Router::new().route("/right", axum::routing::get(right));
        tasks.spawn("pages", async move { serve(&listener, router, &group).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /right HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nRead"), "{answer}");
        tasks.cancel();
        assert!(tasks.drain(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_command_is_worked_off_though_its_client_goes_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let group = tasks.clone();
        let (begun, go_on, done) =
            (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let parts = (begun.clone(), go_on.clone(), done.clone());
        let work = move || {
            let (begun, go_on, done) = parts.clone();
            async move {
                begun.add_permits(1);
                go_on.acquire().await.unwrap().forget();
                done.add_permits(1);
            }
        };
        let router = Router::new().route("/", axum::routing::post(work));
        tasks.spawn("commands", async move {
            answer(&listener, router, &group, Manner::commands(&group)).await;
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        begun.acquire().await.unwrap().forget();
        stream.shutdown().await.unwrap();
        // The server has seen it go when it closes its end too.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        go_on.add_permits(1);
        tokio::time::timeout(Duration::from_secs(5), done.acquire()).await.unwrap().unwrap().forget();
        tasks.cancel();
        assert!(tasks.drain(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn browsers_are_answered_over_tls_with_http1_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let certificates = tls::Certificates::load(&certificate, &key).unwrap();
        let server = tls::http1_server_config(certificates).unwrap();

        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, router) = (Tasks::new(), Router::new().route("/", axum::routing::get(async || "page")));
        let group = tasks.clone();
        tasks.spawn("pages", async move { serve_browsers(&listener, Some(server), router, &group).await });

        let mut client = (*tls::client_config(tls::Peer::Upstream, Some(&certificate)).unwrap()).clone();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let patience = Duration::from_secs(10);
        let mut stream = tls::connect(Arc::new(client), "localhost", stream, patience).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("page"), "{answer}");

        // In the clear it says nothing.
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        tasks.cancel();
        assert!(tasks.drain(patience).await);
    }
}
