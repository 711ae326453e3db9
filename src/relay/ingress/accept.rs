//! Takes connections in: a place, TLS, and then [`super::connection`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{StartHandshake, TlsAcceptor};
use tokio_util::sync::CancellationToken;

use super::client_hello::{self, HelloFault};
use super::pass_through::{self, Passing};
use super::places::Full;
use super::{Ingress, Inner, connection};
use crate::net::dial::{Prefixed, Purpose, prepare};
use crate::relay::registry::NamedSite;

impl Ingress {
    /// Takes connections in until `stop`. Then connections without a call are closed, and others after theirs.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => self.take(socket, peer, &stop),
                Err(error) => {
                    // Out of file descriptors, usually. Trying again at once would only spin.
                    tracing::debug!(%error, "a connection could not be accepted");
                    self.0.metrics.turned_away("accept-error");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn take(&self, socket: TcpStream, peer: SocketAddr, stop: &CancellationToken) {
        let inner = &self.0;
        let place = match inner.places.take(peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                inner.metrics.turned_away(match full {
                    Full::Relay => "connections",
                    Full::Address => "connections-per-address",
                });
                return;
            }
        };
        let counted = inner.metrics.connection();
        let inner = Arc::clone(inner);
        let stop = stop.clone();
        self.0.tasks.spawn_detached(async move {
            prepare(&socket, Purpose::Calls);
            let held = connection::Held { _place: place, _counted: counted };
            welcome(inner, socket, peer, held, stop).await;
        });
    }
}

/// What a connection turned out to be.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once; a box would cost each connection")]
enum Met {
    /// TLS is ended.
    Ended(TlsStream<Prefixed<TcpStream>>),
    /// It passes unopened.
    Passes { socket: TcpStream, read: Bytes, name: String, to: NamedSite },
}

async fn welcome(
    inner: Arc<Inner>,
    socket: TcpStream,
    peer: SocketAddr,
    held: connection::Held,
    stop: CancellationToken,
) {
    let met = tokio::time::timeout(inner.limits.tls_handshake_time, Box::pin(meet(&inner, socket)));
    let met = tokio::select! {
        () = stop.cancelled() => return,
        met = met => met,
    };
    match met {
        Ok(Ok(Met::Ended(tls))) => Box::pin(connection::serve(inner, tls, peer, held, stop)).await,
        Ok(Ok(Met::Passes { socket, read, name, to })) => {
            let passing = Passing { socket, peer, read, name, to, held };
            Box::pin(pass_through::pass(inner, passing)).await;
        }
        Ok(Err(error)) => {
            inner.metrics.tls_failed();
            tracing::debug!(%error, %peer, "a TLS handshake failed");
        }
        Err(_) => {
            inner.metrics.tls_failed();
            tracing::debug!(%peer, "a TLS handshake took too long");
        }
    }
}

/// Ends a connection's TLS, unless it is for a name that passes.
async fn meet(inner: &Inner, mut socket: TcpStream) -> io::Result<Met> {
    let tls = Arc::clone(&inner.tls);
    if inner.names.direct.is_empty() {
        let ended = TlsAcceptor::from(tls).accept(Prefixed::new(socket, Bytes::new()));
        return ended.await.map(Met::Ended);
    }
    let hello = match client_hello::read(&mut socket).await {
        Ok(hello) => hello,
        Err(HelloFault::Closed(error)) => return Err(error),
        Err(HelloFault::TooLong) => return Err(io::Error::other("the ClientHello is too long")),
        Err(HelloFault::Wrong(error, mut alert)) => {
            let mut record = Vec::new();
            alert.write_all(&mut record)?;
            socket.write_all(&record).await?;
            return Err(io::Error::other(error));
        }
    };
    if let Some(name) = hello.server_name()
        && let Some(to) = inner.names.pass_through(&name)
    {
        return Ok(Met::Passes { socket, read: hello.read, name, to });
    }
    let rest = hello.read.slice(hello.read.len().saturating_sub(hello.rest)..);
    let start = StartHandshake::from_parts(hello.accepted, Prefixed::new(socket, rest));
    start.into_stream(tls).await.map(Met::Ended)
}
