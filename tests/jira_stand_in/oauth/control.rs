//! The provider's part of the test's own interface; the calls stand in the description of the module above.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::authorize::consent_as;
use super::gate::Point;
use super::{Client, Provider};
use crate::app::{App, Call};
use crate::wire::{Reply, nothing, ok, status};
use crate::world::World;

/// Below `/_control/oauth`.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/clients", post(register))
        .route("/consent", post(consent))
        .route("/users/{user}/expire", post(expire))
        .route("/users/{user}/revoke", post(revoke))
        .route("/lifetime/{seconds}", post(lifetime))
        .route("/code-lifetime/{seconds}", post(code_lifetime))
        .route("/hold/{point}", post(hold))
        .route("/held", get(held))
        .route("/release", post(release))
        .route("/drop-answer", post(drop_answer).delete(no_drop_answer))
}

fn wrong(fault: impl Into<String>) -> Reply {
    status(400, json!({ "fault": fault.into() }))
}

async fn register(State(app): State<Arc<App>>, body: Bytes) -> Reply {
    let client = serde_json::from_slice::<Client>(&body).map_err(|fault| fault.to_string());
    match client.and_then(Client::checked) {
        Ok(client) => {
            app.world().oauth.clients.insert(client.id.clone(), client.clone());
            ok(json!(client))
        }
        Err(fault) => wrong(fault),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    user: String,
    authorize: String,
    #[serde(default)]
    deny: bool,
}

async fn consent(State(app): State<Arc<App>>, body: Bytes) -> Reply {
    let consent = match serde_json::from_slice::<Consent>(&body) {
        Ok(consent) => consent,
        Err(fault) => return wrong(fault.to_string()),
    };
    match consent_as(&app, &consent.user, &consent.authorize, !consent.deny) {
        Ok(location) => ok(json!({ "location": location })),
        Err(fault) => wrong(fault),
    }
}

/// Does something with what the provider holds for a user.
fn with_user(app: &App, name: &str, change: impl FnOnce(&mut Provider, &str)) -> Reply {
    let mut world = app.world();
    let Some(key) = world.user(name).map(|user| user.key.clone()) else {
        return status(404, json!({ "fault": format!("there is no user {name}") }));
    };
    change(&mut world.oauth, &key);
    nothing()
}

async fn expire(State(app): State<Arc<App>>, Path(user): Path<String>) -> Reply {
    with_user(&app, &user, |provider, key| {
        for grant in provider.grants.values_mut().filter(|grant| grant.user_key == key) {
            grant.access_expires_at = 0;
        }
    })
}

async fn revoke(State(app): State<Arc<App>>, Path(user): Path<String>) -> Reply {
    with_user(&app, &user, |provider, key| provider.grants.retain(|_, grant| grant.user_key != key))
}

async fn lifetime(State(app): State<Arc<App>>, Path(seconds): Path<u32>) -> Reply {
    app.world().oauth.access_lifetime = seconds.into();
    nothing()
}

async fn code_lifetime(State(app): State<Arc<App>>, Path(seconds): Path<u32>) -> Reply {
    app.world().oauth.code_lifetime = Duration::from_secs(seconds.into());
    nothing()
}

async fn hold(State(app): State<Arc<App>>, Path(point): Path<String>) -> Reply {
    let point = match point.as_str() {
        "before" => Point::Before,
        "after" => Point::After,
        _ => return wrong("a request is held “before” or “after” it is carried out"),
    };
    app.oauth_gate.order(point);
    nothing()
}

async fn held(call: Call) -> Reply {
    let wait = Duration::from_secs(call.number("wait", 0).min(60) as u64);
    ok(json!({ "held": call.app.oauth_gate.held(wait).await }))
}

async fn release(State(app): State<Arc<App>>) -> Reply {
    app.oauth_gate.release();
    nothing()
}

async fn drop_answer(State(app): State<Arc<App>>) -> Reply {
    app.world().oauth.drop_answers += 1;
    nothing()
}

async fn no_drop_answer(State(app): State<Arc<App>>) -> Reply {
    app.world().oauth.drop_answers = 0;
    nothing()
}

/// By username: keys are harder to read in a test.
fn by_name(world: &World, counts: &BTreeMap<String, u64>) -> Value {
    let name = |key: &String| world.by_key(key).map_or(key.clone(), |user| user.name.clone());
    counts.iter().map(|(key, count)| (name(key), json!(count))).collect()
}

/// The provider's counters.
pub(crate) fn counters(world: &World) -> [(String, Value); 3] {
    let provider = &world.oauth;
    [
        ("token_requests".to_owned(), json!(provider.requests)),
        ("tokens_issued".to_owned(), json!(provider.issued)),
        ("refreshes".to_owned(), by_name(world, &provider.refreshes)),
    ]
}

/// Clients and grants, without secrets.
pub(crate) fn state(world: &World) -> (Value, Value) {
    let clients = world.oauth.clients.values().map(|client| {
        json!({ "id": client.id, "name": client.name, "scope": client.scope,
                "redirect_uris": client.redirect_uris })
    });
    let grants = world.oauth.grants.iter().map(|(id, grant)| {
        json!({ "id": id, "key": grant.user_key, "user": world.by_key(&grant.user_key).map(|user| user.name.as_str()),
                "client": grant.client, "scope": grant.scope.name(), "service": grant.service,
                "access_expires_at": grant.access_expires_at, "access_used": grant.access_used.get() })
    });
    (clients.collect(), grants.collect())
}
