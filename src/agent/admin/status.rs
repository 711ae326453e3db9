//! What `outhaul-agent status` shows: one definition for the daemon that fills it and the command that prints it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::certificates;
pub use super::issuers::IssuerStatus;
use super::pass_through::PassThroughStatus;
use crate::agent::acme::CertificatesReport;
use crate::common::limits::ByteSize;

/// The whole picture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// When the process started, RFC 3339.
    pub started: String,
    /// Its process id.
    pub pid: u32,
    /// What keeps its memory to itself.
    #[serde(default)]
    pub process: ProcessStatus,
    /// Whether every call is refused by the kill switch.
    pub paused: bool,
    /// Calls under way now.
    pub calls: u64,
    /// The configuration file.
    pub config: ConfigStatus,
    /// The way out.
    pub relay: RelayStatus,
    /// The way to hosts on the internet.
    #[serde(default)]
    pub egress: EgressStatus,
    /// The names whose callers' TLS ends here.
    #[serde(default)]
    pub pass_through: PassThroughStatus,
    /// The applications.
    pub upstreams: Vec<UpstreamStatus>,
    /// The rules.
    pub policy: PolicyStatus,
    /// How many callers have a key.
    pub callers: usize,
    /// Whose tokens are taken.
    #[serde(default)]
    pub issuers: Vec<IssuerStatus>,
    /// The calls that are remembered by their `Idempotency-Key`.
    #[serde(default)]
    pub idempotency: IdempotencyStatus,
    /// What the agent keeps.
    #[serde(default)]
    pub store: StoreStatus,
    /// What it records.
    #[serde(default)]
    pub audit: AuditStatus,
    /// The certificates by ACME, where any are ordered.
    #[serde(default)]
    pub certificates: Option<CertificatesReport>,
}

/// About the audit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AuditStatus {
    /// The number of the last record on disk.
    pub number: u64,
    /// Bytes of records that wait to be written.
    pub waiting_bytes: usize,
    /// Why no record can be written now.
    pub error: Option<String>,
    /// How many records were lost since then.
    pub lost: u64,
    /// The head that was shown to relay and journal last, as `audit verify --anchor` takes it.
    pub anchor: Option<String>,
}

/// About the process's memory, as the kernel tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// No core file is written.
    pub no_core_file: bool,
    /// No core goes to a collecting program either, and other processes of its user can't read its memory.
    pub closed: bool,
}

/// About the store.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Whether secrets are still being sealed anew after a change of keys.
    pub resealing: bool,
    /// Whether its key comes from an environment variable, which others on the machine can read.
    pub key_exposed: bool,
}

/// About the configuration file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Its path.
    pub file: String,
    /// When what is in force was read, RFC 3339.
    pub loaded: String,
    /// Why the newest state of the file is not in force.
    pub error: Option<String>,
    /// Keys that were changed in the file and take effect only after a restart.
    pub restart_needed: Vec<String>,
}

/// About the relay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RelayStatus {
    /// Its address.
    pub url: String,
    /// Which site this agent serves.
    pub site: Option<String>,
    /// Which agent this is.
    pub agent: Option<String>,
    /// The connections to it.
    pub tunnels: Vec<TunnelStatus>,
}

/// About one tunnel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// Which one, from 0.
    pub slot: u32,
    /// Whether calls can come in.
    pub connected: bool,
    /// Connected since, RFC 3339.
    pub since: Option<String>,
    /// `active` or `standby`, as the relay says.
    pub role: Option<String>,
    /// `direct`: bound to the TLS connection. `inner-tls`: something opens that one, and this tunnel runs in a TLS
    /// session of its own inside.
    pub binding: Option<String>,
    /// The certificate that the agent was shown on the TLS connection.
    pub outer: Option<OuterStatus>,
    /// Milliseconds there and back.
    pub round_trip_ms: Option<f64>,
    /// Streams open now.
    pub streams: u32,
    /// Why it is not connected, or what the last failure was.
    pub error: Option<String>,
    /// Seconds until the next try.
    pub next_try_seconds: Option<u64>,
    /// How many connections of this tunnel were lost since the agent started.
    #[serde(default)]
    pub losses: u64,
    /// When and why the last one was.
    #[serde(default)]
    pub last_loss: Option<String>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OuterStatus {
    /// Whom it names.
    pub subject: String,
    /// Whose it is.
    pub issuer: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub sha256: String,
}

