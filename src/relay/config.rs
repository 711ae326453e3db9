//! `relay.toml`: every key, its default and its bounds. `packaging/relay.example.toml` shows them all.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::host_name::HostName;
use crate::common::limits::ByteSize;
use crate::common::report::{Exit, Report};
use crate::config::diagnose::{Located, Source};
use crate::config::table::Table;
use crate::config::values::{ListenAddress, Network, WssUrl};
use crate::net::http_server;
use crate::net::tunnel::Settings;
use crate::relay::egress;
use crate::relay::ingress::Limits;
use crate::relay::ingress::route::Zone;
use crate::relay::registry::Waiting;
use crate::relay::tenancy;
use crate::telemetry::logging::Format;

/// The whole file.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where callers and agents come in.
    pub server: Server,
    /// Where operators' machines look.
    pub operator: ListenAddress,
    /// The socket of the command line.
    pub admin_socket: PathBuf,
    /// Where the store and the relay's key lie.
    pub state: PathBuf,
    /// What is logged.
    pub log: Log,
    /// Bounds of connections and calls.
    pub limits: Limits,
    /// Bounds of a site.
    pub tenancy: tenancy::Limits,
    /// The agents' way out.
    pub egress: egress::Settings,
    /// How calls wait for an agent.
    pub waiting: Waiting,
    /// Bounds of a tunnel.
    pub tunnel: Settings,
    /// `[pass-through] zone`: sites are also `{site}.{zone}`, with TLS that the relay does not end.
    pub pass_through_zone: Option<HostName>,
    /// How long calls may go on after SIGTERM.
    pub drain_time: Duration,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Addresses to listen at.
    pub listen: Vec<ListenAddress>,
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with its key.
    pub private_key: PathBuf,
    /// Sites are `{site}.{zone}`.
    pub zone: Zone,
    /// What agents dial; goes into enrolment tokens.
    pub public_url: WssUrl,
    /// Worker threads; one means a runtime without hand-over between threads.
    pub threads: usize,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// A level, or targets and levels.
    pub filter: String,
    /// How lines look.
    pub format: Format,
}

impl Config {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, Report> {
        crate::config::load(path, read)
    }

    /// The same from a text.
    pub fn parse(name: &str, text: &str) -> Result<Self, Report> {
        crate::config::parse(name, text, read)
    }

    /// The store's file.
    pub fn store_file(&self) -> PathBuf {
        self.state.join("relay.db")
    }

    /// The file of the relay's identity.
    pub fn identity_file(&self) -> PathBuf {
        self.state.join("identity.key")
    }

    /// Makes the state folder, the owner's alone, if it is not there.
    pub fn make_state_folder(&self) -> Result<(), Report> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.state).map_err(|error| {
            Report::new(
                Exit::CannotCreate,
                format!("the state folder {} can't be made: {error}", self.state.display()),
            )
            .with_remedy("Make it by hand for the relay's user, or name another one as [state] directory.")
        })
    }
}

fn read<'d>(top: &mut Table<'d>, source: &'d Source<'d>) -> Option<Config> {
    let server = read_server(&mut top.table("server"), source);
    let operator = top.table("operator").or("listen", ListenAddress(([127, 0, 0, 1], 9180).into()));
    let admin_socket = top.table("admin").or("socket", PathBuf::from("/run/outhaul-relay/admin.sock"));
    let state = top.table("state").or("directory", PathBuf::from("/var/lib/outhaul-relay"));
    let log = read_log(&mut top.table("log"), source);
    if top.has("agents") {
        top.table("agents").retired(
            "allow-unbound",
            "remove it: where TLS is opened on the way, agent and relay run a TLS session of their own inside",
        );
    }
    let mut table = top.table("limits");
    let limits = read_limits(&mut table);
    let tenancy = read_tenancy(&mut table);
    let waiting = Waiting {
        seen_within: table.duration("wait-if-seen-within", seconds(0)..=minutes(5), seconds(10)),
        at_most: table.duration("wait-time", seconds(0)..=seconds(60), seconds(3)),
        callers: count(table.integer("waiting-calls", 1..=1_000_000, 1000)),
    };
    let tunnel = Settings {
        max_streams_out: narrow(table.integer("tunnel-streams", 1..=65_536, 1024)),
        // Agents open streams only for egress.
        max_streams_in: 32,
        window_budget: table
            .size("tunnel-buffer", ByteSize::mib(1)..=ByteSize::mib(4096), ByteSize::mib(64))
            .0,
        ..Settings::default()
    };
    let egress = read_egress(&mut top.table("egress"));
    let drain_time = table.duration("drain-time", seconds(0)..=minutes(60), seconds(30));
    drop(table);
    let pass_through_zone = pass_through_zone(top, server.as_ref());
    Some(Config {
        server: server?,
        operator,
        admin_socket,
        state,
        log: log?,
        limits,
        tenancy,
        egress,
        waiting,
        tunnel,
        pass_through_zone,
        drain_time,
    })
}

