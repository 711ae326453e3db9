//! What starts and stops, and in which order.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Extensions;
use serde_json::{Map, json};
use tokio::signal::unix::{SignalKind, signal};

use super::admin;
use super::audit::{Audit, Event, Record, Signer, Writer};
use super::callers::Callers;
use super::config::Config;
use super::connection::{self, Arrivals, Connection, Streams};
use super::counters::CallMetrics;
use super::credentials::stored::StoredSecrets;
use super::egress::Clients;
use super::front::{Arrival, Front, Site, Way};
use super::house::{AuditRoom, CertificateRoom, CredentialRoom, EgressRoom, Running, StoreRoom, View};
use super::links::{LinkDesk, Listener};
use super::live::Live;
use super::mapping::Mappings;
use super::metrics;
use super::passing;
use super::pause::Pause;
use super::policy::tools::digest;
use super::reload;
use super::remembered::Remembered;
use super::signed::{self, Signing};
use super::store::Store;
use super::store::tables::identity::Identity;
use crate::common::clock::Clock;
use crate::common::ids::AgentId;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::identity::keys::SigningKey;
use crate::net::reload::{POLL_EVERY, Poke, watch_files};
use crate::net::{local, pages};
use crate::telemetry::logging;
use crate::telemetry::metrics::Metrics;
use crate::terminal;
use crate::tunnel::head::RequestHead;

/// Runs the agent until it is told to stop.
pub fn run(file: &Path) -> Result<(), Report> {
    let config = Config::load(file)?;
    logging::start(&config.log.filter, config.log.format).map_err(|text| Report::new(Exit::Config, text))?;
    crate::hardening::tell();
    // One thread: a call is mostly waiting, and one thread has nothing to hand over.
    terminal::block_on(serve(file, config))
}

