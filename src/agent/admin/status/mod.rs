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
mod tests;
