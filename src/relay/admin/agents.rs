//! Agents: what is known of each, and what an operator may do to it.

use std::time::SystemTime;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde_json::{Value, json};

use super::{Inner, Operations, store_failed};
use crate::common::host_name::HostName;
use crate::common::ids::AgentId;
use crate::net::local::{MayChange, Refused};
use crate::relay::registry::Live;
use crate::relay::store::{Agent, Alarm, Anchor, Role};
use crate::tunnel::code::{CloseCode, DrainCode};

/// Every agent with its tunnels and alarms, for `agents` and the operator port.
pub async fn overview(operations: &Operations) -> Result<Value, Refused> {
    let inner = &operations.0;
    let agents = inner.store.agents().await.map_err(|fault| store_failed(&fault))?;
    let alarms = inner.store.alarms().await.map_err(|fault| store_failed(&fault))?;
    let anchors = inner.store.anchors().await.map_err(|fault| store_failed(&fault))?;
    let sessions = inner.registry.sessions();
    let describe = |agent: &Agent| {
        describe(agent, &inner.direct.names_of(&agent.site), &sessions, &alarms, anchors.get(&agent.id))
    };
    let agents: Vec<Value> = agents.iter().map(describe).collect();
    Ok(json!({ "agents": agents }))
}

pub(super) async fn list(State(operations): State<Operations>) -> Result<Json<Value>, Refused> {
    overview(&operations).await.map(Json)
}

pub(super) async fn show(
    State(operations): State<Operations>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let agent = find(inner, &id).await?;
    let alarms = inner.store.alarms().await.map_err(|fault| store_failed(&fault))?;
    let anchors = inner.store.anchors().await.map_err(|fault| store_failed(&fault))?;
    let names = inner.direct.names_of(&agent.site);
    Ok(Json(describe(&agent, &names, &inner.registry.sessions(), &alarms, anchors.get(&agent.id))))
}

pub(super) async fn drain(
    _: MayChange,
    State(operations): State<Operations>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let agent = find(inner, &id).await?;
    let tunnels = inner.registry.drain_agent(agent.id, DrainCode::Operator, "the operator asked for it");
    if tunnels == 0 {
        return Err(Refused::new(StatusCode::CONFLICT, format!("agent {} is not connected", agent.id)));
    }
    tracing::info!(site = %agent.site, agent = %agent.id, tunnels, "an agent was asked to connect anew");
    Ok(Json(json!({ "agent": agent.id, "tunnels": tunnels })))
}

pub(super) async fn revoke(
    _: MayChange,
    State(operations): State<Operations>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let agent = find(inner, &id).await?;
    let revoked = inner.store.revoke_agent(agent.id, inner.clock.unix_seconds()).await;
    revoked.map_err(|fault| store_failed(&fault))?;
    let tunnels = inner.registry.close_agent(agent.id, CloseCode::Revoked, "the operator revoked this agent");
    tracing::info!(site = %agent.site, agent = %agent.id, tunnels, "an agent was revoked");
    Ok(Json(json!({ "agent": agent.id, "tunnels": tunnels })))
}

pub(super) async fn activate(
    _: MayChange,
    State(operations): State<Operations>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let agent = find(inner, &id).await?;
    let agent = inner.store.activate_agent(agent.id).await.map_err(|fault| store_failed(&fault))?;
    let Some(agent) = agent.filter(|agent| agent.revoked_at.is_none()) else {
        return Err(Refused::new(StatusCode::CONFLICT, "this agent is revoked")
            .with_remedy("Enrol it anew: `outhaul-relay site enrol`."));
    };
    let role_of = |id| if id == agent.id { Role::Active } else { Role::Standby };
    inner.registry.set_roles(&agent.site, role_of);
    tracing::info!(site = %agent.site, agent = %agent.id, "an agent was made the active one");
    Ok(Json(json!({ "agent": agent.id, "site": agent.site, "role": agent.role })))
}

