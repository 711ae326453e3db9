//! `/store/…`: backups, a look at the store's health, and a change of its keys.

use axum::extract::State;
use axum::{Json, Router, routing::get, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::audit::Action;
use super::{Answer, House};
use crate::agent::audit::Event;
use crate::common::secret::Secret;
use crate::net::local::{MayChange, Refused};

/// What may be done to the store while the agent runs.
pub trait StoreDesk: Send + Sync {
    /// Makes a backup in the state folder; gives its path.
    fn backup(&self) -> Answer<'_, String>;
    /// Looks at everything; gives what was found.
    fn verify(&self) -> Answer<'_, Value>;
    /// Wraps the store's keys with another key-encryption key: the one given, or the one that lies beside the old
    /// one as `FILE.next`.
    fn rekey(&self, key: Option<Secret<String>>) -> Answer<'_, ()>;
}

type Shared = State<std::sync::Arc<dyn House>>;

pub(super) fn routes() -> Router<std::sync::Arc<dyn House>> {
    Router::new()
        .route("/store/backup", post(backup))
        .route("/store/verify", get(verify))
        .route("/store/rekey", post(rekey))
}

async fn backup(who: MayChange, State(house): Shared) -> Result<Json<Value>, Refused> {
    let path = house.store().backup().await?;
    house.audit().record(Action::new(Event::StoreBackup, who).detail(path.as_str())).await?;
    tracing::info!(backup = %path, "backup of the store made");
    Ok(Json(json!({ "path": path })))
}

async fn verify(_: MayChange, State(house): Shared) -> Result<Json<Value>, Refused> {
    house.store().verify().await.map(Json)
}

#[derive(Deserialize)]
struct Rekey {
    key: Option<String>,
}

async fn rekey(
    who: MayChange,
    State(house): Shared,
    Json(Rekey { key }): Json<Rekey>,
) -> Result<Json<Value>, Refused> {
    house.store().rekey(key.map(Secret::new)).await?;
    house.audit().record(Action::new(Event::StoreRekey, who)).await?;
    tracing::info!("the store's key was changed; its secrets are being sealed anew");
    Ok(Json(json!({ "rekeyed": true })))
}
