//! Opening TCP connections: both families, directly or through an HTTP proxy.
//!
//! [`dial`] is the entry point. Only what its caller says counts: the environment is not read here.

mod exempt;
mod known;
mod login;
mod proxy;
mod race;
mod stream;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::tls;

pub use exempt::{Exempt, ExemptFault};
pub use known::{connect_to, is_own, lookup};
pub use login::{Credentials, Login, LoginFault, Scheme};
pub use proxy::{Challenge, ProxyFault};
pub use stream::Prefixed;
pub use transport::Transport;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// An HTTP proxy on the way.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// Where it is.
    pub address: Target,
    /// How TLS is spoken with the proxy itself, where it is reached over https.
    pub tls: Option<Arc<ClientConfig>>,
    /// How to log in at it.
    pub login: Option<Credentials>,
    /// Hosts that are reached without it.
    pub exempt: Vec<Exempt>,
}

/// A connection as [`dial`] makes it.
pub type Connected = Prefixed<Transport>;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A tunnel: what is urgent must not queue behind what the kernel already holds.
    Tunnel,
    /// Calls to an application.
    Calls,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialFault {
    /// The name is unknown.
    #[error("the name {host} can't be resolved: check the name and this machine's DNS")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: std::io::Error,
    },
    /// No address answers.
    #[error(
        "{target} can't be reached ({tried} address(es) tried): check that it runs and that a firewall lets this machine out"
    )]
    Connect {
        /// Where to.
        target: Target,
        /// How many addresses were tried.
        tried: usize,
        /// Why the last one failed.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("{target} did not take the connection within {within:?}: a firewall may be dropping packets")]
    TooSlow {
        /// Where to.
        target: Target,
        /// The time it had.
        within: Duration,
    },
    /// The proxy is at fault.
    #[error("the proxy {proxy} {fault}")]
    Proxy {
        /// Which proxy.
        proxy: Target,
        /// What it did, and what to do.
        #[source]
        fault: Box<ProxyFault>,
    },
}

impl std::fmt::Display for Target {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// Connects to `target`, through `proxy` if there is one and the target is not exempt. `within` bounds each of:
/// resolving and connecting, TLS with the proxy, and each answer of the proxy.
pub async fn dial(
    target: &Target,
    proxy: Option<&Proxy>,
    purpose: Purpose,
    within: Duration,
) -> Result<Connected, DialFault> {
    let Some(proxy) = proxy.filter(|proxy| !proxy.exempts(target)) else {
        let stream = tcp(target, within).await?;
        prepare(&stream, purpose);
        return Ok(Prefixed::new(Transport::Tcp(stream), bytes::Bytes::new()));
    };
    let open: proxy::Open<'_, _> = Box::new(|| Box::pin(proxy.open(purpose, within)));
    let connected = proxy::connect(open, target, proxy.login(), within).await;
    connected.map_err(|fault| DialFault::Proxy { proxy: proxy.address.clone(), fault: Box::new(fault) })
}

impl Proxy {
    /// A proxy that is spoken to in plain HTTP, without a login, for every host.
    pub fn new(address: Target) -> Self {
        Self { address, tls: None, login: None, exempt: Vec::new() }
    }

    /// Whether the target is reached without it.
    pub fn exempts(&self, target: &Target) -> bool {
        self.exempt.iter().any(|exempt| exempt.covers(target))
    }

    fn login(&self) -> Box<dyn Login> {
        match &self.login {
            Some(credentials) => credentials.login(&self.address.host),
            None => Box::new(login::Nobody),
        }
    }

    async fn open(&self, purpose: Purpose, within: Duration) -> Result<Transport, ProxyFault> {
        let stream = tcp(&self.address, within).await.map_err(ProxyFault::Unreachable)?;
        prepare(&stream, purpose);
        let Some(config) = &self.tls else { return Ok(Transport::Tcp(stream)) };
        let secured = tls::connect(Arc::clone(config), &self.address.host, stream, within).await;
        Ok(Transport::Tls(Box::new(secured.map_err(ProxyFault::Tls)?)))
    }
}

/// The addresses of a name, in the order in which [`dial`] tries them.
pub async fn resolve(target: &Target, within: Duration) -> Result<Vec<SocketAddr>, DialFault> {
    match tokio::time::timeout(within, addresses(target)).await {
        Ok(addresses) => addresses,
        Err(_) => Err(DialFault::Resolve {
            host: target.host.clone(),
            source: std::io::Error::new(std::io::ErrorKind::TimedOut, "the resolver did not answer in time"),
        }),
    }
}

async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, DialFault> {
    let resolved = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let resolved = resolved.map_err(|source| DialFault::Resolve { host: target.host.clone(), source })?;
    Ok(race::interleave(resolved))
}

async fn tcp(target: &Target, within: Duration) -> Result<TcpStream, DialFault> {
    let connecting = async {
        let addresses = addresses(target).await?;
        race::connect(&addresses).await.map_err(|source| DialFault::Connect {
            target: target.clone(),
            tried: addresses.len(),
            source,
        })
    };
    match tokio::time::timeout(within, connecting).await {
        Ok(connected) => connected,
        Err(_) => Err(DialFault::TooSlow { target: target.clone(), within }),
    }
}

/// Sets a connection up for its purpose; also for accepted ones. What the system does not offer is left out.
pub fn prepare(stream: &TcpStream, purpose: Purpose) {
    let socket = SockRef::from(stream);
    let mut done = socket.set_tcp_nodelay(true).is_ok();
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    done &= socket.set_tcp_keepalive(&keepalive).is_ok();
    if purpose == Purpose::Tunnel {
        done &= socket.set_tcp_notsent_lowat(NOTSENT_LOWAT).is_ok();
    }
    if !done {
        tracing::debug!("a socket option could not be set");
    }
}

/// How many bytes the kernel may hold that are not on the wire yet.
const NOTSENT_LOWAT: u32 = 16 * 1024;

#[cfg(test)]
mod tests;