/// Start order: what may fail comes before anything that others can see; the tunnels come last, because from then
/// on calls come in. Stop order is the reverse: first the tunnels, with the calls under way; the audit closes last.
async fn serve(file: &Path, config: Config) -> Result<(), Report> {
    let clock = Clock::system();
    let (tasks, tunnels, recording) = (Tasks::new(), Tasks::new(), Tasks::new());
    let mut stop = Stop::listen()?;
    let started = clock.wall();

    let store = Store::open(&config.state, &config.store.key).map_err(|fault| fault.report())?;
    let Identity { enrolment, key } = identity(&store, &config).await?;
    let audit =
        Audit::open(store.clone(), clock.clone(), config.audit).await.map_err(|fault| fault.report())?;
    let callers = Callers::load(store.clone(), clock.clone()).await.map_err(|fault| fault.report())?;
    let callers = Arc::new(callers);
    let pause = Pause::load(&config.state);
    let mappings = Mappings::start(store.clone(), clock.clone(), &tasks);
    mappings.record_in(audit.clone());
    let stored = StoredSecrets::load(&store).await.map_err(|fault| fault.report())?;
    let relay = relay(&config)?;
    let egress = Clients::new(config.egress.clone(), relay.proxy.clone(), clock.clone());
    let mut live = Live::new(
        config.clone(),
        callers.clone(),
        mappings.clone(),
        stored,
        egress.clone(),
        clock.clone(),
        &tasks,
    )?;
    live.record_in(&audit);
    let (site, calls, ledger) = (live.site(), CallMetrics::new(), live.ledger());
    let remembered = Remembered::load(store.clone(), ledger.clone(), clock.clone())
        .await
        .map_err(|fault| fault.report())?;
    remembered.start(&tasks);
    let signing = signing(&store, clock.clone(), config.signed).await?;
    let desk = LinkDesk::new(
        store.clone(),
        audit.clone(),
        mappings.clone(),
        config.pages.clone(),
        clock.clone(),
        &tasks,
    );
    let link_pages = config.pages.as_ref().map(|pages| Listener::open(pages, &tasks)).transpose()?;
    let front = Front::new(site.clone(), pause.clone(), calls.clone(), audit.clone())
        .remembering(remembered.clone(), tasks.clone())
        .signing(signing.clone())
        .linking(desk.clone());

    let acme = passing::acme(&config, &store, &audit, &egress, &clock).await?;
    let passing = passing::pass_through(&config, acme.as_ref(), &front, &clock, (&tasks, &tunnels))?;

    let admin = local::Server::bind(&config.admin_socket).map_err(|fault| {
        let exit =
            if matches!(fault, local::BindFault::System { .. }) { Exit::System } else { Exit::Temporary };
        Report::from_error(exit, &fault)
    })?;
    let metrics_page = match &config.metrics {
        Some(address) => Some(pages::listen(address.0).map_err(|error| {
            Report::new(Exit::System, format!("the metrics page can't listen on {}: {error}", address.0))
                .with_remedy("Choose another address under [metrics] listen.")
        })?),
        None => None,
    };

    let changes = watch_files(vec![file.to_owned()], POLL_EVERY, &tasks);
    let mut secrets = SecretFiles { known: HashSet::new(), poke: changes.poke(), tasks: tasks.clone() };
    secrets.watch(live.secret_files());
    let recorded = audit.clone();
    let named = passing.clone();
    let signs = signing.clone();
    let take = move |config: Config, by: &str| {
        let restart_needed = live.take(&config)?;
        if let Some(passing) = &named {
            passing.configure(config.pass_through.as_ref());
        }
        signs.configure(config.signed);
        secrets.watch(live.secret_files());
        recorded.configure(config.audit);
        recorded.note(&Record::new(Event::Reload).by(by).detail(&in_force(&config)));
        Ok(restart_needed)
    };
    let recorded = audit.clone();
    let wrong = move |fault: &str, by: &str| {
        let detail = format!("not taken, what was read before stays in force: {fault}");
        recorded.note(&Record::new(Event::Reload).by(by).detail(&detail));
    };
    let steps = reload::Steps { read: Config::load, take, wrong };
    let reload = reload::start(file, changes, clock.clone(), &tasks, steps);

    let signer = signer(&store).await?;
    Writer::start(&audit, signer, &recording);
    if let Err(fault) = audit.started(&in_force(&config)).await {
        // Calls are refused as long as it lasts; the agent runs, so that `status` can say so.
        tracing::error!(%fault, "the start is not in the audit");
    }
    let streams = passing.clone().map(|passing| Arc::new(passing) as Arc<dyn Streams>);
    let announced = enrolment.clone();
    let connection = Connection::start(
        &relay,
        Identity { enrolment, key },
        &store,
        &front,
        &Arrivals { announce, streams },
        clock.clone(),
        &tunnels,
    )
    .map_err(|fault| Report::from_error(Exit::Config, &fault))?;
    let connection = Arc::new(connection);
    let tunnels_up = connection.clone();
    egress.attach(announced.site.as_str(), move || tunnels_up.tunnels());
    if let Some(acme) = &acme {
        passing::keep_certificates(acme, &connection, &clock, &tasks);
    }

    let in_force = site.clone();
    let house = Arc::new(Running {
        started,
        clock: clock.clone(),
        relay: config.relay.url.to_string(),
        enrolment: announced,
        connection: connection.clone(),
        passing: passing.clone(),
        site: site.clone(),
        callers,
        pause: pause.clone(),
        calls: calls.clone(),
        ledger,
        signing,
        audit: AuditRoom { audit: audit.clone(), store: store.clone() },
        certificates: CertificateRoom(acme),
        credentials: CredentialRoom::new(store.clone(), clock.clone(), move || View::of(&in_force.load())),
        egress: EgressRoom::new(egress, clock.clone()),
        store: StoreRoom::start(store, config.store.key, clock, &tasks),
        reload,
    });
    let token = tasks.token();
    let recorded = audit.clone();
    let by_hand = move |on| {
        let event = if on { Event::Pause } else { Event::Resume };
        recorded.note(&Record::new(event).by("the file in the state folder"));
    };
    tasks.spawn("pause watch", async move { pause.watch(token, by_hand).await });
    tasks.spawn("status to the relay", tell(connection, site, audit.clone(), tasks.clone()));
    let routes = admin::router(house.clone()).merge(admin::links::router(house.clone(), mappings));
    let group = tasks.clone();
    tasks.spawn("admin socket", async move { admin.serve(routes, &group).await });
    if let Some(listener) = link_pages {
        let group = tasks.clone();
        tasks.spawn("pages for people", async move { listener.serve(desk, &group).await });
    }
    if let Some(listener) = metrics_page {
        let registry = Metrics::new();
        calls.register(&registry);
        if let Some(passing) = &passing {
            passing.counters().register(&registry);
        }
        let (routes, group) = (metrics::router(registry, house), tasks.clone());
        tasks.spawn("metrics page", async move { pages::serve(&listener, routes, &group).await });
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %file.display(), "the agent runs");

    let failed = tokio::select! {
        () = stop.asked() => false,
        () = tasks.cancelled() => true,
        () = tunnels.cancelled() => true,
        () = recording.cancelled() => true,
    };
    tracing::info!("stopping: no new calls; those under way may finish");
    tunnels.cancel();
    tunnels.drain(GRACE).await;
    tasks.cancel();
    tasks.drain(DRAIN).await;
    // What a call comes to that goes on although its caller left is recorded too; so the audit closes last.
    if let Err(fault) = audit.stopped().await {
        tracing::error!(%fault, "the stop is not in the audit");
    }
    recording.cancel();
    recording.drain(DRAIN).await;
    tracing::info!("stopped");
    if failed {
        return Err(Report::new(Exit::Software, "a part of the agent failed, so all of it stopped")
            .with_remedy("Look into its log for the first error, and report it as a bug."));
    }
    Ok(())
}

