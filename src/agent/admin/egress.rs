//! `/egress/test`: whether a host on the internet can be reached, and by which way.

use std::sync::Arc;

use axum::extract::State;
use axum::{Json, Router, routing::post};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Answer, House};
use crate::net::local::{MayChange, Refused};

/// What may be done with the way out while the agent runs.
pub trait EgressDesk: Send + Sync {
    /// Asks for a page, by this way or by the usual one.
    fn test<'a>(&'a self, url: &'a str, way: Option<&'a str>) -> Answer<'a, Reached>;
}

/// A host that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// What was asked for.
    pub url: String,
    /// `direct`, `relay` or `proxy`.
    pub way: String,
    /// The answer's HTTP status.
    pub status: u16,
    /// Bytes of the answer's body.
    pub bytes: usize,
    /// How long it took, from the name to the last byte.
    pub milliseconds: u64,
}

pub(super) fn routes() -> Router<Arc<dyn House>> {
    Router::new().route("/egress/test", post(test))
}

#[derive(Deserialize)]
struct Ask {
    url: String,
    #[serde(default)]
    way: Option<String>,
}

async fn test(
    _: MayChange,
    State(house): State<Arc<dyn House>>,
    Json(Ask { url, way }): Json<Ask>,
) -> Result<Json<Reached>, Refused> {
    if url.len() > LONGEST {
        return Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "the URL is too long"));
    }
    house.egress().test(&url, way.as_deref()).await.map(Json)
}

const LONGEST: usize = 2000;
