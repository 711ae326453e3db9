//! What a configuration makes of the rooms, and how a changed one is put in their place while calls go on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::audit::Audit;
use super::callers::Callers;
use super::config::Config;
use super::credentials::Credentials;
use super::credentials::stored::StoredSecrets;
use super::egress::Clients;
use super::front::Site;
use super::idempotency::Ledger;
use super::issuers::{self, Issuers};
use super::mapping::Mappings;
use super::policy::Meters;
use super::proxy::{Proxy, Verdicts};
use super::upstream::Upstream;
use crate::common::clock::Clock;
use crate::common::ids::UpstreamName;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;

/// What is in force.
pub struct Live {
    /// What the process was started with: the measure of what needs a restart.
    started: Config,
    site: Arc<ArcSwap<Site>>,
    verdicts: Arc<Verdicts>,
    ledger: Ledger,
    egress: Clients,
    clock: Clock,
    tasks: Tasks,
}

impl Live {
    /// Makes everything ready. Connects to nothing yet; a service whose secret is missing stops no other.
    pub fn new(
        config: Config,
        callers: Arc<Callers>,
        mappings: Mappings,
        stored: StoredSecrets,
        egress: Clients,
        clock: Clock,
        tasks: &Tasks,
    ) -> Result<Self, Report> {
        let verdicts = Arc::new(Verdicts::default());
        let upstreams = upstreams(&config, &HashMap::new(), &verdicts, &clock, tasks)?;
        let credentials = Credentials::load_with(&config.services, stored);
        for fault in credentials.faults() {
            tracing::error!(%fault, "a service can't be used; calls that need it are refused");
        }
        fetch(&config, &upstreams, &credentials, &clock, tasks);
        let issuers = issuers(&config, None, &egress, &clock, tasks)?;
        let site =
            site(&config, upstreams, callers, issuers, Arc::new(credentials), mappings, Arc::default());
        let site = Arc::new(ArcSwap::from_pointee(site));
        let ledger = Ledger::new(config.idempotency, clock.clone());
        Ok(Self { started: config, site, verdicts, ledger, egress, clock, tasks: tasks.clone() })
    }

    /// From here on each use of a service's secret, other than for a call, is recorded there.
    pub fn record_in(&self, audit: &Audit) {
        self.site.load().credentials.fetched().record_in(audit.clone());
        self.verdicts.record_in(audit.clone());
    }

    /// What the front decides by, always the newest.
    pub fn site(&self) -> Arc<ArcSwap<Site>> {
        self.site.clone()
    }

    /// The calls with a key that are remembered.
    pub fn ledger(&self) -> Ledger {
        self.ledger.clone()
    }

    /// The files with secrets, whose change counts as one of the configuration.
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let site = self.site.load();
        let mut files = site.credentials.files();
        files.extend(site.mappings.files());
        files
    }

    /// Puts another configuration in force, the way out with it, from the next call on; names what needs a restart. If
    /// it fails, it has changed nothing.
    pub fn take(&mut self, config: &Config) -> Result<Vec<String>, Report> {
        let old = self.site.load_full();
        let upstreams = upstreams(config, &old.upstreams, &self.verdicts, &self.clock, &self.tasks)?;
        // The way out first: the clients of new issuers are made with its authorities.
        let before = self.egress.configure(config.egress.clone());
        let issuers = issuers(config, Some(&old.issuers), &self.egress, &self.clock, &self.tasks);
        let issuers = issuers.inspect_err(|_| {
            self.egress.configure(before.as_ref().clone());
        })?;
        for fault in old.credentials.reload(&config.services) {
            tracing::error!(%fault, "a service's secret can't be read; the one read before is used, if any");
        }
        fetch(config, &upstreams, &old.credentials, &self.clock, &self.tasks);
        let (mappings, meters) = (old.mappings.clone(), old.meters.clone());
        let (callers, credentials) = (old.callers.clone(), old.credentials.clone());
        let site = site(config, upstreams, callers, issuers, credentials, mappings, meters);
        self.site.store(Arc::new(site));
        self.ledger.set_limits(config.idempotency);
        Ok(self.started.needs_restart(config))
    }
}

/// The services whose tokens are fetched.
fn fetch(
    config: &Config,
    upstreams: &HashMap<UpstreamName, Proxy>,
    credentials: &Credentials,
    clock: &Clock,
    tasks: &Tasks,
) {
    let application = |name: &UpstreamName| upstreams.get(name).map(|proxy| proxy.upstream().clone());
    for fault in credentials.fetched().configure(&config.client_credentials, application, clock, tasks) {
        tracing::error!(%fault, "a service can't be used; calls that need it are refused");
    }
}

fn site(
    config: &Config,
    upstreams: HashMap<UpstreamName, Proxy>,
    callers: Arc<Callers>,
    issuers: Arc<Issuers>,
    credentials: Arc<Credentials>,
    mappings: Mappings,
    meters: Arc<Meters>,
) -> Site {
    let linked =
        upstreams.iter().map(|(name, proxy)| (proxy.upstream().clone(), config.oauth.get(name).cloned()));
    for fault in mappings.configure(linked) {
        tracing::error!(%fault, "an application link can't be used; tokens are not renewed over it");
    }
    let options = config.callers.iter().map(|(name, options)| (name.clone(), options.clone())).collect();
    let policy = config.policy.clone();
    Site { policy, meters, upstreams, callers, issuers, credentials, mappings, options }
}

