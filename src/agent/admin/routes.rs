//! Which path does what.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::audit::Action;
use super::refusals::RefusalsReport;
use super::status::Status;
use super::{CallerLine, House, NewKey};
use crate::agent::audit::Event;
use crate::common::ids::CallerName;
use crate::common::secret::Secret;
use crate::net::local::{MayChange, Refused};

type Shared = State<Arc<dyn House>>;

/// The routes of the admin socket.
pub fn router(house: Arc<dyn House>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/pause", post(pause))
        .route("/resume", post(resume))
        .route("/reload", post(reload))
        .route("/policy/refusals", get(refusals))
        .route("/callers", get(callers).post(add))
        .route("/callers/{name}", delete(remove))
        .route("/callers/{name}/rotate", post(rotate))
        .merge(super::credentials::routes())
        .merge(super::egress::routes())
        .merge(super::store::routes())
        .merge(super::audit::routes())
        .with_state(house)
}

async fn status(State(house): Shared) -> Json<Status> {
    Json(house.status())
}

async fn pause(who: MayChange, State(house): Shared) -> Result<Json<Value>, Refused> {
    let paused = house.pause();
    // Calls are refused even where that could not be made to last.
    house.audit().record(Action::new(Event::Pause, who)).await?;
    paused?;
    Ok(Json(json!({ "paused": true })))
}

async fn resume(who: MayChange, State(house): Shared) -> Result<Json<Value>, Refused> {
    house.resume()?;
    house.audit().record(Action::new(Event::Resume, who)).await?;
    Ok(Json(json!({ "paused": false })))
}

async fn reload(who: MayChange, State(house): Shared) -> Result<Json<Value>, Refused> {
    let restart_needed = house.reload(who.by()).await?;
    Ok(Json(json!({ "reloaded": true, "restart_needed": restart_needed })))
}

async fn refusals(State(house): Shared) -> Json<RefusalsReport> {
    Json(house.refusals())
}

async fn callers(State(house): Shared) -> Json<Vec<CallerLine>> {
    Json(house.callers())
}

#[derive(Deserialize)]
struct Add {
    name: String,
}

async fn add(
    who: MayChange,
    State(house): Shared,
    Json(Add { name }): Json<Add>,
) -> Result<Json<NewKey>, Refused> {
    let name = named(&name)?;
    let key = house.add_caller(&name).await?;
    house.audit().record(Action::new(Event::CallerAdded, who).caller(name.as_str())).await?;
    tracing::info!(caller = %name, "caller added");
    Ok(new_key(house.as_ref(), &name, &key))
}

#[derive(Deserialize)]
struct Rotate {
    #[serde(default)]
    grace_seconds: u64,
}

async fn rotate(
    who: MayChange,
    State(house): Shared,
    Path(name): Path<String>,
    Json(Rotate { grace_seconds }): Json<Rotate>,
) -> Result<Json<NewKey>, Refused> {
    let name = named(&name)?;
    let key = house.rotate_caller(&name, Duration::from_secs(grace_seconds)).await?;
    let grace = format!("the old key works for {grace_seconds} s");
    house.audit().record(Action::new(Event::CallerRotated, who).caller(name.as_str()).detail(grace)).await?;
    tracing::info!(caller = %name, "caller's key replaced");
    Ok(new_key(house.as_ref(), &name, &key))
}

async fn remove(
    who: MayChange,
    State(house): Shared,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    let name = named(&name)?;
    house.remove_caller(&name).await?;
    house.audit().record(Action::new(Event::CallerRemoved, who).caller(name.as_str())).await?;
    tracing::info!(caller = %name, "caller removed");
    Ok(Json(json!({ "name": name, "removed": true })))
}

fn named(name: &str) -> Result<CallerName, Refused> {
    name.parse().map_err(|fault: crate::common::ids::NameFault| {
        Refused::new(StatusCode::UNPROCESSABLE_ENTITY, fault.to_string())
    })
}

fn new_key(house: &dyn House, name: &CallerName, key: &Secret<String>) -> Json<NewKey> {
    let status = house.status();
    let host = status.relay.url.strip_prefix("wss://").unwrap_or(&status.relay.url);
    let base_url = status.relay.site.as_ref().map(|site| format!("https://{host}/s/{site}"));
    let upstreams = status.upstreams.into_iter().map(|upstream| upstream.name).collect();
    Json(NewKey { name: name.to_string(), key: key.expose().clone(), base_url, upstreams })
}