pub(super) async fn clear(
    _: MayChange,
    State(operations): State<Operations>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let agent = find(inner, &id).await?;
    inner.store.clear_alarms(agent.id).await.map_err(|fault| store_failed(&fault))?;
    tracing::info!(site = %agent.site, agent = %agent.id, "an agent's alarms were cleared");
    Ok(Json(json!({ "agent": agent.id })))
}

/// By its id, or the beginning of it if no other agent's begins so.
async fn find(inner: &Inner, id: &str) -> Result<Agent, Refused> {
    let unknown = || {
        Refused::new(StatusCode::NOT_FOUND, "there is no such agent")
            .with_remedy("`outhaul-relay agents` shows all of them with their ids.")
    };
    if let Ok(id) = id.parse::<AgentId>() {
        let agent = inner.store.agent(id).await.map_err(|fault| store_failed(&fault))?;
        return agent.ok_or_else(unknown);
    }
    if id.is_empty() {
        return Err(unknown());
    }
    let agents = inner.store.agents().await.map_err(|fault| store_failed(&fault))?;
    let mut matching = agents.into_iter().filter(|agent| agent.id.to_string().starts_with(id));
    let agent = matching.next().ok_or_else(unknown)?;
    match matching.next() {
        Some(_) => Err(Refused::new(StatusCode::BAD_REQUEST, "more than one agent's id begins so")
            .with_remedy("Write more of it.")),
        None => Ok(agent),
    }
}

fn describe(
    agent: &Agent,
    names: &[HostName],
    sessions: &[Live],
    alarms: &[Alarm],
    anchor: Option<&Anchor>,
) -> Value {
    let tunnels: Vec<&Live> = sessions.iter().filter(|live| live.session.agent == agent.id).collect();
    let state = match (agent.revoked_at, tunnels.as_slice()) {
        (Some(_), _) => "revoked",
        (None, []) => "offline",
        (None, some) if some.iter().any(|live| live.usable) => "connected",
        (None, _) => "draining",
    };
    let newest = tunnels.iter().max_by_key(|live| live.session.since);
    let upstreams = newest.map(|live| live.session.status.upstreams()).unwrap_or_default();
    let software = newest.map(|live| live.session.software.clone()).filter(|software| !software.is_empty());
    let alarms: Vec<Value> = alarms
        .iter()
        .filter(|alarm| alarm.agent == agent.id)
        .map(|alarm| {
            json!({
                "kind": alarm.kind,
                "first_at": alarm.first_at,
                "last_at": alarm.last_at,
                "count": alarm.count,
                "detail": alarm.detail,
            })
        })
        .collect();
    let tunnels: Vec<Value> = tunnels.iter().map(|live| tunnel(live)).collect();
    json!({
        "agent": agent.id,
        "site": agent.site,
        "role": agent.role,
        "state": state,
        "software": software.unwrap_or_else(|| agent.software.clone()),
        "created": agent.created,
        "revoked_at": agent.revoked_at,
        "note": agent.note,
        "names": names,
        "upstreams": upstreams,
        "tunnels": tunnels,
        "alarms": alarms,
        "audit": anchor.map(|anchor| json!({
            "number": anchor.head.number,
            "head": anchor.head.head,
            "time": anchor.head.time,
            "signature": anchor.head.signature,
            "seen": anchor.seen,
        })),
    })
}

fn tunnel(live: &Live) -> Value {
    let session = &live.session;
    let since = session.since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({
        "slot": session.slot,
        "from": session.peer.to_string(),
        "since": since,
        "binding": session.layer.as_str(),
        "outer": session.outer.as_ref(),
        "usable": live.usable,
        "calls": live.stats.streams,
        "opened": live.stats.opened,
        "bytes_in": live.stats.bytes_in,
        "bytes_out": live.stats.bytes_out,
        "round_trip_ms": live.stats.round_trip.map(|time| time.as_secs_f64() * 1000.0),
    })
}
