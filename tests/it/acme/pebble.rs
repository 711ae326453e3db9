//! Pebble, a small ACME server made for tests: a certificate authority of its own on loopback, gone with the test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::acme::dns::NameServer;
use crate::support::client::Client;
use crate::support::pki::Authority;
use crate::support::process::{Daemon, text};
use crate::support::{eventually, free_port};

/// A running Pebble.
pub(crate) struct Pebble {
    daemon: Daemon,
    management: Client,
    folder: PathBuf,
    line: String,
    /// The URL of its directory.
    pub(crate) directory: String,
}

/// Its external accounts: key id, and HMAC key in base64url.
pub(crate) const EXTERNAL: (&str, &str) =
    ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W");

impl Pebble {
    /// Starts it. It validates at port `tls_port` of where the name server says, and proves itself to clients by a
    /// certificate of `authority`. `settings` are `PEBBLE_…=…`.
    pub(crate) async fn start(
        folder: &Path,
        authority: &Authority,
        names: &NameServer,
        tls_port: u16,
        external: bool,
        settings: &[&str],
    ) -> Self {
        let (chain, key) = authority.issue("pebble", &["localhost", "127.0.0.1"]);
        let (port, management) = (free_port(), free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": text(&chain),
            "privateKey": text(&key),
            "httpPort": free_port(),
            "tlsPort": tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": external,
            "externalAccountMACKeys": { EXTERNAL.0: EXTERNAL.1 },
        } });
        let file = folder.join("pebble.json");
        std::fs::write(&file, config.to_string()).unwrap();
        // It logs to standard output.
        let line = format!(
            "exec env {} pebble -strict -config {} -dnsserver {} >&2",
            settings.join(" "),
            text(&file),
            names.address
        );
        let mut daemon = Daemon::start("sh", &["-c", &line]);
        daemon.line("ACME directory available").await;
        let this = Self {
            daemon,
            management: Client::new(&authority.file, management),
            folder: folder.to_owned(),
            line,
            directory: format!("https://localhost:{port}/dir"),
        };
        eventually("pebble answers", Duration::from_secs(20), async || {
            this.management.get("localhost", "/roots/0").await.is_ok()
        })
        .await;
        this
    }

    /// Its root, made anew at each start, as a file.
    pub(crate) async fn root(&self) -> PathBuf {
        let answer = self.management.get("localhost", "/roots/0").await.unwrap();
        let file = self.folder.join("pebble-root.pem");
        std::fs::write(&file, &answer.body).unwrap();
        file
    }

    /// Begins anew: with another root, and no account, as it keeps everything in memory.
    pub(crate) async fn begin_anew(&mut self) {
        self.daemon.kill();
        self.daemon = Daemon::start("sh", &["-c", &self.line]);
        self.daemon.line("ACME directory available").await;
        eventually("pebble answers", Duration::from_secs(20), async || {
            self.management.get("localhost", "/roots/0").await.is_ok()
        })
        .await;
    }

    /// How many orders it has taken.
    pub(crate) fn orders(&self) -> usize {
        self.daemon.log().lines().filter(|line| line.contains("Added order ")).count()
    }

    /// All it has printed.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// Waits for a line of it.
    pub(crate) async fn line(&mut self, text: &str) -> String {
        self.daemon.line(text).await
    }
}
