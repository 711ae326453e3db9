//! Keep-alive connections to one node: bounded, reused youngest first, never kept long.
//!
//! Tomcat closes an idle connection after 20 s. A request that crosses that close gets no answer, and an unsafe
//! one must not be repeated; so an unsafe one takes only a connection that was in use a moment ago.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::{Connection, Target};
use super::fault::SendFault;
use crate::common::clock::Clock;
use crate::common::tasks::Tasks;

/// No connection is kept idle longer.
const IDLE_LIFE: Duration = Duration::from_secs(15);
/// An unsafe request takes only a connection idle for less than this.
const FRESH: Duration = Duration::from_secs(5);
/// Connections beside the bound, for the agent's own questions.
const OWN: usize = 4;
/// How many calls may wait for a connection, for each one there is.
const WAITING_EACH: u32 = 4;

/// The connections to one node.
pub(super) struct Pool {
    pub(super) target: Target,
    idle: Mutex<VecDeque<Idle>>,
    slots: Arc<Semaphore>,
    /// For what the agent itself asks: calls that wait for it hold all the others.
    own: Arc<Semaphore>,
    max: u32,
    waiting: AtomicU32,
    clock: Clock,
    pub(super) tasks: Tasks,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Who wants a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// A call.
    Call,
    /// The agent, for one or more calls that wait: is the credential alive, what is the new token.
    Agent,
}

/// Which kept connections a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Any that is still open.
    Any,
    /// Only one that was in use a moment ago.
    Fresh,
    /// None: a new one.
    Never,
}

impl Pool {
    pub(super) fn new(target: Target, max: u32, clock: Clock, tasks: Tasks) -> Arc<Self> {
        Arc::new(Self {
            target,
            idle: Mutex::default(),
            slots: Arc::new(Semaphore::new(max as usize)),
            own: Arc::new(Semaphore::new(OWN)),
            max,
            waiting: AtomicU32::new(0),
            clock,
            tasks,
        })
    }

    /// A connection of one's own until the lease is dropped or handed back.
    pub(super) async fn lease(self: &Arc<Self>, whom: For, reuse: Reuse) -> Result<Lease, SendFault> {
        let slot = match whom {
            For::Call => self.slot().await?,
            For::Agent => self.own().await?,
        };
        while let Some(mut connection) = self.take_idle(reuse) {
            // Handed back a moment ago, it may still have to see the end of its last exchange.
            let ready = tokio::time::timeout(Duration::from_millis(100), connection.sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Ok(Lease { connection, pool: Arc::clone(self), _slot: slot });
            }
        }
        self.make_room();
        // Rare, and large: every call would carry and move its state.
        let connection = Box::pin(self.target.connect(&self.tasks)).await?;
        Ok(Lease { connection, pool: Arc::clone(self), _slot: slot })
    }

    async fn own(&self) -> Result<OwnedSemaphorePermit, SendFault> {
        let slot = tokio::time::timeout(self.target.timeout, Arc::clone(&self.own).acquire_owned()).await;
        slot.ok().and_then(Result::ok).ok_or(SendFault::Busy(OWN as u32))
    }

    async fn slot(&self) -> Result<OwnedSemaphorePermit, SendFault> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        let queue = Waiting::enter(&self.waiting);
        if queue.place > self.max.saturating_mul(WAITING_EACH) {
            return Err(SendFault::Busy(self.max));
        }
        let slot = tokio::time::timeout(self.target.timeout, Arc::clone(&self.slots).acquire_owned()).await;
        match slot {
            Ok(Ok(slot)) => Ok(slot),
            _ => Err(SendFault::Busy(self.max)),
        }
    }

    fn take_idle(&self, reuse: Reuse) -> Option<Connection> {
        let limit = match reuse {
            Reuse::Any => IDLE_LIFE,
            Reuse::Fresh => FRESH,
            Reuse::Never => return None,
        };
        let now = self.clock.now();
        let mut idle = self.lock();
        while let Some(kept) = idle.pop_back() {
            if now.saturating_duration_since(kept.since) >= limit {
                // It was the youngest; but a safe request may still take it.
                idle.push_back(kept);
                return None;
            }
            if !kept.connection.sender.is_closed() {
                return Some(kept.connection);
            }
        }
        None
    }

    /// Kept and leased connections together stay within the bound: the oldest kept ones go.
    fn make_room(&self) {
        let in_use = (self.max as usize).saturating_sub(self.slots.available_permits());
        let mut idle = self.lock();
        while !idle.is_empty() && idle.len() + in_use > self.max as usize {
            idle.pop_front();
        }
    }

    /// Closes what has been idle too long.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        let mut idle = self.lock();
        while idle.front().is_some_and(|kept| {
            now.saturating_duration_since(kept.since) >= IDLE_LIFE || kept.connection.sender.is_closed()
        }) {
            idle.pop_front();
        }
    }

    /// Connections kept for the next request.
    pub(super) fn idle(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, lent. Dropping it closes the connection.
pub(super) struct Lease {
    pub(super) connection: Connection,
    pool: Arc<Pool>,
    _slot: OwnedSemaphorePermit,
}

impl Lease {
    /// Keeps the connection for the next request.
    pub(super) fn hand_back(self) {
        let Self { connection, pool, _slot } = self;
        if connection.counters.write_broken() || connection.sender.is_closed() {
            return;
        }
        let since = pool.clock.now();
        pool.lock().push_back(Idle { connection, since });
    }
}

struct Waiting<'a> {
    counter: &'a AtomicU32,
    place: u32,
}

impl<'a> Waiting<'a> {
    fn enter(counter: &'a AtomicU32) -> Self {
        let place = counter.fetch_add(1, Ordering::Relaxed) + 1;
        Self { counter, place }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}