/// The relay itself must not be one of the names in it.
fn pass_through_zone(top: &mut Table<'_>, server: Option<&Server>) -> Option<HostName> {
    let mut table = top.table("pass-through");
    let Located { value, at } = table.optional::<Located<HostName>>("zone")?;
    if let Some(server) = server {
        let zone = server.zone.to_string();
        let within = |host: &str| {
            host.strip_suffix(value.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if within(&zone) || within(&server.public_url.host) {
            table.source().fault(
                at,
                "the relay itself is in this zone, so that its own TLS would not be ended",
                format!("write one beside or below the zone of [server], as in \"direct.{zone}\""),
            );
        }
    }
    Some(value)
}

fn read_server<'d>(table: &mut Table<'d>, source: &'d Source<'d>) -> Option<Server> {
    let listen: Option<Located<Vec<ListenAddress>>> = table.optional("listen");
    let listen = match listen {
        Some(Located { value, at }) if value.is_empty() || value.len() > 64 => {
            source.fault(at, "listen names no address, or more than 64", "write for example \"[::]:443\"");
            None
        }
        Some(Located { value, .. }) => Some(value),
        None => Some(vec![ListenAddress((std::net::Ipv6Addr::UNSPECIFIED, 443).into())]),
    };
    let certificate = table.required("certificate", "\"/etc/outhaul/relay.pem\"");
    let private_key = table.required("private-key", "\"/etc/outhaul/relay.key\"");
    let zone: Option<Zone> = table.required("zone", "\"relay.example.com\"");
    let public_url: Option<WssUrl> = table.optional("public-url");
    let public_url =
        public_url.or_else(|| zone.as_ref().map(|zone| WssUrl { host: zone.to_string(), port: 443 }));
    let threads = table.integer("threads", 1..=1024, default_threads());
    Some(Server {
        listen: listen?,
        certificate: certificate?,
        private_key: private_key?,
        zone: zone?,
        public_url: public_url?,
        threads: count(threads),
    })
}

fn read_log<'d>(table: &mut Table<'d>, source: &'d Source<'d>) -> Option<Log> {
    let filter = table.optional::<Located<String>>("filter");
    if let Some(Located { value, at }) = &filter
        && let Err(error) = tracing_subscriber::EnvFilter::try_new(value)
    {
        source.fault(*at, error.to_string(), "write a level, as in \"info\", or \"outhaul=debug,info\"");
    }
    let format = match table.optional::<Located<String>>("format") {
        None => Format::Text,
        Some(Located { value, .. }) if value == "text" => Format::Text,
        Some(Located { value, .. }) if value == "json" => Format::Json,
        Some(Located { at, .. }) => {
            source.fault(at, "this is no format of the log", "write \"text\" or \"json\"");
            return None;
        }
    };
    Some(Log { filter: filter.map_or_else(|| "info".to_owned(), |filter| filter.value), format })
}

fn read_limits(table: &mut Table<'_>) -> Limits {
    Limits {
        connections: count(table.integer("connections", 16..=10_000_000, 20_000)),
        connections_per_address: narrow(table.integer("connections-per-address", 1..=10_000_000, 1024)),
        tls_handshake_time: table.duration("tls-handshake-time", seconds(1)..=minutes(2), seconds(10)),
        agent_handshakes: count(table.integer("agent-handshakes", 1..=100_000, 512)),
        agent_handshake_time: table.duration("agent-handshake-time", seconds(1)..=minutes(2), seconds(15)),
        http: http_server::Limits {
            head_time: table.duration("head-time", seconds(1)..=minutes(5), seconds(20)),
            head_size: table
                .size("head-size", ByteSize::kib(8)..=ByteSize::kib(64), ByteSize::kib(48))
                .as_usize(),
            head_fields: count(table.integer("head-fields", 16..=1000, 100)),
            answer_idle_time: table.duration("answer-idle-time", seconds(1)..=minutes(60), minutes(2)),
            connection_idle_time: table.duration(
                "connection-idle-time",
                seconds(1)..=minutes(60),
                minutes(5),
            ),
            http2_streams: narrow(table.integer("http2-streams", 1..=10_000, 128)),
            http2_resets: count(table.integer("http2-resets", 1..=10_000, 64)),
            ..http_server::Limits::default()
        },
        body_size: table.size("body-size", ByteSize(0)..=ByteSize(1 << 50), ByteSize::mib(1024)),
        body_idle_time: table.duration("body-idle-time", seconds(1)..=minutes(60), seconds(30)),
        pass_through_idle_time: table.duration(
            "pass-through-idle-time",
            seconds(10)..=minutes(60),
            minutes(5),
        ),
        first_byte_time: table.duration("first-byte-time", seconds(1)..=minutes(60), minutes(3)),
    }
}

