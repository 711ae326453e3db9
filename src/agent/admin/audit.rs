//! `/audit/…`: pages of records, and a look at the whole chain; and how an administrator's action is recorded.

use axum::extract::State;
use axum::{Json, Router, routing::post};
use serde::{Deserialize, Serialize};

use super::people::MaySeePeople;
use super::{Answer, House};
use crate::agent::audit::{Anchor, Event, Look, Page, Query};
use crate::net::local::{MayChange, Refused};

/// What may be asked of the audit.
pub trait AuditDesk: Send + Sync {
    /// Some records.
    fn page(&self, query: Query) -> Answer<'_, Page>;
    /// Begins a look at the chain, or goes on with one, for a second or so.
    fn look(&self, ask: LookAsk) -> Answer<'_, Look>;
    /// Records what an administrator has done, and waits until that is on disk. What is done is done: where it can't
    /// be recorded, that is logged.
    fn record<'a>(&'a self, action: Action<'a>) -> Answer<'a, ()>;
}

/// What an administrator has done.
#[derive(Debug, Clone)]
pub struct Action<'a> {
    /// What.
    pub event: Event,
    /// Who.
    pub by: String,
    /// To which caller.
    pub caller: Option<&'a str>,
    /// More in a few words; never a secret.
    pub detail: Option<String>,
}

impl<'a> Action<'a> {
    /// This, by whoever holds this right.
    pub fn new(event: Event, who: MayChange) -> Self {
        Self { event, by: who.by(), caller: None, detail: None }
    }

    /// The same, to a caller.
    #[must_use]
    pub fn caller(self, name: &'a str) -> Self {
        Self { caller: Some(name), ..self }
    }

    /// The same, with more in a few words.
    #[must_use]
    pub fn detail(self, words: impl Into<String>) -> Self {
        Self { detail: Some(words.into()), ..self }
    }
}

/// A look to begin or to go on with.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LookAsk {
    /// What the chain is compared with.
    #[serde(default)]
    pub anchors: Vec<Anchor>,
    /// What the answer before gave.
    #[serde(default)]
    pub look: Option<Look>,
}

type Shared = State<std::sync::Arc<dyn House>>;

// To look takes a body, so these are POST; they change nothing.
pub(super) fn routes() -> Router<std::sync::Arc<dyn House>> {
    Router::new().route("/audit/records", post(records)).route("/audit/verify", post(verify))
}

async fn records(
    _: MaySeePeople,
    State(house): Shared,
    Json(query): Json<Query>,
) -> Result<Json<Page>, Refused> {
    house.audit().page(query).await.map(Json)
}

/// Shows numbers, times and heads, and nobody's name: whoever may look may look after the chain.
async fn verify(State(house): Shared, Json(ask): Json<LookAsk>) -> Result<Json<Look>, Refused> {
    house.audit().look(ask).await.map(Json)
}
