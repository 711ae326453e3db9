//! What the admin socket may do to the store.

use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;
use tokio::sync::Notify;

use super::stamp;
use crate::agent::admin::Answer;
use crate::agent::admin::store::StoreDesk;
use crate::agent::store::{BackupFault, KeySource, Resealed, Store, StoreFault, StoreKey};
use crate::common::clock::Clock;
use crate::common::report::{Exit, Report};
use crate::common::secret::Secret;
use crate::common::tasks::Tasks;
use crate::net::local::Refused;

/// The store, and what changing its keys takes.
pub struct StoreRoom {
    store: Store,
    key: KeySource,
    clock: Clock,
    /// Rung when there is something to seal anew.
    reseal: Arc<Notify>,
}

impl StoreRoom {
    /// Starts the task that seals secrets anew after a change of keys, also one that an earlier process began.
    pub fn start(store: Store, key: KeySource, clock: Clock, tasks: &Tasks) -> Self {
        let reseal = Arc::new(Notify::new());
        tasks.spawn("sealing anew", seal_anew(store.clone(), reseal.clone(), tasks.clone()));
        Self { store, key, clock, reseal }
    }

    /// Whether secrets are still sealed with an older data key.
    pub fn is_resealing(&self) -> bool {
        self.store.is_resealing()
    }

    /// Whether the key comes from an environment variable.
    pub fn key_is_exposed(&self) -> bool {
        self.key.is_exposed()
    }
}

impl StoreDesk for StoreRoom {
    fn backup(&self) -> Answer<'_, String> {
        Box::pin(async {
            let path = backup_path(&self.store, &self.clock);
            self.store.backup(&path).await.map_err(|fault| backup_refused(&fault))?;
            Ok(path.display().to_string())
        })
    }

    fn verify(&self) -> Answer<'_, Value> {
        Box::pin(async {
            let verified = self.store.verify().await.map_err(|fault| backup_refused(&fault))?;
            serde_json::to_value(verified).map_err(|_| refused(&StoreFault::Corrupt("the findings")))
        })
    }

    fn rekey(&self, key: Option<Secret<String>>) -> Answer<'_, ()> {
        Box::pin(async move {
            let key = match key {
                Some(text) => StoreKey::parse(text.expose()),
                None => self.key.next(self.store.folder()),
            };
            let key = key.ok_or_else(|| {
                Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "there is no new key, or it is none")
                    .with_remedy("It must be 64 hexadecimal digits, readable for the service's user only.")
            })?;
            self.store.rekey(key).await.map_err(|fault| refused(&fault))?;
            self.reseal.notify_one();
            Ok(())
        })
    }
}

/// Where a backup goes that is made by the daemon.
fn backup_path(store: &Store, clock: &Clock) -> PathBuf {
    let time: String = stamp(clock.wall()).chars().filter(char::is_ascii_alphanumeric).collect();
    store.folder().join(format!("store-{time}.backup"))
}

async fn seal_anew(store: Store, ring: Arc<Notify>, tasks: Tasks) {
    loop {
        match store.reseal().await {
            Ok(Resealed::More) => {
                if tasks.token().is_cancelled() {
                    return;
                }
                tokio::task::yield_now().await;
                continue;
            }
            Ok(Resealed::Done) => {}
            Err(fault) => {
                tracing::error!(%fault, "the store's secrets can't be sealed anew; tried again in a minute");
                tokio::select! {
                    () = tasks.cancelled() => return,
                    () = tokio::time::sleep(std::time::Duration::from_secs(60)) => continue,
                }
            }
        }
        tokio::select! {
            () = tasks.cancelled() => return,
            () = ring.notified() => {}
        }
    }
}

fn backup_refused(fault: &BackupFault) -> Refused {
    match fault {
        BackupFault::Store(fault) => refused(fault),
        BackupFault::Exists(_) => Refused::new(StatusCode::CONFLICT, fault.to_string()),
        other => Refused::new(StatusCode::INTERNAL_SERVER_ERROR, other.to_string()),
    }
}

pub(super) fn refused(fault: &StoreFault) -> Refused {
    let status = match fault {
        StoreFault::Overloaded | StoreFault::Busy => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refused::new(status, Report::from_error(Exit::Software, fault).to_string())
}
