//! TLS 1.3 inside a WebSocket whose own TLS is opened on the way.
//!
//! The agent is the client, the relay the server. Each shows its Ed25519 key and nothing else (RFC 7250), and takes
//! only the one key that it expects ([`PeerKey`]). There is no resumption and no early data: each session proves both
//! keys anew. [`Line`] is what the two ends work with; it is the WebSocket itself for as long as nothing opens TLS.

mod line;
mod messages;
mod pin;

use std::sync::Arc;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::pki_types::ServerName;
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_tungstenite::WebSocketStream;

pub use line::{Line, StartFault};
pub use messages::Messages;
pub use pin::{Identity, PeerKey};
use pin::{Pinned, shown};

/// The stream inside.
pub type Inner<S> = TlsStream<Messages<S>>;

/// Why there is no inner session.
#[derive(Debug, thiserror::Error)]
#[error("the TLS session inside the WebSocket did not come to be: {hint}")]
pub struct InnerFault {
    hint: &'static str,
    /// Whether the peer showed another key than the one expected.
    pub wrong_key: bool,
    source: std::io::Error,
}

/// The agent's end.
fn client_config(own: Arc<dyn Identity>, peer: PeerKey) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(super::tls::provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        // Checks key and signature: see `pin`.
        .with_custom_certificate_verifier(Arc::new(Pinned(peer)))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown(own))));
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// The relay's end.
fn server_config(own: Arc<dyn Identity>, peer: PeerKey) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(super::tls::provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Pinned(peer)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(shown(own))));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

type Failed<S> = (std::io::Error, Messages<S>);

async fn connect<S>(
    config: ClientConfig,
    socket: WebSocketStream<S>,
) -> Result<Inner<S>, (InnerFault, WebSocketStream<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Not looked at: the key is what counts.
    let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, Messages::new(socket));
    match connecting.into_fallible().await {
        Ok(stream) => Ok(TlsStream::Client(stream)),
        Err(failed) => Err(give_up(failed).await),
    }
}

async fn accept<S>(
    config: ServerConfig,
    socket: WebSocketStream<S>,
) -> Result<Inner<S>, (InnerFault, WebSocketStream<S>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepting = TlsAcceptor::from(Arc::new(config)).accept(Messages::new(socket));
    match accepting.into_fallible().await {
        Ok(stream) => Ok(TlsStream::Server(stream)),
        Err(failed) => Err(give_up(failed).await),
    }
}

/// Lets the alert out, so that the peer can tell its people why.
async fn give_up<S>((source, mut messages): Failed<S>) -> (InnerFault, WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let _ = messages.flush().await;
    (InnerFault::new(source), messages.into_inner())
}

impl InnerFault {
    fn new(source: std::io::Error) -> Self {
        use rustls::{CertificateError, Error};
        let (hint, wrong_key) = match source.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => (
                "the other side shows another key than the one pinned at enrolment; something in between plays its \
                 part, or it was set up anew and the agent must be enrolled anew",
                true,
            ),
            Some(Error::InvalidCertificate(_)) => (
                "the other side does not hold the key that it shows; something in between plays its part",
                true,
            ),
            Some(Error::AlertReceived(_)) => (
                "the other side refused the key shown to it, or something in between changed the messages",
                false,
            ),
            Some(_) => ("the two ends could not agree; something in between may change the messages", false),
            None => ("the connection broke in the handshake", false),
        };
        Self { hint, wrong_key, source }
    }
}

/// What both name in ALPN (RFC 7301), so that a session for another purpose never passes for one of these.
const PROTOCOL: &[u8] = b"outhaul-inner/1";

#[cfg(test)]
mod tests;
