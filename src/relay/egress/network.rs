//! The world outside as this room needs it, so that a test can put another one in its place.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::common::tasks::Tasks;
use crate::net::dial;
use crate::net::http_client::Stream;

/// Names, connections, and this machine's own addresses.
pub trait Network: Send + Sync {
    /// The addresses of a name. `place` is kept until the lookup is over, whoever still waits for it.
    fn lookup<'a>(
        &'a self,
        name: &'a str,
        place: OwnedSemaphorePermit,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
    /// A connection to one of these addresses, and to no other.
    fn connect<'a>(&'a self, addresses: &'a [SocketAddr]) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;
    /// Whether an address is this machine's own.
    fn is_own(&self, address: IpAddr) -> bool;
}

/// The system's resolver and sockets.
pub struct System {
    tasks: Tasks,
    lookups: Arc<Semaphore>,
}

impl System {
    /// Lookups run among these tasks.
    pub fn new(tasks: Tasks) -> Self {
        Self { tasks, lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Network for System {
    fn lookup<'a>(
        &'a self,
        name: &'a str,
        place: OwnedSemaphorePermit,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let name = name.to_owned();
        Box::pin(async move {
            let closed = |_| io::Error::other("the relay stops");
            let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(closed)?;
            // A lookup holds a thread to its end, whoever still waits for it; so long it keeps its places.
            let looking = self.tasks.spawn_detached(async move {
                let found = dial::lookup(&name).await;
                drop((permit, place));
                found
            });
            looking.await.map_err(io::Error::other)?
        })
    }

    fn connect<'a>(&'a self, addresses: &'a [SocketAddr]) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(async move { Ok(Box::new(dial::connect_to(addresses).await?) as Box<dyn Stream>) })
    }

    fn is_own(&self, address: IpAddr) -> bool {
        dial::is_own(address)
    }
}

/// How many lookups of all sites may be under way.
const LOOKUPS: usize = 32;
