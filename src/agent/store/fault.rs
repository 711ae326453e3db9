//! What goes wrong with the store, and what the administrator does about it.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;

use super::folder::FolderFault;
use super::key::StoreKeyFault;
use super::keyring::KeyringFault;
use super::seal::SealFault;
use crate::common::report::{Exit, Report};
use crate::sqlite::WorkerFault;
use crate::sqlite::migrations::MigrationFault;

/// What goes wrong with the store. Nothing is ever made anew or overwritten because of one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreFault {
    /// The state folder.
    #[error(transparent)]
    Folder(Arc<FolderFault>),
    /// The key-encryption key.
    #[error(transparent)]
    Key(Arc<StoreKeyFault>),
    /// `store.keys`.
    #[error(transparent)]
    Keyring(Arc<KeyringFault>),
    /// One of the two files is gone.
    #[error(
        "{} is missing, but {} is there: put it back, or restore the store from a backup. Nothing was made anew",
        missing.display(), there.display()
    )]
    Missing {
        /// Which one is gone.
        missing: PathBuf,
        /// Which one is there.
        there: PathBuf,
    },
    /// SQLite can't read it.
    #[error(
        "the store is damaged ({0}): stop the agent and restore the store from a backup. Nothing was overwritten"
    )]
    Damaged(String),
    /// A newer program wrote it.
    #[error(
        "the store has form {found}, this program knows {known}: a newer version wrote it; install that version \
         again, or restore the backup that it made before. Nothing was changed"
    )]
    TooNew {
        /// The form found.
        found: i64,
        /// The newest form this program knows.
        known: i64,
    },
    /// No room.
    #[error("the store can't be written: the disk is full. Make room; nothing that was acknowledged is lost")]
    Full,
    /// Not writable.
    #[error(
        "the store can't be written: its file system is read-only, or the file is not the service's user's"
    )]
    ReadOnly,
    /// The disk.
    #[error("the store can't be read or written: {0}. Look at the disk and at the system's log")]
    Disk(String),
    /// Another process has the file open.
    #[error("another process has the store open: stop it first")]
    Busy,
    /// SQLite's own word.
    #[error("the store failed: {0}")]
    Sql(Arc<rusqlite::Error>),
    /// A row that this program did not write.
    #[error("the store holds a value that can't be read: {0}")]
    Corrupt(&'static str),
    /// A secret that does not open.
    #[error("a secret in the store (table {table}, column {column}) {fault}")]
    Seal {
        /// Its table.
        table: &'static str,
        /// Its column.
        column: &'static str,
        /// What is wrong.
        fault: SealFault,
    },
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
    /// Too much is waiting already.
    #[error("the store is overloaded")]
    Overloaded,
}

impl From<rusqlite::Error> for StoreFault {
    fn from(error: rusqlite::Error) -> Self {
        Self::of(Arc::new(error))
    }
}

impl From<WorkerFault> for StoreFault {
    fn from(fault: WorkerFault) -> Self {
        match fault {
            WorkerFault::Sql(error) => Self::of(error),
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

impl From<FolderFault> for StoreFault {
    fn from(fault: FolderFault) -> Self {
        Self::Folder(Arc::new(fault))
    }
}

impl From<StoreKeyFault> for StoreFault {
    fn from(fault: StoreKeyFault) -> Self {
        Self::Key(Arc::new(fault))
    }
}

impl From<KeyringFault> for StoreFault {
    fn from(fault: KeyringFault) -> Self {
        Self::Keyring(Arc::new(fault))
    }
}

impl StoreFault {
    fn of(error: Arc<rusqlite::Error>) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Self::Disk(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Sql(error),
        }
    }

    /// For the command line.
    pub fn report(&self) -> Report {
        let exit = match self {
            Self::Folder(fault) => fault.exit(),
            Self::Key(_) | Self::Keyring(_) | Self::Missing { .. } | Self::TooNew { .. } => Exit::Config,
            Self::Busy | Self::Overloaded => Exit::Temporary,
            Self::Full | Self::ReadOnly => Exit::CannotCreate,
            Self::Disk(_) | Self::Damaged(_) | Self::Corrupt(_) | Self::Seal { .. } => Exit::InputOutput,
            Self::Sql(_) | Self::Closed => Exit::Software,
        };
        Report::from_error(exit, self)
    }
}
