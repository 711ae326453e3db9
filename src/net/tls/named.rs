//! Certificates by the name that a client asks for, from memory; and the one that answers tls-alpn-01.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use super::provider;
use crate::common::secret::Secret;

/// The protocol by which an authority asks whose a name is (RFC 8737 section 4).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// The certificates of a server with several names. Swapping one touches only connections that come later.
#[derive(Debug, Default)]
pub struct NamedCertificates(ArcSwap<HashMap<String, Arc<CertifiedKey>>>);

impl NamedCertificates {
    /// Shows this chain from now on to who asks for `name` (lower case).
    pub fn set(&self, name: &str, pem: &str, key: &Secret<Vec<u8>>) -> Result<(), String> {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("the certificate is damaged PEM: {error}"))?;
        let certified = certified(chain, key)?;
        certified.keys_match().map_err(|error| format!("the key is not the certificate's: {error}"))?;
        let certified = Arc::new(certified);
        self.0.rcu(|names| {
            let mut names = HashMap::clone(names);
            names.insert(name.to_owned(), certified.clone());
            names
        });
        Ok(())
    }

    /// The certificate for this name (any case), once there is one.
    pub fn get(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.load().get(&name.to_ascii_lowercase()).cloned()
    }
}

impl ResolvesServerCert for NamedCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.get(hello.server_name()?)
    }
}

/// How a server answers tls-alpn-01: this certificate, that protocol, nothing else. What the certificate says is in a
/// critical extension, so nobody but an authority can take it for a server's.
pub fn acme_server_config(
    certificate: CertificateDer<'static>,
    key: &Secret<Vec<u8>>,
) -> Result<Arc<ServerConfig>, String> {
    let certified = certified(vec![certificate], key)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    // One exchange and no more.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// `CertifiedKey::new` reads no certificate: one with a critical extension of its own passes.
fn certified(chain: Vec<CertificateDer<'static>>, key: &Secret<Vec<u8>>) -> Result<CertifiedKey, String> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().clone()));
    let signer = provider().key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    Ok(CertifiedKey::new(chain, signer))
}
