//! One new connection to one node.

use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::task::AbortHandle;

use super::body::Outgoing;
use super::fault::{SendFault, chain};
use super::io::{Counted, Counters, Stream};
use crate::common::tasks::Tasks;
use crate::net::dial::{self, Purpose};
use crate::net::tls;

/// Room for an answer's head, and the largest chunk read at once.
const BUFFER: usize = 64 * 1024;

/// A TLS record holds so many bytes (RFC 8446, section 5.1); nobody can read a piece of one.
const RECORD: usize = 16 * 1024;

/// How to reach one node.
pub(super) struct Target {
    pub(super) address: dial::Target,
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// The proxy on the way, if it is to be reached through one.
    pub(super) proxy: Option<dial::Proxy>,
    /// For all of: resolving, connecting and TLS.
    pub(super) timeout: Duration,
}

impl Target {
    /// Connects within the timeout, TLS included.
    pub(super) async fn connect(&self, tasks: &Tasks) -> Result<Connection, SendFault> {
        match tokio::time::timeout(self.timeout, self.open(tasks)).await {
            Ok(result) => result,
            Err(_) => Err(self.unreachable(format!("it took longer than {:?}", self.timeout))),
        }
    }

    async fn open(&self, tasks: &Tasks) -> Result<Connection, SendFault> {
        let socket = dial::dial(&self.address, self.proxy.as_ref(), Purpose::Calls, self.timeout)
            .await
            .map_err(|fault| self.unreachable(chain(&fault)))?;
        // The kernel takes a part and says so, or fails and takes nothing.
        let whole =
            if self.proxy.as_ref().is_some_and(|proxy| proxy.tls.is_some()) { RECORD } else { usize::MAX };
        let Some(config) = &self.tls else { return http(socket, whole, tasks).await };
        let stream = tls::connect(Arc::clone(config), &self.address.host, socket, self.timeout)
            .await
            .map_err(|fault| SendFault::Tls { node: self.address.to_string(), reason: chain(&fault) })?;
        http(stream, RECORD, tasks).await
    }

    fn unreachable(&self, reason: String) -> SendFault {
        SendFault::Connect { node: self.address.to_string(), reason }
    }
}

/// A live connection. Dropping it closes the socket at once, whatever is under way on it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) counters: Arc<Counters>,
    /// Whether a request was ever sent on it: only then can it be stale.
    pub(super) used: bool,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn http<S: Stream>(stream: S, whole: usize, tasks: &Tasks) -> Result<Connection, SendFault> {
    let (stream, counters) = Counted::new(stream, whole);
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| SendFault::Unsendable(error.to_string()))?;
    // Its errors reach whoever waits for the answer.
    let driver = tasks.spawn_detached(async { drop(connection.await) }).abort_handle();
    Ok(Connection { sender, counters, used: false, driver })
}
