//! Webhooks as they are registered: the one interface of 9.x, another from 10 on. Nothing is delivered.

use axum::extract::Path;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::Call;
use crate::options::Profile;
use crate::permissions::administrator;
use crate::wire::{self, Fault, Reply, nothing, ok};

/// Which of the two interfaces a route belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// `/rest/webhooks/1.0/webhook`.
    Old,
    /// `/rest/jira-webhook/1.0/webhooks`.
    New,
}

impl Generation {
    /// The one this release has; the other path leads nowhere.
    fn required(self, call: &Call) -> Result<(), Fault> {
        let old = matches!(call.app.profile(), Profile::V8 | Profile::V9);
        if old != (self == Self::Old) {
            return Err(Fault::Page(http::StatusCode::NOT_FOUND, "HTTP Status 404".to_owned()));
        }
        administrator(&call.app.world(), &call.who)?;
        Ok(())
    }
}

fn show(call: &Call, generation: Generation, id: u64, given: &Value) -> Value {
    let get = |name: &str, other: Value| given.get(name).cloned().unwrap_or(other);
    let mut shown = json!({ "name": get("name", json!("")), "url": get("url", json!("")), "events": get("events", json!([])) });
    let further = match generation {
        Generation::Old => json!({
            "self": format!("{}/rest/webhooks/1.0/webhook/{id}", call.app.base),
            "filters": get("filters", json!({})), "excludeBody": get("excludeBody", json!(false)),
            "enabled": get("enabled", json!(true)),
        }),
        // JQL in `filters` belongs to the old interface: it is not refused, it just does nothing.
        Generation::New => json!({
            "id": id, "active": get("active", json!(true)), "configuration": get("configuration", json!({})),
            "scopeType": get("scopeType", json!("global")),
            "sslVerificationRequired": get("sslVerificationRequired", json!(true)),
        }),
    };
    if let (Some(shown), Value::Object(further)) = (shown.as_object_mut(), further) {
        shown.extend(further);
    }
    shown
}

fn missing(id: u64) -> Fault {
    Fault::core(404, format!("There is no webhook with the id {id}."))
}

pub(crate) async fn all(call: Call, generation: Generation) -> Reply {
    generation.required(&call)?;
    let world = call.app.world();
    ok(world.webhooks.iter().map(|(id, given)| show(&call, generation, *id, given)).collect())
}

pub(crate) async fn create(call: Call, generation: Generation, body: Bytes) -> Reply {
    generation.required(&call)?;
    let body = wire::parse(&body)?;
    if !body.get("url").and_then(Value::as_str).is_some_and(|url| url.starts_with("http")) {
        return Err(Fault::core(400, "The URL of the webhook is missing."));
    }
    let mut world = call.app.world();
    let id = world.fresh_id();
    let shown = show(&call, generation, id, &body);
    world.webhooks.insert(id, body);
    wire::status(201, shown)
}

pub(crate) async fn one(call: Call, generation: Generation, Path(id): Path<u64>) -> Reply {
    generation.required(&call)?;
    let world = call.app.world();
    let given = world.webhooks.get(&id).ok_or_else(|| missing(id))?;
    ok(show(&call, generation, id, given))
}

pub(crate) async fn remove(call: Call, generation: Generation, Path(id): Path<u64>) -> Reply {
    generation.required(&call)?;
    call.app.world().webhooks.remove(&id).ok_or_else(|| missing(id))?;
    nothing()
}
