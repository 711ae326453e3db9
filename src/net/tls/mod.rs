//! One place for TLS: versions, roots, certificates, and what to tell a person when it fails.

pub mod by_name;
mod memory;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ConnectionCommon, InconsistentKeys, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use memory::{certified_as_it_is, certified_chain};

/// Whom a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A relay: TLS 1.3 only, because its exporter is what a connect is bound to.
    Relay,
    /// An application at the site: TLS 1.2 is still common there.
    Upstream,
    /// A service on the internet; some still speak TLS 1.2 only.
    Service,
}

/// What is wrong with a certificate, a key or a CA file.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// It can't be read.
    #[error("{} can't be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is readable, but not what it should be.
    #[error("{} {what}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The key is of another certificate.
    #[error(
        "the private key in {} is not that of the first certificate in {}: the certificate file must begin with \
         the server's own certificate, and both files must be of the same issue",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// No roots at all.
    #[error("this machine has no trusted certificate authorities: install ca-certificates, or set ca-file")]
    NoRoots,
    /// The library refused; not expected.
    #[error("TLS could not be set up")]
    Library(#[from] rustls::Error),
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// How this program calls on TLS servers: the system's authorities, and those in `ca_file`.
pub fn client_config(peer: Peer, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsFault> {
    let roots = roots(ca_file)?;
    let versions: &[_] = match peer {
        Peer::Relay => &[&TLS13],
        Peer::Upstream | Peer::Service => &[&TLS13, &TLS12],
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        tracing::warn!(%error, "a system certificate could not be loaded");
    }
    // A system store may hold a certificate that is none; the others count nevertheless.
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| TlsFault::Content {
                path: path.to_owned(),
                what: format!("holds a certificate that can't serve as an authority: {error}"),
            })?;
        }
    }
    if roots.is_empty() { Err(TlsFault::NoRoots) } else { Ok(roots) }
}

/// How a server answers: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, with a certificate that may be swapped.
pub fn server_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, TlsFault> {
    server(certificates, &[b"h2", b"http/1.1"])
}

/// The same with HTTP/1.1 alone.
pub fn http1_server_config(certificates: Arc<Certificates>) -> Result<Arc<ServerConfig>, TlsFault> {
    server(certificates, &[b"http/1.1"])
}

fn server(
    certificates: Arc<dyn ResolvesServerCert>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsFault> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    // Any suite is good; but scanners of TLS expect that the server chooses.
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

/// The certificate a server shows. Swapping it touches only connections that come later.
#[derive(Debug)]
pub struct Certificates(ArcSwap<CertifiedKey>);

impl Certificates {
    /// Loads chain and key.
    pub fn load(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsFault> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified_key(certificate, key)?))))
    }

    /// The chain and key shown now.
    pub fn current(&self) -> Arc<CertifiedKey> {
        self.0.load_full()
    }

    /// Loads them anew; on a fault what was there stays.
    pub fn reload(&self, certificate: &Path, key: &Path) -> Result<(), TlsFault> {
        self.reload_if(certificate, key, |_| Ok(()))
    }

    /// The same for a certificate that `judge` has nothing against; it says what is wrong.
    pub fn reload_if(
        &self,
        certificate: &Path,
        key: &Path,
        judge: impl FnOnce(&CertifiedKey) -> Result<(), String>,
    ) -> Result<(), TlsFault> {
        let fresh = certified_key(certificate, key)?;
        judge(&fresh).map_err(|what| TlsFault::Content { path: certificate.to_owned(), what })?;
        self.0.store(Arc::new(fresh));
        Ok(())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn certified_key(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsFault> {
    let chain = certificates(certificate)?;
    let private = private_key(key)?;
    let unusable = |error| TlsFault::Content {
        path: key.to_owned(),
        what: format!("holds a key of a kind that can't be used (RSA, ECDSA and Ed25519 can): {error}"),
    };
    let signer = provider().key_provider.load_private_key(private).map_err(unusable)?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        // Not every kind of key can tell its public half.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsFault::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() })
        }
        Err(error) => Err(TlsFault::Content {
            path: certificate.to_owned(),
            what: format!("begins with a certificate that can't be read: {error}"),
        }),
    }
}

/// A fatal alert in the clear, for a client whose handshake does not even begin: a record of type alert, in the version
/// that all understand, with two bytes (RFC 8446, sections 5.1 and 6).
pub fn fatal_alert(alert: rustls::AlertDescription) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, u8::from(alert)]
}

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The host names it is for, wildcards among them (RFC 5280, section 4.2.1.6).
    pub names: Vec<String>,
    /// When it ends. Seconds since 1970.
    pub ends: i64,
}

