//! Opening TCP connections: both families, directly or through an HTTP proxy.
//!
//! [`dial`] is the entry point. Only what the configuration says counts: `HTTPS_PROXY` and `NO_PROXY` are not read.

mod known;
mod proxy;
mod race;
mod stream;

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::common::secret::Secret;

pub use known::{connect_to, is_own, lookup};
pub use proxy::ProxyFault;
pub use stream::Prefixed;

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
    /// `user:password`, for Basic.
    pub credentials: Option<Secret<String>>,
}

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

/// Connects to `target`, through `proxy` if there is one. `within` bounds each of: resolving and connecting, and
/// the proxy's answer.
pub async fn dial(
    target: &Target,
    proxy: Option<&Proxy>,
    purpose: Purpose,
    within: Duration,
) -> Result<Prefixed<TcpStream>, DialFault> {
    let Some(proxy) = proxy else {
        let stream = tcp(target, within).await?;
        prepare(&stream, purpose);
        return Ok(Prefixed::new(stream, bytes::Bytes::new()));
    };
    let fault = |fault| DialFault::Proxy { proxy: proxy.address.clone(), fault: Box::new(fault) };
    let stream = tcp(&proxy.address, within).await.map_err(|error| fault(ProxyFault::Unreachable(error)))?;
    prepare(&stream, purpose);
    match tokio::time::timeout(within, proxy::connect(stream, target, proxy.credentials.as_ref())).await {
        Ok(connected) => connected.map_err(fault),
        Err(_) => Err(fault(ProxyFault::TooSlow(within))),
    }
}

async fn tcp(target: &Target, within: Duration) -> Result<TcpStream, DialFault> {
    let connecting = async {
        let resolved = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
        let resolve = |source| DialFault::Resolve { host: target.host.clone(), source };
        let addresses = race::interleave(resolved.map_err(resolve)?);
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
