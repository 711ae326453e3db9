//! What the agent keeps: one encrypted SQLite file in the state folder, and the keys it is sealed with.
//!
//! The file is encrypted by SQLCipher; columns with secrets are sealed once more with a data key and bound to their
//! place. Both keys lie in `store.keys`, wrapped with the key-encryption key, which lies elsewhere ([`KeySource`]).
//! One process holds the folder, one thread the connection; an answer is given only after the commit. Each table has
//! a file below `tables`. Knows nothing of what the rows are for.

mod copy;
mod fault;
mod folder;
mod key;
mod keyring;
mod open;
mod rekey;
mod seal;
mod sealed;
mod session;
pub mod tables;
#[cfg(test)]
mod tests;
mod verify;

use std::path::Path;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;

pub use copy::{BackupFault, Restored, restore};
pub use fault::StoreFault;
pub use folder::{Folder, FolderFault, give_to_owner};
pub use key::{KeySource, StoreKey, StoreKeyFault};
pub use keyring::KeyringFault;
pub use rekey::Resealed;
pub use seal::{Place, SealFault};
pub use session::{Session, row_id};
pub use verify::Verified;

use crate::sqlite::Worker;
use keyring::Keyring;
use seal::Seals;

/// The store, open. Cheap to clone; it closes with the last handle.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    worker: Worker,
    seals: Arc<ArcSwap<Seals>>,
    /// The keys, and the key they are wrapped with.
    keys: Mutex<(Keyring, StoreKey)>,
    folder: Folder,
}

impl Store {
    /// The state folder, which this process holds as long as the store is open.
    pub fn folder(&self) -> &Path {
        self.0.folder.path()
    }

    /// Runs `work` on the store's thread, in a savepoint of its own: it takes effect whole or not at all. On return
    /// that is on disk.
    pub async fn call<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Session<'_>) -> Result<R, StoreFault> + Send + 'static,
    ) -> Result<R, StoreFault> {
        let seals = Arc::clone(&self.0.seals);
        self.0
            .worker
            .call(move |connection| {
                let seals = seals.load();
                let session = Session::new(connection, &seals);
                let result = work(&session);
                if let Err(StoreFault::Damaged(_)) = &result {
                    open::leave_log(connection, true)?;
                }
                let result = result?;
                session.count()?;
                Ok(result)
            })
            .await
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Store({})", self.folder().display())
    }
}

/// The names of the files in the state folder.
const DATABASE: &str = "store.db";
const KEYS: &str = "store.keys";