/// Reads the first certificate of a chain; nothing where it can't be read.
pub fn about(certified: &CertifiedKey) -> Option<About> {
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
    let first = certified.end_entity_cert().ok()?;
    let (_, certificate) = X509Certificate::from_der(first).ok()?;
    let extension = certificate.subject_alternative_name().ok()?;
    let names = extension.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    Some(About { names: names.collect(), ends: certificate.validity().not_after.timestamp() })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let text = read(path)?;
    let content = |what: String| TlsFault::Content { path: path.to_owned(), what };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|error| content(format!("is damaged PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(content(if contains(&text, b"PRIVATE KEY-----") {
            "holds a private key and no certificate: are certificate and key swapped?".to_owned()
        } else {
            "holds no certificate in PEM (“-----BEGIN CERTIFICATE-----”)".to_owned()
        }));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    let text = read(path)?;
    let content = |what: String| TlsFault::Content { path: path.to_owned(), what };
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        content(if contains(&text, b"ENCRYPTED") {
            "holds a key under a passphrase: write it without one (`openssl pkey -in … -out …`) into a file that \
             only the service may read"
                .to_owned()
        } else if matches!(error, PemError::NoItemsFound) && contains(&text, b"CERTIFICATE-----") {
            "holds a certificate and no private key: are certificate and key swapped?".to_owned()
        } else if matches!(error, PemError::NoItemsFound) {
            "holds no private key in PEM (“-----BEGIN PRIVATE KEY-----”)".to_owned()
        } else {
            format!("is damaged PEM: {error}")
        })
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFault> {
    let failed = |source| TlsFault::Read { path: path.to_owned(), source };
    let content = |what: &str| TlsFault::Content { path: path.to_owned(), what: what.to_owned() };
    match super::reload::read_bounded(path, 1 << 20).map_err(failed)? {
        None => Err(content("is larger than 1 MB: it can hold no certificate or key")),
        Some(text) if text.is_empty() => Err(content("is empty")),
        Some(text) => Ok(text),
    }
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// The keying material that only the two ends of this TLS session share: `tls-exporter` of RFC 9266.
pub fn exporter<Data>(connection: &ConnectionCommon<Data>) -> Result<[u8; 32], rustls::Error> {
    connection.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
}

/// Why TLS did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFault {
    /// The name can't be in a certificate.
    #[error("“{0}” is no host name")]
    Name(String),
    /// No answer in time.
    #[error("{host} did not finish the TLS handshake within {within:?}")]
    TooSlow {
        /// Whom.
        host: String,
        /// The time it had.
        within: Duration,
    },
    /// It failed.
    #[error("TLS with {host} failed: {hint}")]
    Failed {
        /// Whom.
        host: String,
        /// What it means and what to do.
        hint: &'static str,
        /// What the library says.
        source: std::io::Error,
    },
}

/// TLS as client, over any stream. `host` is what the certificate must be for.
pub async fn connect<S>(
    config: Arc<ClientConfig>,
    host: &str,
    stream: S,
    within: Duration,
) -> Result<TlsStream<S>, HandshakeFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned()).map_err(|_| HandshakeFault::Name(host.to_owned()))?;
    match tokio::time::timeout(within, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(source)) => Err(HandshakeFault::Failed { host: host.to_owned(), hint: hint(&source), source }),
        Err(_) => Err(HandshakeFault::TooSlow { host: host.to_owned(), within }),
    }
}

fn hint(error: &std::io::Error) -> &'static str {
    use rustls::{AlertDescription, CertificateError, Error};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(fault)) => match fault {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate comes from an authority that this machine does not trust; if it is a private one, \
                 or that of an inspecting proxy which you trust, name its certificate as ca-file"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another host name: check the address"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: its operator must renew it; check this machine's clock too"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: check this machine's clock"
            }
            _ => "its certificate can't be accepted",
        },
        Some(Error::InvalidMessage(_)) => "it does not speak TLS on that port: check the address",
        Some(Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
            "it does not speak the TLS version needed (1.3 between agent and relay)"
        }
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            "it does not speak HTTP/1.1 on that port: check the address"
        }
        Some(Error::AlertReceived(AlertDescription::UnrecognisedName)) => "it serves no such host name",
        Some(Error::PeerIncompatible(_)) => "it speaks no TLS version or cipher that is safe to use",
        Some(_) => "the two ends could not agree",
        None => "the connection broke in the handshake; a firewall may cut it off",
    }
}

#[cfg(test)]
mod tests;
