//! Who may see who is whom, and who did what.

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;

use crate::net::local::{MayChange, Refused};

/// An argument of every handler that shows people. Names and deeds of people are personal data: members of the
/// socket's group, who may look at the daemon itself, have no need of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct MaySeePeople;

impl<S: Send + Sync> FromRequestParts<S> for MaySeePeople {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        MayChange::from_request_parts(parts, state).await.map(|_| Self).map_err(|_| {
            let text = "who is whom, and who did what, is shown to the daemon's administrators only";
            Refused::new(StatusCode::FORBIDDEN, text)
                .with_remedy("Run this as root (sudo) or as the daemon's own user.")
        })
    }
}
