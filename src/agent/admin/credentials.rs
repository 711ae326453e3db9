//! `/credentials…`: the secrets of service accounts. What is shown never holds one.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Json, Router, routing::get, routing::post};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::audit::Action;
use super::{Answer, House};
use crate::agent::audit::Event;
use crate::common::ids::{ServiceName, UpstreamName};
use crate::common::secret::Secret;
use crate::net::local::{MayChange, Refused};

/// What may be done to them while the agent runs.
pub trait CredentialDesk: Send + Sync {
    /// All services, and what else the store holds.
    fn list(&self) -> Vec<CredentialLine>;
    /// Keeps a service's secret in the store.
    fn set<'a>(&'a self, name: &'a ServiceName, secret: Secret<String>) -> Answer<'a, StoredLine>;
    /// Asks the applications whose it is: this one, or those that the policy uses it at.
    fn test<'a>(
        &'a self,
        name: &'a ServiceName,
        upstream: Option<&'a UpstreamName>,
    ) -> Answer<'a, Vec<TestedLine>>;
    /// Forgets the secret in the store.
    fn remove<'a>(&'a self, name: &'a ServiceName) -> Answer<'a, RemovedLine>;
}

/// One service in a list. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialLine {
    /// Its name.
    pub service: String,
    /// The account, as the configuration names it; nothing where the configuration has no such service.
    pub user: Option<String>,
    /// `pat`, `password` or `client-secret`.
    pub kind: Option<String>,
    /// Where the secret lies: `store`, `file /path`, `credential name`.
    pub place: String,
    /// When it was given, where it lies in the store.
    pub set: Option<String>,
    /// When it expires, where that is known.
    pub expires: Option<String>,
    /// Whether calls can be made with it, as far as this machine can tell.
    pub usable: bool,
    /// Why not, or what else there is to know.
    pub note: Option<String>,
}

/// What was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLine {
    /// For which service.
    pub service: String,
    /// `pat`, `password` or `client-secret`.
    pub kind: String,
    /// When.
    pub set: String,
    /// Whether another one was there.
    pub replaced: bool,
    /// Whether it is used from the next call on.
    pub in_use: bool,
    /// Why it is not.
    pub note: Option<String>,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedLine {
    /// Of which service.
    pub service: String,
    /// Whether calls used it; they are refused now.
    pub was_in_use: bool,
}

/// What an application said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestedLine {
    /// Which service.
    pub service: String,
    /// Which application.
    pub upstream: String,
    /// Whether calls can be made.
    pub ok: bool,
    /// `works`, `other-user`, `anonymous`, `inactive`, `refused`, `captcha`, `unreachable`, `unclear` or `skipped`.
    pub outcome: String,
    /// In words, with what to do.
    pub detail: String,
    /// The user in the configuration.
    pub user: String,
    /// Whose the secret is.
    pub account: Option<AccountLine>,
    /// When it expires, where the account has this one token only.
    pub expires: Option<String>,
    /// How many tokens the account has.
    pub tokens: Option<usize>,
    /// Those that have expired or will within 30 days. Which of them was used, Jira does not tell.
    pub expiring: Vec<ExpiringLine>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLine {
    /// The user name.
    pub name: String,
    /// The key, which stays when the name changes.
    pub key: String,
    /// For people.
    pub display_name: String,
    /// Whether it may log in.
    pub active: bool,
}

/// A token that ends soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpiringLine {
    /// What its owner called it.
    pub name: String,
    /// When.
    pub expires: String,
}

type Shared = State<Arc<dyn House>>;

pub(super) fn routes() -> Router<Arc<dyn House>> {
    Router::new()
        .route("/credentials", get(list))
        .route("/credentials/{name}", post(set).delete(remove))
        .route("/credentials/{name}/test", post(test))
}

async fn list(State(house): Shared) -> Json<Vec<CredentialLine>> {
    Json(house.credentials().list())
}

#[derive(Deserialize)]
struct Set {
    secret: String,
}

async fn set(
    who: MayChange,
    State(house): Shared,
    Path(name): Path<String>,
    Json(Set { secret }): Json<Set>,
) -> Result<Json<StoredLine>, Refused> {
    let (secret, name) = (Secret::new(secret), named(&name)?);
    let stored = house.credentials().set(&name, secret).await?;
    let detail = format!("service {name}, {}", stored.kind);
    house.audit().record(Action::new(Event::CredentialSet, who).detail(detail)).await?;
    tracing::info!(service = %name, kind = stored.kind, "a service's secret was set");
    Ok(Json(stored))
}

#[derive(Deserialize)]
struct Test {
    upstream: Option<UpstreamName>,
}

async fn test(
    who: MayChange,
    State(house): Shared,
    Path(name): Path<String>,
    Json(Test { upstream }): Json<Test>,
) -> Result<Json<Vec<TestedLine>>, Refused> {
    let name = named(&name)?;
    let tested = house.credentials().test(&name, upstream.as_ref()).await?;
    for line in &tested {
        let detail = format!("service {name} tested at {}: {}", line.upstream, line.outcome);
        house.audit().record(Action::new(Event::SecretUsed, who).detail(detail)).await?;
        tracing::info!(service = %name, upstream = line.upstream, outcome = line.outcome, "a service's secret was tested");
    }
    Ok(Json(tested))
}

async fn remove(
    who: MayChange,
    State(house): Shared,
    Path(name): Path<String>,
) -> Result<Json<RemovedLine>, Refused> {
    let name = named(&name)?;
    let removed = house.credentials().remove(&name).await?;
    house
        .audit()
        .record(Action::new(Event::CredentialRemoved, who).detail(format!("service {name}")))
        .await?;
    tracing::info!(service = %name, "a service's secret was removed");
    Ok(Json(removed))
}

fn named(name: &str) -> Result<ServiceName, Refused> {
    name.parse().map_err(|fault: crate::common::ids::NameFault| {
        Refused::new(StatusCode::UNPROCESSABLE_ENTITY, fault.to_string())
    })
}
