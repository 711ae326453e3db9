//! The way out for sites: an agent opens a stream to a host, and the relay connects it if the operator allows that host.
//!
//! Entry point: [`Egress::take`], called by `ingress` for each `bytes` stream with the purpose `egress`. Off until the
//! operator lists a host. TLS runs inside the stream, from the agent to the host: the relay sees the host's name and how
//! many bytes pass. What a name is resolved to is judged ([`addresses`]), and the judged addresses are dialled, by a
//! relay that resolves once: a name can't lead into the relay's own network, now or later.

mod account;
mod addresses;
mod carry;
mod network;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::clock::Clock;
use crate::common::host::{Host, HostPattern, HostPort};
use crate::common::ids::{AgentId, SiteName};
use crate::common::limits::ByteSize;
use crate::common::tasks::Tasks;
use crate::net::http_client::Stream;
use crate::net::tunnel::ByteStream;
use crate::relay::metrics::RelayMetrics;
use crate::tunnel::code::ResetCode;
use crate::tunnel::egress::{Answer, Refusal};
use account::{Account, Place};
use carry::{Ended, Terms, carry};

pub use account::Usage;
pub use network::{Network, System};

/// `[egress]` of the relay's file.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Hosts that every site may reach.
    pub allow: Vec<HostPattern>,
    /// Networks that may be reached beside the public internet.
    pub also_networks: Vec<IpNet>,
    /// Connections of all sites at once.
    pub connections: u32,
    /// Connections of one site at once.
    pub site_connections: u32,
    /// Connections that one site may open in a second, on average.
    pub site_connections_a_second: u32,
    /// Bytes of one site in a second, both ways together.
    pub site_bytes_a_second: ByteSize,
    /// Bytes of one site in a day (UTC), both ways together.
    pub site_bytes_a_day: ByteSize,
    /// For the name and the connection.
    pub connect_time: Duration,
    /// A connection on which nothing passes ends after so long.
    pub idle_time: Duration,
    /// Any connection ends after so long.
    pub life_time: Duration,
}

/// Who asks for a connection.
#[derive(Debug, Clone)]
pub struct From {
    /// Of which site.
    pub site: SiteName,
    /// Which agent.
    pub agent: AgentId,
    /// Whether the operator has paused the site.
    pub paused: bool,
}

/// The room; cheap to clone.
#[derive(Clone)]
pub struct Egress(Arc<Inner>);

struct Inner {
    settings: Settings,
    /// Ports that this relay listens at: never reached on this machine.
    own_ports: Vec<u16>,
    sites: Mutex<HashMap<SiteName, Site>>,
    open: AtomicU32,
    network: Arc<dyn Network>,
    metrics: RelayMetrics,
    clock: Clock,
    tasks: Tasks,
}

struct Site {
    account: Arc<Account>,
    allow: Vec<HostPattern>,
}

/// Why not, for the operator's log; the agent hears the reason only.
struct Refused {
    reason: Refusal,
    detail: String,
}

impl Egress {
    /// With what the file says. `own_ports`: where this relay listens.
    pub fn new(
        settings: Settings,
        own_ports: Vec<u16>,
        network: Arc<dyn Network>,
        metrics: RelayMetrics,
        clock: Clock,
        tasks: Tasks,
    ) -> Self {
        let (sites, open) = (Mutex::default(), AtomicU32::new(0));
        Self(Arc::new(Inner { settings, own_ports, sites, open, network, metrics, clock, tasks }))
    }

    /// Which hosts this site may reach beside those that every site may. Counts at once: connections to hosts that are
    /// gone from the list end.
    pub fn allow(&self, site: &SiteName, hosts: Vec<HostPattern>) {
        let account = {
            let mut sites = self.0.sites();
            let known = sites.entry(site.clone()).or_insert_with(|| self.0.fresh());
            known.allow = hosts;
            Arc::clone(&known.account)
        };
        account.judge_again(|target| self.0.is_allowed(site, target));
    }

