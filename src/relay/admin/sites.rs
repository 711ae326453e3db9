//! Sites and the tokens by which their agents become known.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Operations, store_failed};
use crate::common::ids::SiteName;
use crate::identity::token::{EnrolmentSecret, EnrolmentToken};
use crate::net::local::{MayChange, Refused};
use crate::relay::store::{Registration, Role};

#[derive(Deserialize)]
pub(super) struct Add {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Remove {
    force: bool,
}

#[derive(Deserialize)]
pub(super) struct Enrol {
    role: Role,
    valid_seconds: u64,
}

pub(super) async fn add(
    _: MayChange,
    State(operations): State<Operations>,
    Json(add): Json<Add>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let name = site_name(&add.name)?;
    let added = inner.store.add_site(name.clone(), inner.clock.unix_seconds()).await;
    if !added.map_err(|fault| store_failed(&fault))? {
        return Err(Refused::new(StatusCode::CONFLICT, format!("there is a site “{name}” already"))
            .with_remedy("`outhaul-relay site list` shows all of them."));
    }
    inner.registry.set_site(&name, false, false);
    tracing::info!(site = %name, "a site was added");
    Ok(Json(json!({ "site": name })))
}

pub(super) async fn list(State(operations): State<Operations>) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let sites = inner.store.sites().await.map_err(|fault| store_failed(&fault))?;
    let agents = inner.store.agents().await.map_err(|fault| store_failed(&fault))?;
    let sessions = inner.registry.sessions();
    let sites: Vec<Value> = sites
        .iter()
        .map(|site| {
            let known = agents.iter().filter(|agent| agent.site == site.name && agent.revoked_at.is_none());
            let mut connected: Vec<_> = sessions
                .iter()
                .filter(|live| live.site == site.name)
                .map(|live| live.session.agent)
                .collect();
            connected.dedup();
            let known_site = inner.registry.site(site.name.as_str());
            let (calls, connections) =
                known_site.map_or((0, 0), |site| (site.quota().under_way(), site.quota().connections()));
            let names = inner.direct.names_of(&site.name);
            json!({
                "site": site.name,
                "created": site.created,
                "paused": site.paused,
                "agents": known.count(),
                "connected": connected.len(),
                "calls": calls,
                "egress": inner.egress.usage(&site.name),
                "names": names,
                "connections": connections,
            })
        })
        .collect();
    Ok(Json(json!({ "sites": sites })))
}

pub(super) async fn remove(
    _: MayChange,
    State(operations): State<Operations>,
    Path(name): Path<String>,
    Json(remove): Json<Remove>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let name = site_name(&name)?;
    let connected = inner.registry.sessions().iter().any(|live| live.site == name);
    if connected && !remove.force {
        return Err(Refused::new(StatusCode::CONFLICT, format!("agents of the site “{name}” are connected"))
            .with_remedy("Stop them first, or add --force to cut them off."));
    }
    let _one = inner.naming.lock().await;
    if !inner.store.remove_site(name.clone()).await.map_err(|fault| store_failed(&fault))? {
        return Err(unknown(&name));
    }
    inner.direct.names.remove_site(&name);
    inner.registry.remove_site(&name);
    inner.egress.forget(&name);
    tracing::info!(site = %name, "a site was removed");
    Ok(Json(json!({ "site": name })))
}

pub(super) async fn pause(
    _: MayChange,
    State(operations): State<Operations>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    set_paused(&operations, &name, true).await
}

pub(super) async fn resume(
    _: MayChange,
    State(operations): State<Operations>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    set_paused(&operations, &name, false).await
}

async fn set_paused(operations: &Operations, name: &str, paused: bool) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let name = site_name(name)?;
    if !inner.store.pause_site(name.clone(), paused).await.map_err(|fault| store_failed(&fault))? {
        return Err(unknown(&name));
    }
    inner.registry.set_site(&name, paused, false);
    tracing::info!(site = %name, paused, "a site was paused or resumed");
    Ok(Json(json!({ "site": name, "paused": paused })))
}

pub(super) async fn enrol(
    _: MayChange,
    State(operations): State<Operations>,
    Path(name): Path<String>,
    Json(enrol): Json<Enrol>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let name = site_name(&name)?;
    if !(60..=LONGEST).contains(&enrol.valid_seconds) {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "a token is good for 1 minute to 7 days")
            .with_remedy("Give --valid-for a time in between, such as \"1 h\"."));
    }
    let secret = EnrolmentSecret::generate()
        .map_err(|fault| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()))?;
    let created = inner.clock.unix_seconds();
    let expires = created + enrol.valid_seconds;
    let registration =
        Registration { site: name.clone(), secret_hash: secret.hash().0, role: enrol.role, created, expires };
    if !inner.store.add_registration(registration).await.map_err(|fault| store_failed(&fault))? {
        return Err(unknown(&name));
    }
    let agents = inner.store.agents().await.map_err(|fault| store_failed(&fault))?;
    let replaces = agents.iter().find(|agent| {
        enrol.role == Role::Active
            && agent.site == name
            && agent.role == Role::Active
            && agent.revoked_at.is_none()
    });
    let url = inner.public_url.to_string();
    let token = EnrolmentToken { url: url.clone(), site: name.clone(), relay: inner.fingerprint, secret }
        .to_secret_text();
    tracing::info!(site = %name, role = enrol.role.as_str(), "an enrolment token was made");
    Ok(Json(json!({
        "site": name,
        "role": enrol.role,
        "expires": expires,
        "relay": url,
        "token": token.expose(),
        "command": format!("sudo outhaul-agent enrol --relay {url} --token {}", token.expose()),
        "replaces": replaces.map(|agent| agent.id),
    })))
}

pub(super) fn site_name(name: &str) -> Result<SiteName, Refused> {
    name.parse().map_err(|fault: crate::common::ids::NameFault| {
        Refused::new(StatusCode::BAD_REQUEST, fault.to_string())
    })
}

pub(super) fn unknown(name: &SiteName) -> Refused {
    Refused::new(StatusCode::NOT_FOUND, format!("there is no site “{name}”"))
        .with_remedy("`outhaul-relay site list` shows all of them; `site add` makes one.")
}

/// Seconds a token may be good for.
const LONGEST: u64 = 7 * 24 * 3600;
