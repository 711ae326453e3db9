//! A site with names that pass, and clients for them.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::process::text;
use crate::support::world::{Running, SITE, World};

/// The operator's zone for names that pass.
pub(super) const DIRECT: &str = "direct.relay.localhost";
/// The customer's own name.
pub(super) const CUSTOMER: &str = "jira.acme.example";

/// The site's name in the operator's zone.
pub(super) fn operator_name() -> String {
    format!("{SITE}.{DIRECT}")
}

/// Configurations in which the site's agent ends TLS for both names, with one certificate.
pub(super) fn world(upstream: &str) -> World {
    let world = World::new(upstream);
    let (chain, key) = world.authority.issue("direct", &[&operator_name(), CUSTOMER]);
    world.edit_relay("[operator]", &format!("[pass-through]\nzone = \"{DIRECT}\"\n\n[operator]"));
    let table = format!(
        "[pass-through]\ncustomer-names = [\"{CUSTOMER}\"]\noperator-names = [\"{}\"]\ncertificate = \"{}\"\n\
         private-key = \"{}\"\n\n[admin]",
        operator_name(),
        text(&chain),
        text(&key),
    );
    world.edit_agent("[admin]", &table);
    world
}

/// How a client speaks.
#[derive(Clone)]
pub(super) struct Speaks {
    /// Which versions of TLS.
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    /// Which protocols it offers.
    pub(super) protocols: Vec<&'static [u8]>,
    /// Whether it says which name it wants.
    pub(super) sni: bool,
}

impl Speaks {
    pub(super) fn http1() -> Self {
        Self { versions: vec![&TLS13, &TLS12], protocols: vec![b"http/1.1"], sni: true }
    }

    pub(super) fn http2() -> Self {
        Self { protocols: vec![b"h2"], ..Self::http1() }
    }
}

/// The configuration of such a client, which trusts the world's authority.
pub(super) fn client_config(world: &World, speaks: &Speaks) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&world.authority.file).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&speaks.versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = speaks.protocols.iter().map(|name| name.to_vec()).collect();
    config.enable_sni = speaks.sni;
    Arc::new(config)
}

/// A TLS connection for a name, by way of the relay's port.
pub(super) async fn connect(
    site: &Running,
    name: &str,
    speaks: &Speaks,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(("127.0.0.1", site.world.port)).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(client_config(&site.world, speaks)).connect(name, socket).await
}