    /// Forgets a removed site.
    pub fn forget(&self, site: &SiteName) {
        let known = self.0.sites().remove(site);
        if let Some(known) = known {
            known.account.judge_again(|_| false);
        }
    }

    /// What the file lets every site reach.
    pub fn allowed_for_all(&self) -> &[HostPattern] {
        &self.0.settings.allow
    }

    /// What a site has used.
    pub fn usage(&self, site: &SiteName) -> Usage {
        let account = self.0.sites().get(site).map(|known| Arc::clone(&known.account));
        account.map(|account| account.usage(self.0.clock.unix_seconds())).unwrap_or_default()
    }

    /// Takes a stream, and carries it or refuses it.
    pub fn take(&self, from: From, target: String, stream: ByteStream) {
        let inner = Arc::clone(&self.0);
        self.0.tasks.spawn_detached(async move { inner.serve(&from, &target, stream).await });
    }
}

impl Inner {
    async fn serve(&self, from: &From, target: &str, mut stream: ByteStream) {
        let account =
            Arc::clone(&self.sites().entry(from.site.clone()).or_insert_with(|| self.fresh()).account);
        let word = match self.open(from, target, &account).await {
            Ok((target, _places, mut host)) => {
                let listed = account.list(&target);
                // Taken off the list while it was connected: whoever changed the list could not find it yet.
                if !self.is_allowed(&from.site, &target) {
                    listed.denied.cancel();
                }
                let _counted = self.metrics.egress_connection();
                let bytes = self.metrics.egress_bytes(from.site.as_str());
                let terms = Terms {
                    account: &account,
                    bytes: &bytes,
                    clock: &self.clock,
                    idle: self.settings.idle_time,
                    life: self.settings.life_time,
                    denied: listed.denied.clone(),
                };
                let ended = match stream.write_all(Answer::Connected.line().as_bytes()).await {
                    Ok(()) => carry(&mut stream, &mut host, &terms).await,
                    Err(_) => Ended::Stream,
                };
                let (how, error) = (ended.word(), ended.error());
                tracing::debug!(site = %from.site, agent = %from.agent, %target, how, ?error, "an egress connection ended");
                if matches!(ended, Ended::Quota | Ended::Denied) {
                    self.tell(
                        from,
                        &account,
                        &target.to_string(),
                        ended.word(),
                        "the connection was cut off",
                    );
                }
                if let Some(code) = ended.code() {
                    stream.reset(code);
                }
                ended.word()
            }
            Err(Refused { reason, detail }) => {
                self.tell(from, &account, target, reason.word(), &detail);
                refuse(stream, reason).await;
                reason.word()
            }
        };
        self.metrics.egress_ended(from.site.as_str(), word);
    }

