//! Which certificate a server shows for which name, and how it proves to an authority that a name is its own.

use std::fmt::Debug;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Certificates, TlsFault, server};

/// The protocol by which an authority looks whether a name leads to this server (RFC 8737, section 3).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// Where certificates come from. Asked in each handshake, so it must answer from memory.
pub trait CertificateSource: Debug + Send + Sync {
    /// The certificate for a name in lower case; none while there is none.
    fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>>;

    /// What answers an authority that asks for this name by tls-alpn-01 (RFC 8737); none unless an order is under way.
    fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let _ = name;
        None
    }
}

/// One certificate for whatever name.
impl CertificateSource for Certificates {
    fn certificate(&self, _: &str) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

/// How a server with certificates by name answers: its callers, and an authority's look.
#[derive(Debug, Clone)]
pub struct ByName {
    callers: Arc<ServerConfig>,
    authorities: Arc<ServerConfig>,
}

impl ByName {
    /// With certificates of this source.
    pub fn new(source: Arc<dyn CertificateSource>) -> Result<Self, TlsFault> {
        let callers = server(Arc::new(ForCallers(Arc::clone(&source))), &[b"h2", b"http/1.1"])?;
        let authorities = server(Arc::new(ForAuthorities(source)), &[ACME_TLS])?;
        Ok(Self { callers, authorities })
    }

    /// How to go on with a client, and whether it is an authority that looks: it then says nothing after the handshake.
    pub fn config(&self, hello: &ClientHello<'_>) -> (Arc<ServerConfig>, bool) {
        // An authority offers that protocol and no other (RFC 8737, section 3).
        let is_authority = hello.alpn().is_some_and(|mut offered| {
            offered.next().is_some_and(|first| first == ACME_TLS) && offered.next().is_none()
        });
        (Arc::clone(if is_authority { &self.authorities } else { &self.callers }), is_authority)
    }
}

#[derive(Debug)]
struct ForCallers(Arc<dyn CertificateSource>);

impl ResolvesServerCert for ForCallers {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.certificate(&hello.server_name()?.to_ascii_lowercase())
    }
}

#[derive(Debug)]
struct ForAuthorities(Arc<dyn CertificateSource>);

impl ResolvesServerCert for ForAuthorities {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.challenge(&hello.server_name()?.to_ascii_lowercase())
    }
}
