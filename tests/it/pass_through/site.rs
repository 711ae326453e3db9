//! A site with names that pass, and clients for them.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::world::{CUSTOMER, Running, SITE, World};

/// A site by both names: its agent and its relay run, and the customer's name is known.
pub(super) async fn start(upstream: &str) -> Running {
    start_with(upstream, |_| {}).await
}

/// The same with changes to the files.
pub(super) async fn start_with(upstream: &str, change: impl FnOnce(&World)) -> Running {
    let world = World::new(upstream);
    world.pass_through();
    change(&world);
    let site = Running::start(world).await;
    let added = site.world.relay(&["site", "name", "add", SITE, CUSTOMER]).await;
    assert_eq!(added.code, 0, "{added:?}");
    site
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
fn client_config(world: &World, speaks: &Speaks) -> Arc<ClientConfig> {
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