/// About the way to hosts on the internet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EgressStatus {
    /// `direct`, `relay` or `proxy`.
    pub way: String,
    /// Connections open now.
    pub connections: u32,
    /// Bytes both ways since midnight (UTC).
    pub bytes_today: u64,
    /// Hosts whose last connection did not come to be.
    pub unreached: Vec<UnreachedStatus>,
}

/// A host that was not reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnreachedStatus {
    /// Its name and port.
    pub host: String,
    /// When it was tried last, RFC 3339.
    pub since: String,
    /// Why not, and what to do.
    pub why: String,
}

/// About one application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Its name in the configuration.
    pub name: String,
    /// What it calls itself.
    pub base_url: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Each node.
    pub nodes: Vec<NodeStatus>,
}

/// About one node of an application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Where it is.
    pub url: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Why it is not up.
    pub detail: Option<String>,
}

/// About the policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// How many rules are in force.
    pub rules: usize,
    /// How many rules deny.
    pub denials: usize,
    /// How many of the rules let a caller act as a person on the relay's word alone.
    pub accept_relay_trust: usize,
    /// Tells this policy from another, for `policy explain`.
    #[serde(default)]
    pub digest: String,
}

/// About calls with an `Idempotency-Key`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct IdempotencyStatus {
    /// How many are remembered.
    pub keys: usize,
    /// How many may be.
    pub max_keys: usize,
    /// Bytes of their answers that are kept.
    pub answer_bytes: u64,
    /// How many may be.
    pub max_answer_bytes: u64,
}

impl Status {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |words: std::fmt::Arguments<'_>| {
            let _ = text.write_fmt(words);
            text.push('\n');
        };
        line(format_args!("outhaul-agent {} since {} (pid {})", self.version, self.started, self.pid));
        if self.paused {
            line(format_args!("PAUSED: every call is refused. `outhaul-agent resume` lets them pass again."));
        }
        let relay = &self.relay;
        match (&relay.site, &relay.agent) {
            (Some(site), Some(agent)) => line(format_args!("site {site}, agent {agent}")),
            _ => line(format_args!("not enrolled")),
        }
        line(format_args!("\nRelay {}", relay.url));
        for tunnel in &relay.tunnels {
            line(format_args!("  tunnel {}  {}", tunnel.slot, tunnel.text()));
        }
        if let Some(tunnel) = relay.tunnels.iter().find(|tunnel| tunnel.is_inspected()) {
            line(format_args!(
                "  TLS IS INSPECTED: something between agent and relay opens the TLS connection. It sees that agent and \
                 relay talk,\n  when and how much; what they say goes through a TLS session inside, which it can't open."
            ));
            if let Some(outer) = &tunnel.outer {
                line(format_args!("    certificate  {}", outer.subject));
                line(format_args!("    issued by    {}", outer.issuer));
                line(format_args!("    SHA-256      {}", outer.sha256));
            }
        }
        for passed in self.pass_through.lines() {
            line(format_args!("{passed}"));
        }
        line(format_args!("\nUpstreams"));
        for upstream in &self.upstreams {
            line(format_args!("  {}  {}  {}", upstream.name, upstream.health, upstream.base_url));
            for node in &upstream.nodes {
                let detail = node.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
                line(format_args!("    {}  {}{detail}", node.url, node.health));
            }
        }
        let (config, calls) = (&self.config, self.calls);
        let PolicyStatus { rules, denials, accept_relay_trust, digest: _ } = &self.policy;
        line(format_args!("\nPolicy   {rules} rules, {denials} that deny, from {}", config.file));
        if *accept_relay_trust > 0 {
            line(format_args!(
                "         {accept_relay_trust} accept the relay's word for who acts as a person"
            ));
        }
        line(format_args!("         in force since {}", config.loaded));
        line(format_args!("Callers  {}, {calls} calls under way", self.callers));
        for issuer in &self.issuers {
            line(format_args!("{}", issuer.text()));
        }
        let EgressStatus { way, connections, bytes_today, unreached } = &self.egress;
        line(format_args!("Egress   {way}, {connections} connections, {bytes_today} B today"));
        for UnreachedStatus { host: _, since, why } in unreached {
            line(format_args!("         NOT REACHED, {since}: {why}"));
        }
        let known = &self.idempotency;
        if known.keys > 0 {
            let bytes = (ByteSize(known.answer_bytes), ByteSize(known.max_answer_bytes));
            line(format_args!(
                "Keys     {} of {} remembered, answers of {} of {}",
                known.keys, known.max_keys, bytes.0, bytes.1
            ));
        }
        for words in self.certificates.iter().flat_map(certificates::lines) {
            line(format_args!("{words}"));
        }
        line(format_args!("Audit    {} records", self.audit.number));
        if let Some(error) = &self.audit.error {
            let lost = self.audit.lost;
            line(format_args!(
                "\nNO RECORD CAN BE WRITTEN, so calls are refused as [audit] when-unavailable says: {error}\n\
                 {lost} records are lost so far."
            ));
        }
        if self.store.resealing {
            line(format_args!("Store    its secrets are being sealed anew after a change of keys"));
        }
        if self.store.key_exposed {
            line(format_args!(
                "\nTHE STORE'S KEY COMES FROM THE ENVIRONMENT, which is for development only: others on this machine \
                 can read it."
            ));
        }
        if self.process.no_core_file && self.process.closed {
            line(format_args!("Process  no core dumps, memory closed to other processes of its user"));
        } else {
            line(format_args!(
                "\nMEMORY NOT CLOSED: core dumps, or other processes of its user, may show the agent's secrets. A \
                 sandbox seems to forbid setrlimit or prctl."
            ));
        }
        if let Some(error) = &config.error {
            line(format_args!(
                "\nTHE CONFIGURATION FILE IS WRONG; what was read before stays in force.\n{error}"
            ));
        }
        if !config.restart_needed.is_empty() {
            let keys = config.restart_needed.join(", ");
            line(format_args!(
                "\nRESTART NEEDED for changes to {keys}: run `systemctl restart outhaul-agent`."
            ));
        }
        text
    }
}

