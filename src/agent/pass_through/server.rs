//! One connection: TLS for the name that the stream was opened for, and for no other.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::AlertDescription;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::request::{Connection, answer};
use crate::net::http_server::{self, Limits, Session};
use crate::net::tls::fatal_alert;
use crate::net::tunnel::ByteStream;
use crate::tunnel::code::ResetCode;
use crate::tunnel::head::BytesHead;

/// Serves a stream to its end.
pub(super) async fn serve(
    inner: Arc<Inner>,
    head: BytesHead,
    stream: ByteStream,
    draining: CancellationToken,
) {
    let name = head.target;
    if !inner.names.load().contains_key(name.as_str()) {
        tracing::debug!(%name, "a connection for a name that is not this agent's");
        inner.counters.ended("name-unknown");
        stream.reset(ResetCode::Unsupported);
        return;
    }
    let at_most = inner.connections.load(Ordering::Relaxed);
    let Some(_open) = inner.counters.open(at_most) else {
        tracing::debug!(%name, at_most, "as many connections as [pass-through] lets be at once");
        inner.counters.ended("connections");
        // Nothing was done with it: whoever asks may ask again.
        stream.reset(ResetCode::Refused);
        return;
    };
    let shaken = tokio::time::timeout(HANDSHAKE, Box::pin(shake(&inner, &name, stream)));
    let shaken = tokio::select! {
        () = draining.cancelled() => return inner.counters.ended("draining"),
        shaken = shaken => shaken,
    };
    let tls = match shaken {
        Ok(Ok(Some(tls))) => tls,
        Ok(Ok(None)) => return inner.counters.ended("authority"),
        Ok(Err(error)) => {
            tracing::debug!(%error, %name, "a TLS handshake failed");
            return inner.counters.ended("tls-failed");
        }
        Err(_) => {
            tracing::debug!(%name, "a TLS handshake took too long");
            return inner.counters.ended("tls-failed");
        }
    };
    let session = Arc::new(Session::new(tls.get_ref().1.alpn_protocol() == Some(b"h2")));
    let (limits, clock, tasks) = (limits(), inner.clock.clone(), inner.tasks.clone());
    let connection = Arc::new(Connection {
        inner: Arc::clone(&inner),
        name,
        peer: claimed(&head.peer),
        session: session.clone(),
    });
    let answer = move |request| answer(Arc::clone(&connection), request);
    Box::pin(http_server::serve(tls, session, &limits, &clock, tasks, draining, answer)).await;
    inner.counters.ended("served");
}

/// TLS up to the end of the handshake; nothing for an authority, which only looks.
async fn shake(inner: &Inner, name: &str, stream: ByteStream) -> io::Result<Option<TlsStream<ByteStream>>> {
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let hello = start.client_hello();
    // The relay says what the stream is for. The client must say the same: the certificate and the trust of one name
    // are not to be had by asking for another.
    if !hello.server_name().is_some_and(|asked| asked.eq_ignore_ascii_case(name)) {
        start.io.write_all(&fatal_alert(AlertDescription::UnrecognisedName)).await?;
        start.io.shutdown().await?;
        return Err(io::Error::other("the ClientHello asks for another name than the stream is for"));
    }
    let (config, is_authority) = inner.tls.config(&hello);
    let mut tls = start.into_stream(config).await?;
    if is_authority {
        tls.shutdown().await?;
        return Ok(None);
    }
    Ok(Some(tls))
}

/// A caller's address as the relay claims it; what is none is not repeated.
fn claimed(peer: &str) -> String {
    peer.parse::<IpAddr>().map(|address| address.to_canonical().to_string()).unwrap_or_default()
}

/// Smaller windows than the relay's: this program stands beside an application, on a machine of any size. What a caller
/// sends waits in the tunnel too, and there its credit grows.
fn limits() -> Limits {
    Limits {
        stream_window: 256 << 10,
        connection_window: 1 << 20,
        // And the piece that comes last, which goes in whole: up to 64 KiB.
        send_buffer: 16 << 10,
        ..Limits::default()
    }
}

/// Time for a TLS handshake, through the tunnel.
const HANDSHAKE: Duration = Duration::from_secs(10);
