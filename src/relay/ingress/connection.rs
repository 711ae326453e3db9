//! One connection whose TLS ends here, and where each of its requests goes.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::places::Place;
use super::{Inner, agent, caller};
use crate::net::dial::Prefixed;
use crate::net::http_server::body::AnswerBody;
use crate::net::http_server::{self, Session};
use crate::net::tunnel::TunnelBody;
use crate::net::websocket;
use crate::relay::metrics::Counted;

/// The socket as hyper holds it.
pub(super) type Socket = http_server::Socket<TlsStream<Prefixed<TcpStream>>>;

/// What a connection holds as long as it lives, also as a tunnel.
pub(super) struct Held {
    pub(super) _place: Place,
    pub(super) _counted: Counted,
}

/// One connection, as its requests see it.
pub(super) struct Connection {
    pub(super) inner: Arc<Inner>,
    pub(super) peer: SocketAddr,
    /// Its address as agents are told.
    pub(super) peer_text: String,
    pub(super) session: Arc<Session<TunnelBody>>,
    _held: Held,
}

pub(super) async fn serve(
    inner: Arc<Inner>,
    tls: TlsStream<Prefixed<TcpStream>>,
    peer: SocketAddr,
    held: Held,
    stop: CancellationToken,
) {
    let session = Arc::new(Session::new(tls.get_ref().1.alpn_protocol() == Some(b"h2")));
    let (limits, clock, tasks) = (inner.limits.http.clone(), inner.clock.clone(), inner.tasks.clone());
    let connection = Arc::new(Connection {
        inner,
        peer,
        peer_text: address_text(peer),
        session: Arc::clone(&session),
        _held: held,
    });
    let answer = move |request| {
        let connection = Arc::clone(&connection);
        async move { answer(&connection, request).await }
    };
    http_server::serve(tls, session, &limits, &clock, tasks, stop, answer).await;
}

/// A caller's address as agents are told.
pub(super) fn address_text(peer: SocketAddr) -> String {
    peer.ip().to_canonical().to_string()
}

/// Where a request goes.
async fn answer(
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<AnswerBody<TunnelBody>> {
    if request.uri().path() == websocket::PATH && agent::is_for_relay(connection, &request) {
        return agent::answer(connection, request).map(AnswerBody::from);
    }
    caller::answer(connection, request).await
}
