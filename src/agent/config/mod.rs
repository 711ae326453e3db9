//! The agent's file, `agent.toml`: its keys, their defaults and bounds, and the configuration of each room.
//!
//! [`Config::load`] is the entry point: it gives a configuration in which everything that the file itself can prove
//! is proved, or a report of every fault. Whether secrets, certificates and folders are there is asked by
//! [`Config::check`], because the daemon must start without some of them.

mod acme;
mod audit;
mod check;
mod egress;
mod hints;
mod issuer;
mod oauth;
mod pages;
mod pass_through;
mod policy;
mod proxy;
mod service;
mod signed;
mod store;
mod upstream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use super::callers;
use super::credentials;
use super::credentials::fetched::ClientCredentials;
use super::idempotency;
use super::issuers;
use super::links;
use super::mapping::OAuthConfig;
use super::policy::Policy;
use super::policy::tools::suggest::Shipped;
use super::upstream as upstream_room;
use crate::common::ids::{CallerName, Provider, ServiceName, UpstreamName};
use crate::common::limits::ByteSize;
use crate::common::report::Report;
use crate::config::diagnose::{Located, Source, Span};
use crate::config::table::Table;
use crate::config::value::FromValue;
use crate::config::values::{ListenAddress, WssUrl};
use crate::telemetry::logging::Format;

pub use proxy::{Place, Proxy};

/// Where the file lies unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/outhaul/agent.toml";

/// All that the file says.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[relay]`.
    pub relay: Relay,
    /// `[state] directory`.
    pub state: PathBuf,
    /// `[store]`.
    pub store: store::Store,
    /// `[audit]`.
    pub audit: super::audit::Settings,
    /// `[egress]`.
    pub egress: super::egress::Settings,
    /// `[admin] socket`.
    pub admin_socket: PathBuf,
    /// `[metrics] listen`; off where absent.
    pub metrics: Option<ListenAddress>,
    /// `[pages]`; without it people can't link accounts themselves.
    pub pages: Option<links::Config>,
    /// `[pass-through]`: names whose callers' TLS ends here.
    pub pass_through: Option<super::pass_through::Config>,
    /// `[pass-through.acme]`: from whom their certificates come.
    pub acme: Option<super::acme::Config>,
    /// `[log]`.
    pub log: Log,
    /// `[upstream.NAME]`, in the file's order; at least one.
    pub upstreams: Vec<upstream_room::Config>,
    /// `[upstream.NAME.oauth]`: the application link at each.
    pub oauth: BTreeMap<UpstreamName, OAuthConfig>,
    /// `[service.NAME]`, with a secret that is sent as it is.
    pub services: Vec<credentials::Config>,
    /// `[service.NAME]`, with a token that is fetched.
    pub client_credentials: Vec<ClientCredentials>,
    /// `[caller.NAME]`: options only; who may call is in the callers' file.
    pub callers: BTreeMap<CallerName, callers::Options>,
    /// `[issuer.NAME]`: whose tokens are taken, in the file's order.
    pub issuers: Vec<issuers::Config>,
    /// `[idempotency]`.
    pub idempotency: idempotency::Limits,
    /// `[signed]`.
    pub signed: super::signed::Settings,
    /// `[policy]`.
    pub policy: Arc<Policy>,
}

/// How to reach the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// `url`.
    pub url: WssUrl,
    /// `proxy`: an HTTP proxy to go through, and all that belongs to it.
    pub proxy: Option<Proxy>,
    /// `ca-file`: further authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// `tunnels`: how many connections to hold.
    pub tunnels: u8,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `filter`.
    pub filter: String,
    /// `format`.
    pub format: Format,
}

impl Config {
    /// Where the admin socket is unless the file says otherwise.
    pub const DEFAULT_SOCKET: &str = "/run/outhaul-agent/admin.sock";

    /// Reads the file, or reports every fault in it.
    pub fn load(path: &Path) -> Result<Self, Report> {
        crate::config::load(path, Self::read).map_err(|report| remedy(path, report))
    }

    /// The same from a text, with a name to show for it.
    pub fn parse(name: &str, text: &str) -> Result<Self, Report> {
        crate::config::parse(name, text, Self::read)
    }