    /// A connection to the target, or why there is none.
    async fn open<'a>(
        &'a self,
        from: &From,
        target: &str,
        account: &'a Account,
    ) -> Result<(HostPort, [Place<'a>; 2], Box<dyn Stream>), Refused> {
        let refused = |reason, detail: &str| Refused { reason, detail: detail.to_owned() };
        let crowded = |detail| refused(Refusal::TooMany, detail);
        // First, so that nothing below can be asked for faster.
        let place = account.admit(self.clock.now());
        let place = place.ok_or_else(|| crowded("the site's connections at once, or a second"))?;
        let whole = Place::take(&self.open, self.settings.connections);
        let whole = whole.ok_or_else(|| crowded("the connections of all sites"))?;
        if from.paused {
            return Err(refused(Refusal::Paused, "the site is paused"));
        }
        let bad = |fault: crate::common::host::HostFault| refused(Refusal::BadTarget, &fault.to_string());
        let target: HostPort = target.parse().map_err(bad)?;
        if !self.is_allowed(&from.site, &target) {
            let off = self.settings.allow.is_empty() && !self.has_hosts(&from.site);
            let reason = if off { Refusal::Off } else { Refusal::NotListed };
            return Err(refused(reason, "no list has it"));
        }
        if account.is_used_up(self.clock.unix_seconds()) {
            return Err(refused(Refusal::Quota, "the site's bytes of the day"));
        }
        let within = self.settings.connect_time;
        match tokio::time::timeout(within, self.connect(&target, account)).await {
            Ok(connected) => connected.map(|host| (target, [place, whole], host)),
            Err(_) => Err(refused(Refusal::TooSlow, "name and connection took too long")),
        }
    }

    /// Resolves once, judges every address, and dials those that were judged.
    async fn connect(&self, target: &HostPort, account: &Account) -> Result<Box<dyn Stream>, Refused> {
        let found = match &target.host {
            Host::Address(address) => vec![*address],
            // Never asked of DNS (RFC 6761, section 6.3).
            host if host.is_localhost() => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Host::Name(name) => account
                .resolve(self.network.as_ref(), name)
                .await
                .map_err(|error| Refused { reason: Refusal::Unresolved, detail: error.to_string() })?,
        };
        if found.is_empty() {
            return Err(Refused { reason: Refusal::Unresolved, detail: "it has no address".to_owned() });
        }
        let mut judged = Vec::with_capacity(found.len());
        for address in found {
            // One bad address among good ones is a name that somebody plays with, or a mistake: neither is dialled.
            let address = self.judge(address, target.port).map_err(|kind| Refused {
                reason: Refusal::ForbiddenAddress,
                detail: format!("{address} is {kind}"),
            })?;
            judged.push(SocketAddr::new(address, target.port));
        }
        self.network
            .connect(&judged)
            .await
            .map_err(|error| Refused { reason: Refusal::Unreachable, detail: error.to_string() })
    }

    fn judge(&self, address: IpAddr, port: u16) -> Result<IpAddr, &'static str> {
        let also = &self.settings.also_networks;
        let address = addresses::judge(address, also)?;
        // A translator brings what goes to NAT64 back to this machine.
        let ends_at = addresses::translated(address).map_or(address, IpAddr::V4);
        if self.network.is_own(address) || self.network.is_own(ends_at) {
            if self.own_ports.contains(&port) {
                return Err("this relay itself");
            }
            if !addresses::is_listed(ends_at, also) {
                return Err("this machine's own");
            }
        }
        Ok(address)
    }

    fn is_allowed(&self, site: &SiteName, target: &HostPort) -> bool {
        let has = |hosts: &[HostPattern]| hosts.iter().any(|entry| entry.matches(target));
        has(&self.settings.allow) || self.sites().get(site).is_some_and(|known| has(&known.allow))
    }

    fn has_hosts(&self, site: &SiteName) -> bool {
        self.sites().get(site).is_some_and(|known| !known.allow.is_empty())
    }

    /// For the operator: what an agent asked for in vain.
    fn tell(&self, from: &From, account: &Account, target: &str, reason: &'static str, detail: &str) {
        if let Some(left_out) = account.may_say(self.clock.now()) {
            let target: String = target.chars().take(300).collect();
            tracing::info!(
                site = %from.site, agent = %from.agent, ?target, reason, detail, left_out, "egress was refused"
            );
        }
    }

    fn fresh(&self) -> Site {
        Site { account: Arc::new(Account::new(&self.settings)), allow: Vec::new() }
    }

    fn sites(&self) -> MutexGuard<'_, HashMap<SiteName, Site>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says why, and gives the agent a moment to read it: a reset would overtake the line.
async fn refuse(mut stream: ByteStream, reason: Refusal) {
    let told = async {
        stream.write_all(Answer::Refused(reason).line().as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    if tokio::time::timeout(FAREWELL, told).await.is_err() {
        stream.reset(ResetCode::Cancel);
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Egress")
    }
}

/// How long a refused agent may take to read why.
const FAREWELL: Duration = Duration::from_secs(5);