impl TunnelStatus {
    /// Whether something opens its TLS connection.
    pub fn is_inspected(&self) -> bool {
        self.connected && self.binding.as_deref() == Some("inner-tls")
    }

    fn text(&self) -> String {
        if !self.connected {
            let error = self.error.as_deref().unwrap_or("connecting");
            let next = self.next_try_seconds.map(|seconds| format!("; next try in {seconds} s"));
            return format!("not connected: {error}{}", next.unwrap_or_default());
        }
        let mut text = "connected".to_owned();
        if let Some(since) = &self.since {
            let _ = write!(text, " since {since}");
        }
        if let Some(role) = &self.role {
            let _ = write!(text, ", {role}");
        }
        if self.is_inspected() {
            text.push_str(", INNER TLS");
        } else if self.binding.is_some() {
            text.push_str(", bound to its TLS connection");
        }
        if let Some(round_trip) = self.round_trip_ms {
            let _ = write!(text, ", round trip {round_trip:.1} ms");
        }
        let _ = write!(text, ", {} streams", self.streams);
        if let Some(last) = &self.last_loss {
            let times = if self.losses == 1 { "once".to_owned() } else { format!("{} times", self.losses) };
            let _ = write!(text, "\n            lost {times} before; last at {last}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        let tunnel = |slot, connected, binding: Option<&str>| TunnelStatus {
            slot,
            connected,
            since: Some("2026-01-02T03:04:05Z".to_owned()),
            role: Some("active".to_owned()),
            binding: binding.map(str::to_owned),
            outer: binding.map(|_| OuterStatus {
                subject: "CN=relay.example.com".to_owned(),
                issuer: "CN=Corp inspection".to_owned(),
                sha256: "ab".repeat(32),
            }),
            round_trip_ms: Some(1.25),
            streams: 3,
            error: (!connected).then(|| "connection refused".to_owned()),
            next_try_seconds: Some(7),
            losses: 2,
            last_loss: Some("2026-01-02T03:04:05Z, cut off".to_owned()),
        };
        Status {
            version: "0.1.0".to_owned(),
            started: "2026-01-02T03:04:04Z".to_owned(),
            pid: 7,
            process: ProcessStatus { no_core_file: true, closed: false },
            paused: true,
            calls: 3,
            config: ConfigStatus {
                file: "/etc/outhaul/agent.toml".to_owned(),
                loaded: "2026-01-02T03:04:04Z".to_owned(),
                error: Some("line 3: unknown key".to_owned()),
                restart_needed: vec!["relay.url".to_owned()],
            },
            relay: RelayStatus {
                url: "wss://relay.example.com".to_owned(),
                site: Some("acme".to_owned()),
                agent: Some("x".to_owned()),
                tunnels: vec![tunnel(0, true, Some("inner-tls")), tunnel(1, false, None)],
            },
            egress: EgressStatus {
                way: "relay".to_owned(),
                connections: 2,
                bytes_today: 17,
                unreached: vec![UnreachedStatus {
                    host: "login.example.com:443".to_owned(),
                    since: "2026-01-02T03:04:05Z".to_owned(),
                    why: "login.example.com:443 is not reached: it is down".to_owned(),
                }],
            },
            pass_through: PassThroughStatus::default(),
            upstreams: vec![UpstreamStatus {
                name: "jira".to_owned(),
                base_url: "https://jira.example".to_owned(),
                health: "down".to_owned(),
                nodes: vec![NodeStatus {
                    url: "http://127.0.0.1:8080".to_owned(),
                    health: "down".to_owned(),
                    detail: Some("connection refused".to_owned()),
                }],
            }],
            policy: PolicyStatus { rules: 2, denials: 1, accept_relay_trust: 3, digest: String::new() },
            callers: 1,
            issuers: vec![
                IssuerStatus {
                    name: "entra".to_owned(),
                    usable: true,
                    keys: 6,
                    age_seconds: Some(7300),
                    error: Some("no route".to_owned()),
                    ignored: vec!["key “x”: weak".to_owned()],
                    ..IssuerStatus::default()
                },
                IssuerStatus { name: "own".to_owned(), ..IssuerStatus::default() },
            ],
            idempotency: IdempotencyStatus {
                keys: 2,
                max_keys: 100,
                answer_bytes: 1500,
                max_answer_bytes: 64 << 20,
            },
            store: StoreStatus { resealing: true, key_exposed: true },
            audit: AuditStatus {
                error: Some("the disk is full".to_owned()),
                lost: 4,
                ..AuditStatus::default()
            },
            certificates: None,
        }
    }

    #[test]
    fn what_is_wrong_is_loud() {
        let text = status().text();
        for word in [
            "PAUSED",
            "TLS IS INSPECTED",
            "certificate  CN=relay.example.com",
            "issued by    CN=Corp inspection",
            "2 rules, 1 that deny",
            "3 accept the relay's word",
            "THE CONFIGURATION FILE IS WRONG",
            "RESTART NEEDED for changes to relay.url",
            "sealed anew",
            "NO RECORD CAN BE WRITTEN",
            "4 records are lost",
            "COMES FROM THE ENVIRONMENT",
            "MEMORY NOT CLOSED",
            "tunnel 0  connected since 2026-01-02T03:04:05Z, active, INNER TLS, round trip 1.2 ms, 3 streams",
            "lost 2 times before; last at 2026-01-02T03:04:05Z, cut off",
            "tunnel 1  not connected: connection refused; next try in 7 s",
            "http://127.0.0.1:8080  down (connection refused)",
            "Issuer   entra  6 keys, fetched 2 h ago",
            "they can't be fetched now: no route",
            "not used: key “x”: weak",
            "Issuer   own  NO KEYS",
            "Egress   relay, 2 connections, 17 B today",
            "NOT REACHED, 2026-01-02T03:04:05Z: login.example.com:443 is not reached: it is down",
            "Keys     2 of 100 remembered, answers of 1500 B of 64 MB",
        ] {
            assert!(text.contains(word), "{word} in\n{text}");
        }
    }

    #[test]
    fn what_is_right_is_quiet() {
        let mut status = status();
        status.paused = false;
        status.config.error = None;
        status.audit.error = None;
        status.process.closed = true;
        status.config.restart_needed.clear();
        status.relay.tunnels.truncate(1);
        status.relay.tunnels[0].binding = Some("direct".to_owned());
        let text = status.text();
        assert!(
            !text.contains("PAUSED")
                && !text.contains("INSPECTED")
                && !text.contains("RECORD CAN")
                && !text.contains("NEEDED"),
            "{text}"
        );
        assert!(text.contains("no core dumps") && !text.contains("NOT CLOSED"), "{text}");
    }
}