    /// Those keys by which the other one differs and that take a restart to follow; all else can be followed by
    /// a running agent.
    pub fn needs_restart(&self, other: &Self) -> Vec<String> {
        let differs = [
            ("relay", self.relay != other.relay),
            ("state.directory", self.state != other.state),
            ("store.key", self.store != other.store),
            ("admin.socket", self.admin_socket != other.admin_socket),
            ("metrics.listen", self.metrics != other.metrics),
            ("pages", self.pages != other.pages),
            ("pass-through", self.certificate_files() != other.certificate_files()),
            ("pass-through.acme", self.acme != other.acme),
            ("log", self.log != other.log),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned()).collect()
    }

    /// Names of pass-through follow the file; the certificate's files are chosen at the start.
    fn certificate_files(&self) -> Option<&super::pass_through::Files> {
        self.pass_through.as_ref()?.files.as_ref()
    }

    /// The rules of the shipped profiles, as they would count for this application if they were in use.
    pub fn shipped_rules(upstream: &UpstreamName) -> Vec<Shipped> {
        policy::profile::shipped(upstream)
    }

    /// The proxy on the way to an application: none, unless its table says `via-proxy`.
    pub fn proxy_to(
        &self,
        upstream: &upstream_room::Config,
    ) -> Result<Option<crate::net::dial::Proxy>, Report> {
        let proxy = self.relay.proxy.as_ref().filter(|_| upstream.via_proxy);
        Ok(proxy.map(|proxy| proxy.ready(self.relay.ca_file.as_deref())).transpose()?.flatten())
    }

    /// The options of a caller, whether the file names it or not.
    pub fn caller(&self, name: &CallerName) -> callers::Options {
        self.callers.get(name).cloned().unwrap_or_default()
    }

    fn read<'d>(top: &mut Table<'d>, source: &'d Source<'d>) -> Option<Self> {
        let relay = relay(top.table("relay"));
        let state = top.table("state").or("directory", PathBuf::from("/var/lib/outhaul-agent"));
        let store = store::store(top.table("store"));
        let audit = audit::audit(top.table("audit"));
        let has_proxy = relay.as_ref().is_some_and(|relay| relay.proxy.is_some());
        let egress = egress::egress(top.table("egress"), has_proxy);
        let admin_socket = top.table("admin").or("socket", PathBuf::from(Self::DEFAULT_SOCKET));
        let metrics = top.table("metrics").optional("listen");
        let pages = pages::pages(top);
        let (pass_through, acme) = pass_through::pass_through(top, relay.as_ref()).unzip();
        let acme = acme.flatten();
        let log = log(&mut top.table("log"));
        let callers = callers(top);
        // Where [relay] has faults of its own, this is not another one.
        let has_proxy = relay.as_ref().is_none_or(|relay| relay.proxy.is_some());
        let issuers = issuer::issuers(top, has_proxy);
        let idempotency = idempotency(&mut top.table("idempotency"));
        let signed = signed::signed(&mut top.table("signed"));
        let upstream::Upstreams { names: upstream_names, all: upstreams, links: oauth } =
            upstream::upstreams(top, pages.as_ref(), has_proxy);
        let known = service::Known { upstreams: &upstream_names, links: &oauth };
        let service::Services { names: service_names, plain: services, fetched: client_credentials } =
            service::services(top, &known);
        let known = policy::Known { upstreams: &upstream_names, services: &service_names };
        let policy = policy::policy(top.table("policy"), source, &known);
        Some(Self {
            relay: relay?,
            state,
            store,
            audit,
            egress,
            admin_socket,
            metrics,
            pages,
            pass_through,
            acme,
            log,
            upstreams,
            oauth,
            services,
            client_credentials,
            callers,
            issuers,
            idempotency,
            signed,
            policy: Arc::new(policy),
        })
    }
}

/// A file that is missing has another remedy here than elsewhere.
fn remedy(path: &Path, report: Report) -> Report {
    if path.exists() {
        return report;
    }
    report.with_remedy(format!(
        "Copy config.example.toml to {}, or name another file with --config.",
        path.display()
    ))
}

fn relay(mut table: Table<'_>) -> Option<Relay> {
    let url = table.required("url", "\"wss://relay.example.com\"");
    let proxy = proxy::proxy(&mut table);
    let ca_file = table.optional("ca-file");
    let tunnels = table.integer("tunnels", 1..=8, 2);
    table.retired(
        "allow-unbound",
        "remove it: where TLS is opened on the way, agent and relay run a TLS session of their own inside",
    );
    Some(Relay { url: url?, proxy, ca_file, tunnels: u8::try_from(tunnels).unwrap_or(u8::MAX) })
}

