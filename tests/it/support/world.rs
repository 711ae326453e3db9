//! A whole site in a temporary folder: authority, relay and agent configurations, and the processes on demand.

use std::path::{Path, PathBuf};

use super::client::Client;
use super::free_port;
use super::pki::{Authority, write_private};
use super::process::{AGENT, Daemon, Outcome, RELAY, run, run_with_input, text};

/// The site's name in every test.
pub(crate) const SITE: &str = "acme";
/// The relay's zone: names below it lead to loopback.
pub(crate) const ZONE: &str = "relay.localhost";

/// The site's host in host form.
pub(crate) fn host() -> String {
    format!("{SITE}.{ZONE}")
}

/// The operator's zone for names whose TLS ends at the agent.
pub(crate) const DIRECT: &str = "direct.relay.localhost";
/// A name of the customer's own, for the same.
pub(crate) const CUSTOMER: &str = "jira.acme.example";

/// The site's name in the operator's zone.
pub(crate) fn direct_host() -> String {
    format!("{SITE}.{DIRECT}")
}

/// Files and ports of one relay and one agent.
pub(crate) struct World {
    folder: tempfile::TempDir,
    /// Who signed the relay's certificate.
    pub(crate) authority: Authority,
    /// The relay's public port.
    pub(crate) port: u16,
    /// The relay's operator port.
    pub(crate) operator_port: u16,
    /// The relay's configuration file.
    pub(crate) relay_config: PathBuf,
    /// The agent's configuration file.
    pub(crate) agent_config: PathBuf,
}

impl World {
    /// Writes both configurations; the agent's upstream `jira` is at `upstream`, with a policy that reads as the
    /// service `reader`, comments as it too, and refuses all else.
    pub(crate) fn new(upstream: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let authority = Authority::new(at);
        let (chain, key) = authority.issue("relay", &[ZONE, &format!("*.{ZONE}"), "localhost", "127.0.0.1"]);
        let (port, operator_port) = (free_port(), free_port());
        let relay_config = at.join("relay.toml");
        let relay = format!(
            r#"[server]
listen = "127.0.0.1:{port}"
certificate = "{chain}"
private-key = "{key}"
zone = "{ZONE}"
public-url = "wss://localhost:{port}"

[operator]
listen = "127.0.0.1:{operator_port}"

[admin]
socket = "{at}/relay.sock"

[state]
directory = "{at}/relay-state"
"#,
            chain = text(&chain),
            key = text(&key),
            at = text(at),
        );
        std::fs::write(&relay_config, relay).unwrap();
        write_private(&at.join("reader.pat"), "pat-reader\n");
        let agent_config = at.join("agent.toml");
        let agent = format!(
            r#"[relay]
url = "wss://localhost:{port}"
ca-file = "{ca}"

[state]
directory = "{at}/agent-state"

[store]
key = {{ file = "{at}/store.key" }}

[admin]
socket = "{at}/agent.sock"

[upstream.jira]
url = "{upstream}"
base-url = "https://jira.example/"

[service.reader]
user = "reader"
pat = {{ file = "{at}/reader.pat" }}

[[policy.rule]]
allow = "GET /rest/api/2/**"
why = "Reading"
as = {{ service = "reader" }}

[[policy.rule]]
allow = "POST /rest/api/2/issue/*/comment"
why = "Commenting"
as = {{ service = "reader" }}
"#,
            ca = text(&authority.file),
            at = text(at),
        );
        std::fs::write(&agent_config, agent).unwrap();
        Self { folder, authority, port, operator_port, relay_config, agent_config }
    }

    /// Lets the site's TLS end at its agent, for the operator's name and the customer's, with one certificate. The
    /// customer's name must be added at the running relay.
    pub(crate) fn pass_through(&self) {
        let (chain, key) = self.authority.issue("direct", &[&direct_host(), CUSTOMER]);
        self.edit_relay("[operator]", &format!("[pass-through]\nzone = \"{DIRECT}\"\n\n[operator]"));
        let table = format!(
            "[pass-through]\ncustomer-names = [\"{CUSTOMER}\"]\noperator-names = [\"{}\"]\n\
             certificate = \"{}\"\nprivate-key = \"{}\"\n\n[admin]",
            direct_host(),
            text(&chain),
            text(&key),
        );
        self.edit_agent("[admin]", &table);
    }