/// An issuer whose table did not change is kept, with its keys. Each is reached by the way that its table names.
fn issuers(
    config: &Config,
    before: Option<&Issuers>,
    egress: &Clients,
    clock: &Clock,
    tasks: &Tasks,
) -> Result<Arc<Issuers>, Report> {
    let client = |issuer: &issuers::Config| issuers::client(issuer, egress);
    let issuers = Issuers::configure(&config.issuers, before, clock, tasks, client);
    issuers.map(Arc::new).map_err(|fault| Report::from_error(Exit::Config, &fault))
}

/// An upstream whose table did not change is kept, with its connections and what is known of its nodes.
fn upstreams(
    config: &Config,
    old: &HashMap<UpstreamName, Proxy>,
    verdicts: &Arc<Verdicts>,
    clock: &Clock,
    tasks: &Tasks,
) -> Result<HashMap<UpstreamName, Proxy>, Report> {
    let make = |wanted: &super::upstream::Config| {
        if let Some(kept) = old.get(&wanted.name).filter(|kept| kept.upstream().config() == wanted) {
            return Ok((wanted.name.clone(), kept.clone()));
        }
        let upstream = Upstream::start(wanted.clone(), config.proxy_to(wanted)?, clock.clone(), tasks);
        let upstream = upstream.map_err(|fault| Report::from_error(Exit::Config, &fault))?;
        Ok((wanted.name.clone(), Proxy::new(upstream, verdicts.clone())))
    };
    config.upstreams.iter().map(make).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::egress::{Settings, Way};
    use crate::agent::store::Store;
    use crate::net::tls::{Certificates, http1_server_config};
    use std::path::Path;

    fn config(tables: &str) -> Config {
        let text = format!(
            "[relay]\nurl = \"wss://relay.example.com\"\n[upstream.jira]\nurl = \"http://127.0.0.1:1\"\n\
             base-url = \"https://jira.example\"\n{tables}"
        );
        Config::parse("agent.toml", &text).unwrap()
    }

    async fn live(folder: &Path, tasks: &Tasks) -> Live {
        let store = Store::for_tests(folder);
        let callers = Arc::new(Callers::load(store.clone(), Clock::system()).await.unwrap());
        let mappings = Mappings::start(store, Clock::system(), tasks);
        let egress = Clients::new(Settings::default(), None, Clock::system());
        let stored = StoredSecrets::default();
        Live::new(config(""), callers, mappings, stored, egress, Clock::system(), tasks).unwrap()
    }

    #[tokio::test]
    async fn what_did_not_change_is_kept_and_the_rest_follows() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let mut live = live(folder.path(), &tasks).await;
        let site = live.site();
        let jira: UpstreamName = "jira".parse().unwrap();
        let before = site.load().upstreams[&jira].upstream().clone();

        let rule = "[[policy.rule]]\nallow = \"GET /**\"\nwhy = \"x\"\nas = \"anonymous\"\n";
        assert!(live.take(&config(rule)).unwrap().is_empty());
        assert_eq!(site.load().policy.rules().len(), 1);
        assert!(Arc::ptr_eq(&before, site.load().upstreams[&jira].upstream()));

        assert_eq!(live.ledger().usage().limits.max_keys, 100_000);
        live.take(&config(&format!("{rule}[idempotency]\nmax-keys = 7\n"))).unwrap();
        assert_eq!(live.ledger().usage().limits.max_keys, 7);

        let state = "[state]\ndirectory = \"/elsewhere\"\n";
        assert_eq!(live.take(&config(state)).unwrap(), ["state.directory"]);
        assert_eq!(live.take(&config(&format!("{rule}{state}"))).unwrap(), ["state.directory"], "still");

        let missing = "ca-file = \"/nowhere/ca.pem\"\n[upstream.wiki]\nurl = \"https://127.0.0.1:2\"\n\
                       base-url = \"https://wiki.example\"\nca-file = \"/nowhere/ca.pem\"\n";
        assert!(live.take(&config(missing)).is_err());
        assert!(Arc::ptr_eq(&before, site.load().upstreams[&jira].upstream()), "a failure changes nothing");
        tasks.cancel();
    }

    #[tokio::test]
    async fn an_issuer_and_the_authority_of_its_certificate_come_with_one_reload() {
        let folder = tempfile::tempdir().unwrap();
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (ca, key) = (folder.path().join("ca.pem"), folder.path().join("key.pem"));
        std::fs::write(&ca, issued.cert.pem()).unwrap();
        std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
        let tls = http1_server_config(Certificates::load(&ca, &key).unwrap()).unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tables = |egress: String| {
            config(&format!(
                "[issuer.own]\nissuer = \"i\"\naudience = \"a\"\nkey-set = \"https://localhost:{port}/keys\"\n\
                 callers = [{{ claim = \"azp\", value = \"1\", caller = \"bot\" }}]\n[egress]\n{egress}\n"
            ))
        };
        let tasks = Tasks::new();
        let mut live = live(folder.path(), &tasks).await;

        let missing = live.take(&tables("way = \"relay\"\nca-file = \"/nowhere/ca.pem\"".to_owned()));
        assert!(missing.unwrap_err().to_string().contains("/nowhere/ca.pem"));
        assert_eq!(live.egress.state().way, Way::Direct, "a failure changes nothing");
        assert!(live.site().load().issuers.is_empty());

        live.take(&tables(format!("ca-file = \"{}\"", ca.display()))).unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let trusted = tokio_rustls::TlsAcceptor::from(tls).accept(socket).await;
        assert!(trusted.is_ok(), "{:?}", trusted.err());
        tasks.cancel();
    }
}