fn read_tenancy(table: &mut Table<'_>) -> tenancy::Limits {
    let calls_at_once = narrow(table.integer("site-calls-at-once", 1..=1_000_000, 1024));
    let rate = table.integer("site-calls-a-second", 1..=1_000_000, 20_000);
    let burst = table.integer("site-burst", 1..=1_000_000, rate);
    let positive = |number: u64| NonZeroU32::new(narrow(number)).unwrap_or(NonZeroU32::MIN);
    tenancy::Limits {
        calls_at_once,
        calls_a_second: positive(rate),
        burst: positive(burst),
        connections_at_once: narrow(table.integer("site-connections-at-once", 1..=1_000_000, 512)),
        connections_a_second: positive(table.integer("site-connections-a-second", 1..=1_000_000, 500)),
    }
}

fn read_egress(table: &mut Table<'_>) -> egress::Settings {
    let also: Vec<Network> = table.or("also-networks", Vec::new());
    let bytes = ByteSize::kib(64)..=ByteSize(1 << 50);
    egress::Settings {
        allow: table.or("allow", Vec::new()),
        also_networks: also.into_iter().map(|network| network.0).collect(),
        connections: narrow(table.integer("connections", 1..=100_000, 1024)),
        site_connections: narrow(table.integer("site-connections", 1..=10_000, 64)),
        site_connections_a_second: narrow(table.integer("site-connections-a-second", 1..=10_000, 10)),
        site_bytes_a_second: table.size("site-bytes-a-second", bytes.clone(), ByteSize::mib(8)),
        site_bytes_a_day: table.size("site-bytes-a-day", bytes, ByteSize::mib(4 << 10)),
        connect_time: table.duration("connect-time", seconds(1)..=minutes(1), seconds(10)),
        idle_time: table.duration("idle-time", seconds(1)..=minutes(60), minutes(2)),
        life_time: table.duration("life-time", minutes(1)..=minutes(24 * 60), minutes(60)),
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Handing a call from thread to thread costs about as much as relaying it, so a second core is better left to the
/// rest of a small host.
fn default_threads() -> u64 {
    match std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
        1 | 2 => 1,
        cores => cores.min(1024) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../packaging/relay.example.toml");

    #[test]
    fn the_example_shows_every_key_with_its_default() {
        let example =
            Config::parse("relay.example.toml", EXAMPLE).unwrap_or_else(|report| panic!("{report}"));
        // What stands behind `# ` and a key is a default: with all of them in force nothing may change.
        let whole: String = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|line| line.contains(" = ")).unwrap_or(line))
            .filter(|line| !line.starts_with("threads"))
            .fold(String::new(), |text, line| text + line + "\n");
        let whole = Config::parse("uncommented", &whole).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(format!("{example:?}"), format!("{whole:?}"));
        // And every key this file reads is in it.
        let read = include_str!("config.rs").split("#[cfg(test)]").next().unwrap();
        for call in [".integer(", ".size(", ".duration(", ".or(", ".optional(", ".required("] {
            for rest in read.split(call).skip(1) {
                let Some(key) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
                else {
                    continue;
                };
                assert!(EXAMPLE.contains(&format!("{key} = ")), "{key} is not in the example");
            }
        }
    }

    #[test]
    fn faults_are_shown_all_at_once() {
        let text = "[server]\nlisten = []\nzone = \"Bad_zone\"\nprivate-key = \"relative\"\n\
                    [log]\nfilter = \"a=b=c\"\nformat = \"xml\"\n[limits]\nhead-size = \"1 B\"\nnothing = 1\n";
        let report = Config::parse("relay.toml", text).unwrap_err();
        let shown = report.to_string();
        assert_eq!(report.exit(), Exit::Config);
        for part in [
            "no address",
            "Bad_zone",
            "absolute path",
            "lacks certificate",
            "head-size is too small",
            "unknown key nothing",
            "\"text\" or \"json\"",
        ] {
            assert!(shown.contains(part), "{part} in:\n{shown}");
        }
    }

    #[test]
    fn the_public_url_follows_the_zone() {
        let text = "[server]\ncertificate = \"/c\"\nprivate-key = \"/k\"\nzone = \"relay.example.com\"\n";
        let config = Config::parse("relay.toml", text).unwrap();
        assert_eq!(config.server.public_url.to_string(), "wss://relay.example.com");
        assert_eq!(config.server.listen, ["[::]:443".parse().unwrap()]);
    }
}
