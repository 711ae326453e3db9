//! Customers' own names whose TLS passes the relay unopened.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::sites::{site_name, unknown};
use super::{Inner, Operations, store_failed};
use crate::common::host_name::{HostName, HostNameFault};
use crate::net::local::{MayChange, Refused};
use crate::net::tls::about;
use crate::relay::store::NameAdded;

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

pub(super) async fn list(State(operations): State<Operations>) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let names = inner.store.names().await.map_err(|fault| store_failed(&fault))?;
    let mut shown: Vec<Value> = names
        .iter()
        .map(|row| json!({ "name": row.name, "site": row.site, "level": "customer", "created": row.created }))
        .collect();
    for site in inner.store.sites().await.map_err(|fault| store_failed(&fault))? {
        if let Some(name) = inner.direct.names.operator_name(&site.name) {
            shown.push(json!({ "name": name, "site": site.name, "level": "operator" }));
        }
    }
    Ok(Json(json!({ "names": shown, "zone": inner.direct.names.zone() })))
}

pub(super) async fn add(
    _: MayChange,
    State(operations): State<Operations>,
    Path(site): Path<String>,
    Json(named): Json<Named>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let site = site_name(&site)?;
    let name = host_name(&named.name)?;
    may_be_a_customers(inner, &name)?;
    let _one = inner.naming.lock().await;
    let added = inner.store.add_name(name.clone(), site.clone(), AT_MOST, inner.clock.unix_seconds()).await;
    match added.map_err(|fault| store_failed(&fault))? {
        NameAdded::Added => {}
        NameAdded::SiteUnknown => return Err(unknown(&site)),
        NameAdded::Full => {
            return Err(Refused::new(
                StatusCode::CONFLICT,
                format!("the site “{site}” has {AT_MOST} names already"),
            )
            .with_remedy("Take those away that it no longer uses: `outhaul-relay site name remove`."));
        }
        NameAdded::Taken(owner) => {
            return Err(Refused::new(
                StatusCode::CONFLICT,
                format!("“{name}” is a name of the site “{owner}” already"),
            )
            .with_remedy("A name belongs to one site; `outhaul-relay site name list` shows whose each is."));
        }
    }
    inner.direct.names.set(name.clone(), site.clone());
    tracing::info!(%site, %name, "a name passes unopened to a site");
    Ok(Json(json!({ "site": site, "name": name })))
}

pub(super) async fn remove(
    _: MayChange,
    State(operations): State<Operations>,
    Path(site): Path<String>,
    Json(named): Json<Named>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let site = site_name(&site)?;
    let name = host_name(&named.name)?;
    let _one = inner.naming.lock().await;
    let removed = inner.store.remove_name(name.clone(), site.clone()).await;
    if !removed.map_err(|fault| store_failed(&fault))? {
        return Err(Refused::new(StatusCode::NOT_FOUND, format!("“{name}” is no name of the site “{site}”"))
            .with_remedy("`outhaul-relay site name list` shows all of them."));
    }
    inner.direct.names.remove(&name);
    tracing::info!(%site, %name, "a name no longer passes to a site");
    Ok(Json(json!({ "site": site, "name": name })))
}

/// Whether a name can be a customer's: no name at which this relay itself answers, and none that its certificate is for.
fn may_be_a_customers(inner: &Inner, name: &HostName) -> Result<(), Refused> {
    let direct = &inner.direct;
    let own = name.is_within(&direct.zone)
        || name.as_str() == inner.public_url.host
        || direct.names.zone().is_some_and(|zone| name.is_within(zone.as_str()));
    if own {
        return Err(Refused::new(StatusCode::BAD_REQUEST, format!("“{name}” is a name of this relay's own"))
            .with_remedy(
                "A customer's name lies in a domain of the customer's. Names in your zone need no entry.",
            ));
    }
    let about = about(&direct.certificates.current()).map(|about| about.names).unwrap_or_default();
    if let Some(pattern) = about.iter().find(|pattern| name.is_covered_by(pattern)) {
        return Err(Refused::new(
            StatusCode::CONFLICT,
            format!("this relay's certificate is for {pattern}, so it could answer for “{name}” itself"),
        )
        .with_remedy("Have the relay's certificate issued without that name, or take another name."));
    }
    Ok(())
}

fn host_name(text: &str) -> Result<HostName, Refused> {
    let lower = text.trim_end_matches('.').to_ascii_lowercase();
    lower.parse().map_err(|fault: HostNameFault| Refused::new(StatusCode::BAD_REQUEST, fault.to_string()))
}

/// So many names of its own a site may have.
const AT_MOST: u64 = 100;
