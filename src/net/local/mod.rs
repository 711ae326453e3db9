//! The admin socket: a daemon's HTTP/1.1 and JSON over a Unix socket, and the client its own command line uses.
//!
//! The file's mode decides who may connect, and the kernel tells who did: root and the daemon's own user may
//! change things, everybody else who gets in may only read. Used by both programs; knows none of their routes.

mod client;
mod server;
#[cfg(test)]
mod tests;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;

use crate::common::report::{Exit, Report};
pub use client::Client;
pub use server::{BindFault, Server};

/// What the one at the other end of the socket may do. In the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Look.
    Read,
    /// Look and change.
    Change,
}

/// The user at the other end, as the kernel says; in the extensions of a request over the admin socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerUid(pub u32);

/// An argument of every handler that changes something: turns away those who may only read.
#[derive(Debug, Clone, Copy)]
pub struct MayChange {
    uid: Option<u32>,
}

impl MayChange {
    /// Who changes something, for the audit.
    pub fn by(self) -> String {
        self.uid.map_or_else(|| "unknown".to_owned(), |uid| format!("uid {uid}"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MayChange {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        if parts.extensions.get() == Some(&Right::Change) {
            return Ok(Self { uid: parts.extensions.get::<PeerUid>().map(|peer| peer.0) });
        }
        Err(Refused::new(StatusCode::FORBIDDEN, "you may look at this daemon, not change it")
            .with_remedy("Run this as root (sudo) or as the daemon's own user."))
    }
}

/// A refusal by the daemon, which the client turns into a [`crate::common::report::Report`].
#[derive(Debug, Clone)]
pub struct Refused {
    status: StatusCode,
    what: String,
    remedy: Option<String>,
}

impl Refused {
    /// What happened. The status decides the exit code of the command line: 4xx of the given data is 65, 403 is
    /// 77, 409 is 73, 503 is 75, any other 5xx is 70.
    pub fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), remedy: None }
    }

    /// What to do next.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl From<Refused> for Report {
    /// The same refusal where no socket lies in between.
    fn from(refused: Refused) -> Self {
        let report = Self::new(exit_of(refused.status), refused.what);
        match refused.remedy {
            Some(remedy) => report.with_remedy(remedy),
            None => report,
        }
    }
}

fn exit_of(status: StatusCode) -> Exit {
    match status {
        StatusCode::FORBIDDEN => Exit::Permission,
        StatusCode::CONFLICT => Exit::CannotCreate,
        StatusCode::SERVICE_UNAVAILABLE => Exit::Temporary,
        status if status.is_client_error() => Exit::Data,
        _ => Exit::Software,
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "error": self.what, "remedy": self.remedy }));
        (self.status, body).into_response()
    }
}
