//! Which path does what.

use std::fmt::Write as _;
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
use super::{CallerLine, House, Made, NewKey, SignedBy};
use crate::agent::audit::Event;
use crate::common::ids::CallerName;
use crate::identity::keys::PublicKey;
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
        .merge(super::certificates::routes())
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
    public_key: Option<String>,
}

async fn add(
    who: MayChange,
    State(house): Shared,
    Json(Add { name, public_key }): Json<Add>,
) -> Result<Json<NewKey>, Refused> {
    let name = named(&name)?;
    let made = house.add_caller(&name, public(public_key.as_deref())?).await?;
    let action = Action::new(Event::CallerAdded, who).caller(name.as_str());
    let action = match &made {
        Made::Secret(_) => action,
        Made::Signs(id) => action.detail(format!("signs as {id}")),
    };
    house.audit().record(action).await?;
    tracing::info!(caller = %name, "caller added");
    Ok(new_key(house.as_ref(), &name, made))
}

#[derive(Deserialize)]
struct Rotate {
    #[serde(default)]
    grace_seconds: u64,
    public_key: Option<String>,
}

async fn rotate(
    who: MayChange,
    State(house): Shared,
    Path(name): Path<String>,
    Json(Rotate { grace_seconds, public_key }): Json<Rotate>,
) -> Result<Json<NewKey>, Refused> {
    let name = named(&name)?;
    let public = public(public_key.as_deref())?;
    let made = house.rotate_caller(&name, public, Duration::from_secs(grace_seconds)).await?;
    let mut grace = format!("the old key works for {grace_seconds} s");
    if let Made::Signs(id) = &made {
        let _ = write!(grace, "; signs as {id}");
    }
    house.audit().record(Action::new(Event::CallerRotated, who).caller(name.as_str()).detail(grace)).await?;
    tracing::info!(caller = %name, "caller's key replaced");
    Ok(new_key(house.as_ref(), &name, made))
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

/// The public key that a caller brings.
fn public(text: Option<&str>) -> Result<Option<PublicKey>, Refused> {
    let Some(text) = text else { return Ok(None) };
    PublicKey::from_text(text).map(Some).ok_or_else(|| {
        Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "this is no Ed25519 public key").with_remedy(
            "Make one with `openssl genpkey -algorithm ed25519 -out caller.pem`, and write its public half with \
             `openssl pkey -in caller.pem -pubout`.",
        )
    })
}

fn new_key(house: &dyn House, name: &CallerName, made: Made) -> Json<NewKey> {
    let status = house.status();
    let (key, signed) = match made {
        Made::Secret(key) => (Some(key.expose().clone()), None),
        Made::Signs(key_id) => {
            let agent_public_key = house.answers_by().to_pem();
            (None, Some(SignedBy { key_id, agent: status.relay.agent.clone(), agent_public_key }))
        }
    };
    let host = status.relay.url.strip_prefix("wss://").unwrap_or(&status.relay.url);
    let base_url = status.relay.site.as_ref().map(|site| format!("https://{host}/s/{site}"));
    // Whatever passes comes to the relay's own port.
    let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let names = &status.pass_through.names;
    let best = names.iter().find(|name| name.level == "customer").or(names.first());
    let pass_through_url = best.map(|name| format!("https://{}{port}", name.name));
    let upstreams = status.upstreams.into_iter().map(|upstream| upstream.name).collect();
    Json(NewKey { name: name.to_string(), key, signed, base_url, pass_through_url, upstreams })
}