fn log(table: &mut Table<'_>) -> Log {
    let filter: Option<Located<String>> = table.optional("filter");
    let format: Option<Located<String>> = table.optional("format");
    let filter = filter.map_or_else(
        || "info".to_owned(),
        |filter| {
            if filter.value.parse::<tracing_subscriber::EnvFilter>().is_err() {
                let help =
                    "write a level (error, warn, info, debug), or levels by part: \"info,outhaul=debug\"";
                table.source().fault(filter.at, format!("“{}” is no log filter", filter.value), help);
            }
            filter.value
        },
    );
    let format = match format.as_ref().map(|format| format.value.as_str()) {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(other) => {
            let at = format.as_ref().map_or_else(Span::default, |format| format.at);
            table.source().fault(at, format!("“{other}” is no log format"), "write \"text\" or \"json\"");
            Format::Text
        }
    };
    Log { filter, format }
}

/// Tables with names of a kind, each name read as `N`; a name that is none is a fault, its table unread.
fn named<'d, N: std::str::FromStr<Err: std::fmt::Display>>(
    top: &mut Table<'d>,
    key: &'static str,
) -> Vec<(N, Table<'d>)> {
    let source = top.source();
    let read = |(name, table): (Located<String>, Table<'d>)| match name.value.parse() {
        Ok(name) => Some((name, table)),
        Err(error) => {
            source.plain_fault(name.at, format!("{error}"));
            table.give_up();
            None
        }
    };
    top.named_tables(key).into_iter().filter_map(read).collect()
}

fn callers(top: &mut Table<'_>) -> BTreeMap<CallerName, callers::Options> {
    let option = |(name, mut table): (CallerName, Table<'_>)| {
        let rewrite_links = table.or("rewrite-links", false);
        let act_as = table.or::<Vec<Provider>>("act-as", Vec::new());
        (name, callers::Options { rewrite_links, act_as })
    };
    named(top, "caller").into_iter().map(option).collect()
}

fn idempotency(table: &mut Table<'_>) -> idempotency::Limits {
    let usual = idempotency::Limits::default();
    let count = |keys: u64| usize::try_from(keys).unwrap_or(usize::MAX);
    let minute = Duration::from_secs(60);
    let (answer, answers) = (ByteSize::mib(16), ByteSize::mib(4 << 10));
    idempotency::Limits {
        keep: table.duration("keep", minute..=minute * 60 * 24 * 7, usual.keep),
        max_keys: count(table.integer("max-keys", 1..=10_000_000, usual.max_keys as u64)),
        max_keys_per_caller: count(table.integer(
            "max-keys-per-caller",
            1..=10_000_000,
            usual.max_keys_per_caller as u64,
        )),
        max_answer: table.size("max-answer", ByteSize::kib(1)..=answer, usual.max_answer),
        max_answers: table.size("max-answers", ByteSize::kib(64)..=answers, usual.max_answers),
    }
}

/// The value of `as`.
enum As {
    User,
    Anonymous,
    Service(Located<ServiceName>),
}

impl FromValue for As {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        match value {
            DeValue::Table(entries) => {
                let mut table = Table::inline(source, entries, at);
                table.required("service", "\"NAME\"").map(Self::Service)
            }
            DeValue::String(text) if text == "user" => Some(Self::User),
            DeValue::String(text) if text == "anonymous" => Some(Self::Anonymous),
            _ => {
                source.fault(
                    at,
                    "a call is made as somebody",
                    "write \"user\", \"anonymous\" or { service = \"NAME\" }",
                );
                None
            }
        }
    }
}

/// “did you mean”, or what there is.
fn meant<'n>(given: &str, known: impl Iterator<Item = &'n str>, kind: &str) -> String {
    let known: Vec<&str> = known.collect();
    match crate::config::table::nearest(given, &known) {
        Some(near) => format!("did you mean “{near}”?"),
        None if known.is_empty() => format!("add a table [{kind}.{given}]"),
        None => format!("there are: {}; or add a table [{kind}.{given}]", known.join(", ")),
    }
}

/// The only one of its kind, for keys that may then be left out.
fn only(names: &[UpstreamName]) -> Option<&UpstreamName> {
    match names {
        [only] => Some(only),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
