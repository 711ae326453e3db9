//! `/certificates`: what there is by ACME, and what may be done to it.

use axum::extract::State;
use axum::{Json, Router, routing::get, routing::post};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::audit::Action;
use super::{Answer, House};
use crate::agent::acme::CertificatesReport;
use crate::agent::audit::Event;
use crate::net::local::{MayChange, Refused};

/// The certificates by ACME of the running agent.
pub trait CertificateDesk: Send + Sync {
    /// All of them; nothing where none are ordered.
    fn report(&self) -> Option<CertificatesReport>;
    /// Orders a new one now.
    fn renew(&self, name: Option<&str>) -> Result<Asked, Refused>;
    /// Makes a new key for the next one.
    fn rotate_key<'a>(&'a self, name: Option<&'a str>) -> Answer<'a, NewKeyPin>;
}

/// An order that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// For this name.
    pub name: String,
    /// How many tries had ended before: it has been tried when there are more.
    pub ended: u64,
}

/// The key of a name's next certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKeyPin {
    /// The name.
    pub name: String,
    /// The pin of the key.
    pub next_pin: String,
}

type Shared = State<std::sync::Arc<dyn House>>;

pub(super) fn routes() -> Router<std::sync::Arc<dyn House>> {
    Router::new()
        .route("/certificates", get(report))
        .route("/certificates/renew", post(renew))
        .route("/certificates/rotate-key", post(rotate_key))
}

async fn report(State(house): Shared) -> Result<Json<CertificatesReport>, Refused> {
    house.certificates().report().map(Json).ok_or_else(|| {
        Refused::new(StatusCode::CONFLICT, "this agent orders no certificates")
            .with_remedy("Add a table [pass-through.acme] to the configuration (docs/certificates.md).")
    })
}

#[derive(Deserialize)]
struct Which {
    name: Option<String>,
}

async fn renew(
    who: MayChange,
    State(house): Shared,
    Json(Which { name }): Json<Which>,
) -> Result<Json<Asked>, Refused> {
    let asked = house.certificates().renew(name.as_deref())?;
    house.audit().record(Action::new(Event::CertificateRenewal, who).detail(asked.name.as_str())).await?;
    Ok(Json(asked))
}

async fn rotate_key(
    who: MayChange,
    State(house): Shared,
    Json(Which { name }): Json<Which>,
) -> Result<Json<NewKeyPin>, Refused> {
    let made = house.certificates().rotate_key(name.as_deref()).await?;
    let detail = format!("{}: the next one's is {}", made.name, made.next_pin);
    house.audit().record(Action::new(Event::CertificateKey, who).detail(detail)).await?;
    tracing::info!(name = %made.name, next_pin = %made.next_pin, "a new key was made for the next certificate");
    Ok(Json(made))
}

/// A line for each, and what is wrong with it; `outhaul-agent certificate` has all of it.
pub(super) fn lines(report: &CertificatesReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(failure) = &report.account_error {
        lines.push(format!("NO ACCOUNT at the certificate authority: {}", failure.text));
        lines.extend(failure.action.iter().map(|action| format!("         {action}")));
    }
    for line in &report.certificates {
        let until =
            line.ends.as_deref().map_or("NO CERTIFICATE YET".to_owned(), |ends| format!("until {ends}"));
        let soon = if line.ends_soon { ", ENDS SOON" } else { "" };
        let pin = line.pin.as_deref().unwrap_or("no key");
        lines.push(format!("TLS      {} {until}{soon}, key {pin}", line.name));
        if let Some(failure) = &line.error {
            lines.push(format!("         not renewed ({} tries): {}", line.failures, failure.text));
            lines.extend(failure.action.iter().map(|action| format!("         {action}")));
        }
    }
    lines
}
