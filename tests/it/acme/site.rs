//! A site whose agent gets its certificate by ACME, the authority, the name server; and what tests ask of them.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::dns::NameServer;
use super::pebble::Pebble;
use crate::support::client::Client;
use crate::support::pki::write_private;
use crate::support::process::{Daemon, text};
use crate::support::upstream::Upstream;
use crate::support::world::{Running, SITE, World};
use crate::support::{eventually, free_port};

/// The name that passes. The relay has it by its zone; the agent takes it for the customer's own, as its file says.
pub(crate) const ZONE: &str = "direct.example.test";

pub(crate) fn name() -> String {
    format!("{SITE}.{ZONE}")
}

/// All of it, running.
pub(crate) struct Site {
    pub(crate) running: Running,
    pub(crate) pebble: Pebble,
    pub(crate) names: NameServer,
    /// Where the agent's metrics are.
    pub(crate) metrics: u16,
    pub(crate) _upstream: Upstream,
}

/// What differs from the usual.
#[derive(Default)]
pub(crate) struct Differs {
    /// Pebble takes bound accounts only.
    pub(crate) external_required: bool,
    /// Pebble's `PEBBLE_…=…`.
    pub(crate) settings: &'static [&'static str],
    /// Further lines of `[pass-through.acme]`; `AT` is the folder.
    pub(crate) lines: &'static str,
    /// Where the name leads instead of to the relay.
    pub(crate) elsewhere: Option<[u8; 4]>,
}

impl Site {
    pub(crate) async fn start(differs: Differs) -> Self {
        let upstream = Upstream::start().await;
        let world = World::new(&upstream.url());
        let names = NameServer::start();
        if let Some(to) = differs.elsewhere {
            names.lead(&name(), to);
        }
        let settings = [&["PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0"], differs.settings].concat();
        let (folder, authority) = (world.path(), &world.authority);
        let external = differs.external_required;
        let pebble = Pebble::start(folder, authority, &names, world.port, external, &settings).await;
        write_private(&folder.join("hmac"), &format!("{}\n", super::pebble::EXTERNAL.1));
        world.edit_relay("[operator]", &format!("[pass-through]\nzone = \"{ZONE}\"\n\n[operator]"));
        let metrics = free_port();
        let table = format!(
            "[pass-through]\ncustomer-names = [\"{}\"]\n\n[pass-through.acme]\ndirectory = \"{}\"\ncontact = \
             [\"mailto:pki@example.test\"]\nterms-of-service-agreed = true\nca-file = \"{}\"\ncaa-identity = \
             \"pebble.example\"\nresolver = \"{}\"\n{}\n\n[metrics]\nlisten = \"127.0.0.1:{}\"\n\n[admin]",
            name(),
            pebble.directory,
            text(&authority.file),
            names.address,
            differs.lines.replace("AT", text(folder)),
            metrics,
        );
        world.edit_agent("[admin]", &table);
        let log = "[log]\nfilter = \"info,outhaul=debug\"\n\n";
        world.edit_agent("[admin]", &format!("{log}[admin]"));
        world.edit_relay("[operator]", &format!("{log}[operator]"));
        let running = Running::start(world).await;
        Self { running, pebble, names, metrics, _upstream: upstream }
    }

    /// The name's line of `certificate --json`.
    pub(crate) async fn line(&self) -> Value {
        let report = self.running.world.agent(&["certificate", "--json"]).await.json();
        report["certificates"][0].clone()
    }

    /// Waits until there is a certificate; gives its line.
    pub(crate) async fn certified(&self) -> Value {
        let shown = async || self.line().await["serial"].is_string();
        let waited = tokio::time::timeout(Duration::from_secs(60), async {
            while !shown().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        if waited.await.is_err() {
            let (agent, relay) = (self.running.agent.log(), self.running.relay.log());
            let pebble = self.pebble.log();
            panic!("no certificate within a minute\nAGENT\n{agent}\nRELAY\n{relay}\nPEBBLE\n{pebble}");
        }
        self.line().await
    }

    /// Waits until a try has failed; gives the line.
    pub(crate) async fn failed(&self) -> Value {
        eventually("a try has failed", Duration::from_secs(60), async || {
            let line = self.line().await;
            line["ended"].as_u64() > Some(0) && line["error"].is_object()
        })
        .await;
        self.line().await
    }

    /// A client of the name, which trusts the authority's root and no other.
    pub(crate) async fn client(&self) -> Client {
        Client::new(&self.pebble.root().await, self.running.world.port).with_key(&self.running.key)
    }

    /// Ends the agent in order, and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.running.agent.signal("TERM");
        self.running.agent.end().await;
        self.again().await;
    }

    /// Starts the agent anew, after it has ended.
    pub(crate) async fn again(&mut self) {
        let mut agent: Daemon = self.running.world.start_agent();
        agent.line("connected to the relay").await;
        self.running.agent = agent;
    }

    /// Comes as an authority does: offers these protocols for this name. Gives the certificate that is shown, or why
    /// none is.
    pub(crate) async fn knock(&self, name: &str, protocols: &[&[u8]]) -> Result<Vec<u8>, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots().await)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let socket = TcpStream::connect(("127.0.0.1", self.running.world.port)).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await;
        let stream = stream.map_err(|error| error.to_string())?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
    }

    async fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.pebble.root().await).unwrap()).unwrap();
        roots
    }
}
