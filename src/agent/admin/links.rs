//! `/links…`: who is whom, made, listed and ended by the administrator.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::House;
use super::audit::Action;
use super::people::MaySeePeople;
use crate::agent::audit::Event;
use crate::agent::mapping::{
    Account, ActAs, CreateFault, Import, ImportFault, Link, MappingRow, Mappings, ProveFault, Secrets,
};
use crate::common::ids::UpstreamName;
use crate::common::secret::Secret;
use crate::net::local::{MayChange, Refused};

/// One mapping in a list: nothing in it is secret. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkLine {
    /// The person, as `provider:subject`.
    pub person: ActAs,
    /// The application.
    pub upstream: UpstreamName,
    /// The account's key: its for good.
    pub user_key: String,
    /// The account's name, as last seen.
    pub user_name: String,
    /// The account's name for people, as last seen.
    pub display_name: String,
    /// `active`, `needs-reauth` or `suspended`.
    pub state: String,
    /// Why it can't be used.
    pub reason: Option<String>,
    /// `pat` or `oauth`.
    pub credential: Option<String>,
    /// When the access token runs out; it is renewed before.
    pub expires: Option<String>,
    /// What was granted.
    pub scope: Option<String>,
    /// An administrator let a second person use the account.
    pub shared: bool,
    /// When it was made.
    pub created: String,
    /// When it last changed.
    pub changed: String,
}

/// A mapping to be made with a personal access token.
#[derive(Serialize, Deserialize)]
pub struct NewLink {
    /// The person.
    pub person: ActAs,
    /// The application; may be left out where there is one only.
    pub upstream: Option<UpstreamName>,
    /// The token. Whose it is, is asked of the application.
    pub token: String,
    /// Let the person use an account to which another one is linked.
    pub allow_shared: bool,
}

/// Which mapping.
#[derive(Debug, Serialize, Deserialize)]
pub struct WhichLink {
    /// The person.
    pub person: ActAs,
    /// The application; may be left out where there is one only.
    pub upstream: Option<UpstreamName>,
}

/// Mappings from a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct ImportLinks {
    /// In the list's order.
    pub links: Vec<ImportedLink>,
    /// Let several people use one account.
    pub allow_shared: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedLink {
    /// Where it stands in the list, for faults.
    pub line: u64,
    /// The person.
    pub person: ActAs,
    /// The application.
    pub upstream: UpstreamName,
    /// The account's key.
    pub user_key: String,
    /// The account's name.
    pub user_name: String,
    /// The account's name for people.
    pub display_name: String,
}

/// The routes, beside those of the admin socket.
pub fn router(house: Arc<dyn House>, mappings: Mappings) -> Router {
    Router::new()
        .route("/links", get(list).post(create))
        .route("/links/export", get(export))
        .route("/links/remove", post(remove))
        .route("/links/import", post(import).layer(DefaultBodyLimit::max(MAX_LIST)))
        .with_state(Desk { house, mappings })
}

#[derive(Clone)]
struct Desk {
    house: Arc<dyn House>,
    mappings: Mappings,
}

async fn list(
    _: MaySeePeople,
    State(Desk { mappings, .. }): State<Desk>,
) -> Result<Json<Vec<LinkLine>>, Refused> {
    let rows = mappings.list().await.map_err(|fault| broken(&fault))?;
    Ok(Json(rows.into_iter().map(line).collect()))
}

async fn export(
    who: MayChange,
    State(Desk { house, mappings }): State<Desk>,
) -> Result<Json<Vec<LinkLine>>, Refused> {
    let rows = mappings.list().await.map_err(|fault| broken(&fault))?;
    let words = format!("{} mappings", rows.len());
    house.audit().record(Action::new(Event::LinkExported, who).detail(words)).await?;
    Ok(Json(rows.into_iter().map(line).collect()))
}

async fn create(
    who: MayChange,
    State(Desk { house, mappings }): State<Desk>,
    Json(new): Json<NewLink>,
) -> Result<Json<LinkLine>, Refused> {
    let secrets = Secrets::Pat(Secret::new(new.token));
    let upstream = upstream(&mappings, new.upstream)?;
    let account = mappings.prove(&upstream, &secrets).await.map_err(|fault| unproved(&fault))?;
    let link = Link { upstream, act_as: new.person, account, secrets, allow_shared: new.allow_shared };
    let row = mappings.create(link).await.map_err(|fault| not_created(&fault))?;
    tracing::info!(upstream = %row.upstream, provider = row.act_as.provider(), "a person was linked by the administrator");
    house.audit().record(Action::new(Event::LinkCreated, who).detail(words(&row))).await?;
    Ok(Json(line(row)))
}

