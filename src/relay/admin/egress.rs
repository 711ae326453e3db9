//! Which hosts a site may reach through the relay.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::sites::{site_name, unknown};
use super::{Operations, store_failed};
use crate::common::host::HostPattern;
use crate::common::ids::SiteName;
use crate::net::local::{MayChange, Refused};
use crate::relay::store::Added;

#[derive(Deserialize)]
pub(super) struct Host {
    host: String,
}

pub(super) async fn list(
    State(operations): State<Operations>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    let name = site_name(&name)?;
    let sites = operations.0.store.sites().await.map_err(|fault| store_failed(&fault))?;
    if !sites.iter().any(|site| site.name == name) {
        return Err(unknown(&name));
    }
    let hosts = hosts(&operations, &name).await?;
    Ok(Json(shown(&operations, &name, &hosts)))
}

pub(super) async fn allow(
    _: MayChange,
    State(operations): State<Operations>,
    Path(name): Path<String>,
    Json(Host { host }): Json<Host>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let (name, host) = (site_name(&name)?, read(&host)?);
    let _changing = inner.changing_egress.lock().await;
    let added = inner.store.allow_egress(name.clone(), host.clone(), inner.clock.unix_seconds()).await;
    match added.map_err(|fault| store_failed(&fault))? {
        Added::NoSite => return Err(unknown(&name)),
        Added::Full => {
            return Err(Refused::new(StatusCode::CONFLICT, format!("the list of site “{name}” is full"))
                .with_remedy("Take hosts off it, or list one pattern such as \"*.example.com:443\"."));
        }
        Added::New => tracing::info!(site = %name, %host, "a host was put on a site's egress list"),
        Added::Before => {}
    }
    Ok(Json(in_force(&operations, &name).await?))
}

pub(super) async fn deny(
    _: MayChange,
    State(operations): State<Operations>,
    Path(name): Path<String>,
    Json(Host { host }): Json<Host>,
) -> Result<Json<Value>, Refused> {
    let inner = &operations.0;
    let (name, host) = (site_name(&name)?, read(&host)?);
    let _changing = inner.changing_egress.lock().await;
    let removed = inner.store.deny_egress(name.clone(), host.clone()).await;
    if !removed.map_err(|fault| store_failed(&fault))? {
        let text = format!("{host} is not on the list of site “{name}”");
        let refused = Refused::new(StatusCode::NOT_FOUND, text);
        return Err(if inner.egress.allowed_for_all().contains(&host) {
            refused.with_remedy(
                "Every site may reach it: it stands under [egress] allow in the relay's configuration. Take it out \
                 there, and restart the relay.",
            )
        } else {
            refused.with_remedy(format!("`outhaul-relay site egress list {name}` shows the list."))
        });
    }
    tracing::info!(site = %name, %host, "a host was taken off a site's egress list");
    Ok(Json(in_force(&operations, &name).await?))
}

/// Puts what the store has in force, and shows it.
async fn in_force(operations: &Operations, name: &SiteName) -> Result<Value, Refused> {
    let hosts = hosts(operations, name).await?;
    operations.0.egress.allow(name, hosts.clone());
    Ok(shown(operations, name, &hosts))
}

async fn hosts(operations: &Operations, name: &SiteName) -> Result<Vec<HostPattern>, Refused> {
    let mut lists = operations.0.store.egress().await.map_err(|fault| store_failed(&fault))?;
    Ok(lists.remove(name).unwrap_or_default())
}

fn shown(operations: &Operations, name: &SiteName, hosts: &[HostPattern]) -> Value {
    let egress = &operations.0.egress;
    let texts = |hosts: &[HostPattern]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "site": name,
        "hosts": texts(hosts),
        "every_site": texts(egress.allowed_for_all()),
        "usage": egress.usage(name),
    })
}

fn read(host: &str) -> Result<HostPattern, Refused> {
    host.parse().map_err(|fault: crate::common::host::HostFault| {
        Refused::new(StatusCode::BAD_REQUEST, fault.to_string())
    })
}
