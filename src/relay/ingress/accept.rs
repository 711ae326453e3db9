//! Takes connections in: a place, TLS, and then [`super::connection`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::places::Full;
use super::{Ingress, Inner, connection};
use crate::net::dial::{Prefixed, Purpose, prepare};

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

async fn welcome(
    inner: Arc<Inner>,
    socket: TcpStream,
    peer: SocketAddr,
    held: connection::Held,
    stop: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(Arc::clone(&inner.tls));
    let handshake = tokio::time::timeout(
        inner.limits.tls_handshake_time,
        acceptor.accept(Prefixed::new(socket, Bytes::new())),
    );
    let tls = tokio::select! {
        () = stop.cancelled() => return,
        tls = handshake => tls,
    };
    match tls {
        Ok(Ok(tls)) => Box::pin(connection::serve(inner, tls, peer, held, stop)).await,
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
