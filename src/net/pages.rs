//! A small HTTP/1.1 server for local pages: the admin socket, metrics, health. Bounded in every way, and not meant
//! for callers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::Limited;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
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
    answer(listener, router, tasks).await;
}

pub(super) async fn answer<A: Accept>(listener: &A, router: Router, tasks: &Tasks) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let stop = tasks.token();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = next(listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, right, peer, place)) => {
                let router = router.clone();
                let stop = stop.clone();
                tasks.spawn_detached(async move {
                    let _place = place;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(MAX_LIFE) => {}
                        () = exchange(stream, (right, peer), router) => {}
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

/// One request and its answer; our clients ask once a connection.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (right, peer): (Right, Option<PeerUid>),
    router: Router,
) {
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut request = request.map(|body| Body::new(Limited::new(body, MAX_BODY)));
        request.extensions_mut().insert(right);
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        router.clone().call(request)
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

const MAX_CONNECTIONS: usize = 32;
const MAX_BODY: usize = 256 * 1024;
const MAX_HEAD: usize = 16 * 1024;
const HEADER_TIME: Duration = Duration::from_secs(10);
const MAX_LIFE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
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
}