/// How to reach the relay.
pub(super) fn relay(config: &Config) -> Result<connection::Config, Report> {
    let relay = &config.relay;
    let ca_file = relay.ca_file.as_deref();
    let proxy = relay.proxy.as_ref().map(|proxy| proxy.ready(ca_file)).transpose()?.flatten();
    Ok(connection::Config {
        url: relay.url.clone(),
        proxy,
        ca_file: relay.ca_file.clone(),
        tunnels: relay.tunnels,
    })
}

async fn identity(store: &Store, config: &Config) -> Result<Identity, Report> {
    let identity = store.identity().await.map_err(|fault| fault.report())?.ok_or_else(|| {
        Report::new(Exit::Config, "this agent is not enrolled: no relay knows it yet").with_remedy(
            "Get a token from the relay's operator (`outhaul-relay site enrol SITE`), run `outhaul-agent enrol` \
             with it, then start the agent.",
        )
    })?;
    let (before, now) = (&identity.enrolment.relay_url, config.relay.url.to_string());
    if *before != now {
        // The relay's key is pinned, so this is no danger; but it is the first thing to know if it can't connect.
        tracing::info!(%before, %now, "the relay has another address than at enrolment");
    }
    Ok(identity)
}

/// Puts what the tunnel knows of a call where the front looks for it.
fn announce(head: RequestHead, extensions: &mut Extensions) {
    extensions.insert(Arrival {
        request_id: head.request_id,
        scheme: head.scheme,
        authority: head.authority,
        target: head.target,
        route_length: head.route_length,
        peer: head.peer,
        way: Way::Terminated,
    });
}

/// What was put in force, for the audit: a policy can be told from another by its digest.
fn in_force(config: &Config) -> String {
    format!("outhaul-agent {}, policy {}", env!("CARGO_PKG_VERSION"), digest(&config.policy))
}

/// Who signs the audit's heads: this agent, as the relay knows it.
async fn signer(store: &Store) -> Result<Signer, Report> {
    let (agent, key) = own_key(store).await?;
    Ok(Signer { agent, key })
}

/// Who signs the answers to signed calls: the same.
async fn signing(store: &Store, clock: Clock, settings: signed::Settings) -> Result<Signing, Report> {
    let own = own_key(store).await?;
    Signing::load(store.clone(), clock, own, settings).await.map_err(|fault| fault.report())
}

async fn own_key(store: &Store) -> Result<(AgentId, SigningKey), Report> {
    let identity = store.identity().await.map_err(|fault| fault.report())?;
    let identity = identity.ok_or_else(|| Report::new(Exit::Software, "the agent's identity is gone"))?;
    Ok((identity.enrolment.agent, identity.key))
}

/// Tells the relay how the upstreams are, and the audit's head, whenever that changes.
async fn tell(connection: Arc<Connection>, site: Arc<arc_swap::ArcSwap<Site>>, audit: Audit, tasks: Tasks) {
    let mut told = Bytes::new();
    let mut every = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            () = tasks.cancelled() => return,
            _ = every.tick() => {}
        }
        let now = status(&site.load(), &audit);
        if now != told {
            told = now.clone();
            connection.tell(&now);
        }
    }
}

fn status(site: &Site, audit: &Audit) -> Bytes {
    let mut names: Vec<_> = site.upstreams.keys().collect();
    names.sort();
    let upstreams: Map<String, serde_json::Value> = names
        .into_iter()
        .filter_map(|name| {
            let upstream = site.upstreams.get(name)?.upstream();
            let health = upstream.health().as_str();
            let document = json!({ "stateless": upstream.config().stateless, "health": health });
            Some((name.to_string(), document))
        })
        .collect();
    let mut document = json!({ "version": env!("CARGO_PKG_VERSION"), "upstreams": upstreams });
    if let (Some(anchor), Some(document)) = (audit.anchor(), document.as_object_mut()) {
        // The relay keeps it: records that are cut off or rewritten later don't fit it any more.
        document.insert("audit".to_owned(), json!(anchor));
    }
    document.to_string().into()
}

/// A new secret in a file counts as a change of the configuration.
struct SecretFiles {
    known: HashSet<PathBuf>,
    poke: Poke,
    tasks: Tasks,
}

impl SecretFiles {
    fn watch(&mut self, files: Vec<PathBuf>) {
        let fresh: Vec<PathBuf> = files.into_iter().filter(|file| self.known.insert(file.clone())).collect();
        if fresh.is_empty() {
            return;
        }
        let mut changes = watch_files(fresh, POLL_EVERY, &self.tasks);
        let poke = self.poke.clone();
        self.tasks.spawn("secret files", async move {
            while changes.next().await.is_some() {
                poke.now();
            }
        });
    }
}

/// SIGTERM or SIGINT.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> Result<Self, Report> {
        let listen = |kind| signal(kind).map_err(|error| Report::from_error(Exit::System, &error));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The tunnels' own grace time for calls under way, and a little for closing.
const GRACE: Duration = Duration::from_secs(15);
/// Then so long for what goes on without a tunnel, and again for the audit's last records.
const DRAIN: Duration = Duration::from_secs(5);
const TELL_EVERY: Duration = Duration::from_secs(1);
