//! What the relay must not forget: sites, their names, registrations, agents, join states, alarms, audit
//! heads. One SQLite file.
//!
//! A [`Worker`] owns it, so a thousand agents that return together share a commit. An answer is given only after
//! that. Each table has a file; nothing of a call's content is ever here.

mod agents;
mod alarms;
mod anchors;
mod egress;
mod join_states;
mod names;
mod registrations;
mod sites;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::sqlite::migrations::{self, MigrationFault};
use crate::sqlite::{Worker, WorkerFault, own_alone, signed as seconds, unsigned};
pub use agents::{Agent, NewAgent, Role};
pub use alarms::{Alarm, AlarmKind};
pub use anchors::Anchor;
pub use egress::Added;
pub use names::{Name, NameAdded};
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

impl From<WorkerFault> for StoreFault {
    fn from(fault: WorkerFault) -> Self {
        match fault {
            WorkerFault::Sql(error) => Self::Sql(error),
            WorkerFault::Closed => Self::Closed,
            WorkerFault::Overloaded => Self::Overloaded,
        }
    }
}

impl From<MigrationFault> for StoreFault {
    fn from(fault: MigrationFault) -> Self {
        match fault {
            MigrationFault::TooNew { found, known } => Self::TooNew { found, known },
            MigrationFault::Sql(error) => error.into(),
        }
    }
}

/// A handle to the store's thread; cheap to clone. The thread ends with the last handle.
#[derive(Clone)]
pub struct Store(Worker);

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
        migrations::run(&mut connection, MIGRATIONS)?;
        Ok(Self(Worker::start("store", connection)?))
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
        self.0.call(work).await
    }
}

/// In order; a released one is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("001_first.sql"),
    include_str!("002_audit_anchors.sql"),
    include_str!("003_names.sql"),
    include_str!("004_egress.sql"),
];
/// How long SQLite waits for another process, such as a backup.
const BUSY: Duration = Duration::from_secs(5);
#[cfg(test)]
mod tests;
