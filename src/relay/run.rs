//! Puts the relay together, starts it and stops it. See the orders in [`super`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::sign::CertifiedKey;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::admin::{self, Direct, Operations};
use super::cli::Cli;
use super::config::Config;
use super::egress::{Egress, System};
use super::enrolment::Gate;
use super::ingress::route::Names;
use super::ingress::{Ingress, Parts};
use super::metrics::RelayMetrics;
use super::operator::{self, Pages};
use super::registry::{PassThroughNames, Registry};
use super::store::{Store, StoreFault};
use crate::common::clock::Clock;
use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;
use crate::identity::keys::SigningKey;
use crate::net::listen::listen;
use crate::net::local::Server;
use crate::net::pages;
use crate::net::reload::{POLL_EVERY, keep_certificate_if};
use crate::net::tls::{Certificates, about, server_config};
use crate::telemetry::logging;
use crate::terminal::{one_thread, say, say_json};
use crate::tunnel::code::{CloseCode, DrainCode};

/// `run`: until SIGTERM or SIGINT.
pub fn run(config: &Config) -> Result<(), Report> {
    logging::start(&config.log.filter, config.log.format)
        .map_err(|fault| Report::new(Exit::Config, fault))?;
    crate::hardening::tell();
    let runtime = match config.server.threads {
        1 => one_thread().build(),
        threads => tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    let runtime = runtime.map_err(|error| Report::from_error(Exit::System, &error))?;
    runtime.block_on(async {
        let relay = Relay::start(config).await?;
        stop_asked_for(&relay).await?;
        relay.stop(config.drain_time).await;
        Ok(())
    })
}

/// `check-config`: everything the file names is looked at, nothing is started or made.
pub(super) fn check(cli: &Cli) -> Result<(), Report> {
    let config = Config::load(&cli.config)?;
    let server = &config.server;
    let loaded = certificates(&config)?;
    let direct = PassThroughNames::new(config.pass_through_zone.clone());
    refuse_certificate(&direct, &loaded, &config)?;
    let site = format!("https://SITE.{}/", server.zone);
    if cli.json {
        say_json(&json!({
            "ok": true,
            "config": cli.config.display().to_string(),
            "listen": server.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "public_url": server.public_url.to_string(),
            "sites": site,
            "egress": config.egress.allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    let egress: Vec<String> = config.egress.allow.iter().map(ToString::to_string).collect();
    let egress = match egress.as_slice() {
        [] => "to no host, but those listed for a site (outhaul-relay site egress list SITE)".to_owned(),
        hosts => format!("for every site to {}", hosts.join(", ")),
    };
    let listen: Vec<String> = server.listen.iter().map(ToString::to_string).collect();
    say(&format!(
        "{} is good.\n  listens at    {}\n  agents dial   {}\n  callers use   {site}\n  operator port {}\n  egress        {egress}",
        cli.config.display(),
        listen.join(", "),
        server.public_url,
        config.operator,
    ));
    Ok(())
}

/// A running relay.
pub struct Relay {
    /// Where the public port listens.
    pub addresses: Vec<SocketAddr>,
    /// Where the operator port listens.
    pub operator: SocketAddr,
    listening: Arc<AtomicBool>,
    registry: Registry,
    /// The public port's listening.
    front: Tasks,
    /// Connections, calls, tunnels.
    traffic: Tasks,
    /// Operator port, admin socket, file watch.
    back: Tasks,
}

impl Relay {
    /// Starts everything, in the order of [`super`]. Must run inside a runtime.
    pub async fn start(config: &Config) -> Result<Self, Report> {
        let clock = Clock::system();
        let certificates = certificates(config)?;
        config.make_state_folder()?;
        let key = SigningKey::load_or_create(&config.identity_file())
            .map_err(|error| Report::from_error(Exit::CannotCreate, &error))?;
        let store = Store::open(&config.store_file()).map_err(|fault| store_report(config, &fault))?;
        let metrics = RelayMetrics::new();
        let registry = Registry::new(config.waiting, config.tenancy, clock.clone());
        fill(&registry, &store).await.map_err(|fault| store_report(config, &fault))?;
        let listening = Arc::new(AtomicBool::new(false));
        let (front, traffic, back) = (Tasks::new(), Tasks::new(), Tasks::new());

        let server = &config.server;
        let operator = bind(config.operator.0, "[operator] listen")?;
        let operator_address = address(&operator)?;
        let admin_socket = Server::bind(&config.admin_socket)
            .map_err(|error| Report::from_error(Exit::CannotCreate, &error))?;
        let listeners: Vec<TcpListener> = server
            .listen
            .iter()
            .map(|address| bind(address.0, "[server] listen"))
            .collect::<Result<_, _>>()?;
        let addresses = listeners.iter().map(address).collect::<Result<Vec<_>, _>>()?;

        let own_ports = addresses.iter().chain([&operator_address]).map(SocketAddr::port).collect();
        let egress = Egress::new(
            config.egress.clone(),
            own_ports,
            Arc::new(System::new(traffic.clone())),
            metrics.clone(),
            clock.clone(),
            traffic.clone(),
        );
        let lists = store.egress().await.map_err(|fault| store_report(config, &fault))?;
        for (site, hosts) in lists {
            egress.allow(&site, hosts);
        }
        let fingerprint = key.public().fingerprint();
        let direct = direct(config, &store, &certificates).await?;
        let operations = Operations::new(
            store.clone(),
            registry.clone(),
            egress.clone(),
            clock.clone(),
            server.public_url.clone(),
            fingerprint,
            Direct {
                names: direct.clone(),
                zone: server.zone.to_string(),
                certificates: certificates.clone(),
            },
        );

        let tls = server_config(Arc::clone(&certificates))
            .map_err(|error| Report::from_error(Exit::Config, &error))?;
        let passed = direct.clone();
        keep_certificate_if(
            certificates,
            server.certificate.clone(),
            server.private_key.clone(),
            POLL_EVERY,
            &back,
            move |fresh| is_not_for_passed_names(&passed, fresh),
        );
        let pages = Pages {
            listening: listening.clone(),
            store: store.clone(),
            metrics: metrics.clone(),
            registry: registry.clone(),
            operations: operations.clone(),
        };
        let group = back.clone();
        back.spawn("operator port", async move {
            pages::serve(&operator, operator::routes(pages), &group).await;
        });
        let group = back.clone();
        back.spawn(
            "admin socket",
            async move { admin_socket.serve(admin::routes(operations), &group).await },
        );
        let gate = Gate { store, key: Arc::new(key), clock: clock.clone(), tunnel: config.tunnel.clone() };
        let ingress = Ingress::new(Parts {
            names: Names { zone: server.zone.clone(), public: server.public_url.host.clone(), direct },
            limits: config.limits.clone(),
            registry: registry.clone(),
            egress,
            gate,
            tls,
            metrics,
            clock,
            tasks: traffic.clone(),
        });
        for listener in listeners {
            let (ingress, stop) = (ingress.clone(), front.token());
            front.spawn("public port", async move { ingress.serve(listener, stop).await });
        }
        listening.store(true, Ordering::Release);
        tracing::info!(
            listen = ?addresses,
            operator = %operator_address,
            url = %server.public_url,
            zone = %server.zone,
            fingerprint = %fingerprint,
            version = env!("CARGO_PKG_VERSION"),
            "the relay is ready"
        );
        Ok(Self { addresses, operator: operator_address, listening, registry, front, traffic, back })
    }

    /// Stops everything, in the order of [`super`].
    pub async fn stop(self, grace: Duration) {
        tracing::info!(calls = self.registry.calls_under_way(), "stopping: no new connections");
        self.listening.store(false, Ordering::Release);
        self.front.cancel();
        self.registry.drain_all(DrainCode::Stopping, "the relay is stopping");
        // Both what is asked and what is already on its way should leave before the sockets go.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let calm = tokio::time::timeout(grace, async {
            while self.registry.calls_under_way() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        if calm.await.is_err() {
            tracing::warn!(
                calls = self.registry.calls_under_way(),
                "calls were cut off: the time to drain is over"
            );
        }
        self.registry.close_all(CloseCode::Stopping, "the relay is stopping");
        // What the last answers still hold in buffers, and the goodbyes of the tunnels.
        let gone = self.traffic.drain(Duration::from_secs(2)).await;
        self.back.cancel();
        self.back.drain(Duration::from_secs(2)).await;
        tracing::info!(clean = gone, "stopped");
    }

    /// Resolves when a part that the relay can't do without has failed.
    async fn failed(&self) {
        let (front, back) = (self.front.token(), self.back.token());
        tokio::select! {
            () = front.cancelled() => {}
            () = back.cancelled() => {}
        }
    }
}

async fn stop_asked_for(relay: &Relay) -> Result<(), Report> {
    let listen = |kind| signal(kind).map_err(|error| Report::from_error(Exit::System, &error));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = relay.failed() => Err(Report::new(Exit::Software, "a part of the relay failed; see its log")),
    }
}

fn certificates(config: &Config) -> Result<Arc<Certificates>, Report> {
    let server = &config.server;
    Certificates::load(&server.certificate, &server.private_key).map_err(|error| {
        Report::from_error(Exit::Config, &error)
            .with_remedy("Mend certificate and private-key in [server], or the files they name.")
    })
}

/// The names that pass unopened. The relay must not be able to answer for them itself, else nobody could tell whether
/// it does.
async fn direct(
    config: &Config,
    store: &Store,
    certificates: &Certificates,
) -> Result<PassThroughNames, Report> {
    let direct = PassThroughNames::new(config.pass_through_zone.clone());
    for row in store.names().await.map_err(|fault| store_report(config, &fault))? {
        direct.set(row.name, row.site);
    }
    refuse_certificate(&direct, certificates, config)?;
    Ok(direct)
}

fn refuse_certificate(
    direct: &PassThroughNames,
    certificates: &Certificates,
    config: &Config,
) -> Result<(), Report> {
    is_not_for_passed_names(direct, &certificates.current()).map_err(|what| {
        let text = format!("{} {what}", config.server.certificate.display());
        Report::new(Exit::Config, text).with_remedy(
            "Have the relay's certificate issued without it: names that pass through have certificates of their \
             sites only.",
        )
    })
}

fn is_not_for_passed_names(direct: &PassThroughNames, certified: &CertifiedKey) -> Result<(), String> {
    if direct.is_empty() {
        return Ok(());
    }
    let about = about(certified).ok_or("holds a certificate whose names can't be read")?;
    match direct.covered_by(&about.names) {
        Some(name) => Err(format!("is for {name}, which covers a name that passes through")),
        None => Ok(()),
    }
}

async fn fill(registry: &Registry, store: &Store) -> Result<(), StoreFault> {
    let agents = store.agents().await?;
    for site in store.sites().await? {
        let expected = agents.iter().any(|agent| agent.site == site.name && agent.revoked_at.is_none());
        registry.set_site(&site.name, site.paused, expected);
    }
    Ok(())
}

fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, Report> {
    listen(address).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            _ => Exit::Unavailable,
        };
        let remedy = match error.kind() {
            std::io::ErrorKind::AddrInUse => "Another program uses that port: stop it, or write another one.",
            std::io::ErrorKind::PermissionDenied => {
                "Ports under 1024 need a right: CAP_NET_BIND_SERVICE in the systemd unit, or root."
            }
            std::io::ErrorKind::AddrNotAvailable => "This machine has no such address: write one it has.",
            _ => "Write an address of this machine.",
        };
        Report::new(exit, format!("{key}: {address} can't be listened at: {error}")).with_remedy(remedy)
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Report> {
    listener.local_addr().map_err(|error| Report::from_error(Exit::System, &error))
}

fn store_report(config: &Config, fault: &StoreFault) -> Report {
    Report::from_error(Exit::InputOutput, fault).with_remedy(format!(
        "The store is {}: it must be writable for the relay's user, on a disk that is not full.",
        config.store_file().display()
    ))
}