async fn remove(
    who: MayChange,
    State(Desk { house, mappings }): State<Desk>,
    Json(which): Json<WhichLink>,
) -> Result<Json<LinkLine>, Refused> {
    let upstream = upstream(&mappings, which.upstream)?;
    let removed = mappings.remove(&upstream, &which.person).await.map_err(|fault| broken(&fault))?;
    let Some(row) = removed else {
        let text = format!("{} is not linked at “{upstream}”", which.person);
        let refused = Refused::new(StatusCode::NOT_FOUND, text);
        return Err(refused.with_remedy("`outhaul-agent link list` shows who is."));
    };
    tracing::info!(upstream = %row.upstream, provider = row.act_as.provider(), "a person's link was removed by the administrator");
    house.audit().record(Action::new(Event::LinkRemoved, who).detail(words(&row))).await?;
    Ok(Json(line(row)))
}

async fn import(
    who: MayChange,
    State(Desk { house, mappings }): State<Desk>,
    Json(list): Json<ImportLinks>,
) -> Result<Json<Value>, Refused> {
    let places: Vec<u64> = list.links.iter().map(|link| link.line).collect();
    let given = places.len();
    let links = list.links.into_iter().map(|link| Import {
        upstream: link.upstream,
        act_as: link.person,
        account: Account { key: link.user_key, name: link.user_name, display_name: link.display_name },
    });
    let made = mappings.import(links.collect(), list.allow_shared).await.map_err(|fault| {
        let (ImportFault::NoUpstream { index, .. } | ImportFault::Taken { index, .. }) = &fault else {
            return broken(&fault);
        };
        let at = places.get(*index).copied().unwrap_or_default();
        Refused::new(StatusCode::UNPROCESSABLE_ENTITY, format!("line {at}: {fault}"))
            .with_remedy("Nothing of the list was taken: correct it and import it again.")
    })?;
    tracing::info!(made, given, "mappings were imported by the administrator");
    let words = format!("{made} of {given} mappings");
    house.audit().record(Action::new(Event::LinkImported, who).detail(words)).await?;
    Ok(Json(json!({ "imported": made, "already_there": given - made })))
}

fn upstream(mappings: &Mappings, named: Option<UpstreamName>) -> Result<UpstreamName, Refused> {
    let mut all = mappings.upstreams();
    match named {
        Some(named) if all.contains(&named) => Ok(named),
        Some(named) => {
            let text = format!("there is no application “{named}”");
            Err(Refused::new(StatusCode::NOT_FOUND, text).with_remedy(there_are(&all)))
        }
        None if all.len() == 1 => all.pop().ok_or_else(|| broken(&"there is no application")),
        None => {
            let refused = Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "which application?");
            Err(refused.with_remedy(format!("Name one with --upstream. {}", there_are(&all))))
        }
    }
}

fn there_are(all: &[UpstreamName]) -> String {
    let names: Vec<&str> = all.iter().map(UpstreamName::as_str).collect();
    format!("There are: {}.", names.join(", "))
}

fn unproved(fault: &ProveFault) -> Refused {
    let status = match fault {
        ProveFault::NoUpstream(_) => StatusCode::NOT_FOUND,
        ProveFault::Unsendable | ProveFault::Refused | ProveFault::SwitchedOff => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ProveFault::Unknown(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refused::new(status, fault.to_string()).with_remedy("Nothing was stored.")
}

fn not_created(fault: &CreateFault) -> Refused {
    match fault {
        CreateFault::NoUpstream(_) => Refused::new(StatusCode::NOT_FOUND, fault.to_string()),
        CreateFault::Taken { .. } => Refused::new(StatusCode::CONFLICT, fault.to_string())
            .with_remedy("Nothing was stored. `--allow-shared` lets both people use it."),
        CreateFault::OtherAccount { .. } => Refused::new(StatusCode::CONFLICT, fault.to_string())
            .with_remedy("Nothing was stored. `outhaul-agent link remove` removes the link of the list."),
        CreateFault::Stopping => Refused::new(StatusCode::SERVICE_UNAVAILABLE, fault.to_string()),
        CreateFault::Store(fault) => broken(fault),
    }
}

fn broken(fault: &dyn std::fmt::Display) -> Refused {
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string())
}

/// For the audit.
fn words(row: &MappingRow) -> String {
    format!("{} at {} as {} (key {})", row.act_as, row.upstream, row.account.name, row.account.key)
}

fn line(row: MappingRow) -> LinkLine {
    LinkLine {
        person: row.act_as,
        upstream: row.upstream,
        user_key: row.account.key,
        user_name: row.account.name,
        display_name: row.account.display_name,
        state: row.state.as_str().to_owned(),
        reason: row.reason,
        credential: row.kind,
        expires: row.expires.map(stamp),
        scope: row.scope,
        shared: row.shared,
        created: stamp(row.created),
        changed: stamp(row.changed),
    }
}

/// RFC 3339, to the second.
fn stamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map(|stamp| stamp.to_string()).unwrap_or_default()
}

/// A list of some hundred thousand people.
const MAX_LIST: usize = 32 * 1024 * 1024;