    /// Its folder, gone with it.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A caller's client without a key.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.authority.file, self.port)
    }

    /// Replaces text in the agent's configuration.
    pub(crate) fn edit_agent(&self, from: &str, to: &str) {
        let old = std::fs::read_to_string(&self.agent_config).unwrap();
        assert!(old.contains(from), "“{from}” is in the file:\n{old}");
        // Whole at once, as editors do.
        let fresh = self.path().join("agent.toml.new");
        std::fs::write(&fresh, old.replace(from, to)).unwrap();
        std::fs::rename(&fresh, &self.agent_config).unwrap();
    }

    /// Replaces text in the relay's configuration; for before its start.
    pub(crate) fn edit_relay(&self, from: &str, to: &str) {
        let old = std::fs::read_to_string(&self.relay_config).unwrap();
        assert!(old.contains(from), "“{from}” is in the file:\n{old}");
        std::fs::write(&self.relay_config, old.replace(from, to)).unwrap();
    }

    /// Runs an agent command.
    pub(crate) async fn agent(&self, arguments: &[&str]) -> Outcome {
        run(AGENT, &[&["--config", text(&self.agent_config)], arguments].concat()).await
    }

    /// Runs an agent command with standard input.
    pub(crate) async fn agent_with_input(&self, arguments: &[&str], input: &str) -> Outcome {
        run_with_input(AGENT, &[&["--config", text(&self.agent_config)], arguments].concat(), input).await
    }

    /// Runs a relay command.
    pub(crate) async fn relay(&self, arguments: &[&str]) -> Outcome {
        run(RELAY, &[&["--config", text(&self.relay_config)], arguments].concat()).await
    }

    /// Starts the agent's daemon.
    pub(crate) fn start_agent(&self) -> Daemon {
        Daemon::start(AGENT, &["--config", text(&self.agent_config), "run"])
    }

    /// Starts the relay's daemon.
    pub(crate) fn start_relay(&self) -> Daemon {
        Daemon::start(RELAY, &["--config", text(&self.relay_config), "run"])
    }
}

/// Relay and agent running, the agent enrolled and connected, one caller with a key.
pub(crate) struct Running {
    /// Their files and ports.
    pub(crate) world: World,
    /// The relay's daemon.
    pub(crate) relay: Daemon,
    /// The agent's daemon.
    pub(crate) agent: Daemon,
    /// The caller's client, with its key.
    pub(crate) client: Client,
    /// The caller's key.
    pub(crate) key: String,
}

impl Running {
    /// Starts all of it, by the commands an operator and an administrator would use.
    pub(crate) async fn start(world: World) -> Self {
        let mut relay = world.start_relay();
        relay.line("the relay is ready").await;
        let token = world.token().await;
        let enrolled = world.agent_with_input(&["enrol"], &format!("{token}\n")).await;
        assert_eq!(enrolled.code, 0, "{enrolled:?}\n{}", relay.log());
        let mut agent = world.start_agent();
        agent.line("connected to the relay").await;
        let key = world.agent(&["caller", "add", "bot", "--json"]).await.json();
        let key = key["key"].as_str().unwrap().to_owned();
        let client = world.client().with_key(&key);
        Self { world, relay, agent, client, key }
    }
}

impl World {
    /// A fresh enrolment token; makes the site if it is not there. The relay must be running.
    pub(crate) async fn token(&self) -> String {
        let added = self.relay(&["site", "add", SITE]).await;
        assert!(added.code == 0 || added.err.contains("already"), "{added:?}");
        let enrol = self.relay(&["site", "enrol", SITE, "--json"]).await.json();
        enrol["token"].as_str().unwrap_or_else(|| panic!("a token in {enrol}")).to_owned()
    }

    /// What the agent's `status --json` says.
    pub(crate) async fn status(&self) -> serde_json::Value {
        self.agent(&["status", "--json"]).await.json()
    }
}
