//! What the relay must not forget: sites, registrations, agents, join states, alarms. One SQLite file.
//!
//! One thread owns the connection and empties a bounded queue: what has gathered meanwhile runs in one
//! transaction with one fsync, so a thousand agents that return together don't wait for a thousand fsyncs. An
//! answer is given only after the commit. Each table has a file; nothing of a call's content is ever here.

mod agents;
mod alarms;
mod join_states;
mod migrate;
mod registrations;
mod sites;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub use agents::{Agent, NewAgent, Role};
pub use alarms::{Alarm, AlarmKind};
pub use registrations::{Enrolled, Registration, TokenFault};
pub use sites::Site;

/// What goes wrong with the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreFault {
    /// SQLite's own word.
    #[error("the relay's store failed: {0}")]
    Sql(Arc<rusqlite::Error>),
    /// A newer program wrote it.
    #[error(
        "the relay's store has form {found}, this program knows {known}: a newer version wrote it; install that version again"
    )]
    TooNew {
        /// The form found.
        found: i64,
        /// The newest form this program knows.
        known: i64,
    },
    /// A row that this program did not write.
    #[error("the relay's store holds a value that can't be read: {0}")]
    Corrupt(&'static str),
    /// The store's thread has ended.
    #[error("the relay's store is closed")]
    Closed,
    /// Too much is waiting already.
    #[error("the relay's store is overloaded")]
    Overloaded,
}

impl From<rusqlite::Error> for StoreFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(Arc::new(error))
    }
}

type Delivery = Box<dyn FnOnce(Result<(), StoreFault>) + Send>;
type Job = Box<dyn FnOnce(&Connection) -> Delivery + Send>;

/// A handle to the store's thread; cheap to clone. The thread ends with the last handle.
#[derive(Clone)]
pub struct Store(mpsc::Sender<Job>);

impl Store {
    /// Opens the file, brings it to this version's form, and starts the thread.
    pub fn open(path: &Path) -> Result<Self, StoreFault> {
        own_alone(path);
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A lost join state would lock agents out: FULL, not NORMAL.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrate::run(&mut connection)?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || work_off(&connection, receiver))
            .map_err(|_| StoreFault::Closed)?;
        Ok(Self(sender))
    }

    /// Can it be read at all? For `/ready`.
    pub async fn check(&self) -> Result<(), StoreFault> {
        self.call(|connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }

    /// Runs `work` on the store's thread, in a savepoint of its own: it takes effect whole or not at all.
    async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<R, StoreFault> + Send + 'static,
    ) -> Result<R, StoreFault> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = in_savepoint(connection, work);
            Box::new(move |committed| {
                // Nobody may wait any more; the work is done all the same.
                let _ = reply.send(committed.and(result));
            })
        });
        match tokio::time::timeout(PATIENCE, self.0.send(job)).await {
            Ok(sent) => sent.map_err(|_| StoreFault::Closed)?,
            Err(_) => return Err(StoreFault::Overloaded),
        }
        answer.await.map_err(|_| StoreFault::Closed)?
    }
}

/// Makes a new file the owner's alone; SQLite gives its companion files the same rights.
fn own_alone(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    // A fault here comes back, with its reason, when SQLite opens the file.
    let _ = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
}

fn work_off(connection: &Connection, mut queue: mpsc::Receiver<Job>) {
    let mut deliveries = Vec::new();
    while let Some(first) = queue.blocking_recv() {
        let begun = connection.execute_batch("BEGIN IMMEDIATE");
        let mut next = Some(first);
        while let Some(job) = next {
            deliveries.push(job(connection));
            next = if deliveries.len() < BATCH { queue.try_recv().ok() } else { None };
        }
        let done = begun.and_then(|()| connection.execute_batch("COMMIT")).map_err(StoreFault::from);
        if let Err(error) = &done {
            tracing::error!(%error, "the store could not commit");
            // Without a transaction there is nothing to roll back, and that is fine too.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for deliver in deliveries.drain(..) {
            deliver(done.clone());
        }
    }
}

fn in_savepoint<R>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<R, StoreFault>,
) -> Result<R, StoreFault> {
    if connection.is_autocommit() {
        // The transaction could not begin; without it nothing would be whole.
        return Err(StoreFault::Overloaded);
    }
    connection.execute_batch("SAVEPOINT job")?;
    let result = work(connection);
    let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    connection.execute_batch(end)?;
    result
}

fn seconds(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// How long SQLite waits for another process, such as a backup.
const BUSY: Duration = Duration::from_secs(5);
/// How many jobs may wait.
const QUEUE: usize = 512;
/// How many jobs share a commit.
const BATCH: usize = 128;
/// How long a job waits for room in the queue.
const PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
