//! Personal access tokens: create, list, delete.

use axum::extract::Path;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::{Call, stamp};
use crate::identity::{Means, Who};
use crate::seed;
use crate::wire::{self, Fault, Reply, ok};
use crate::world::Token;

fn show(token: &Token) -> Value {
    json!({ "id": token.id, "name": token.name, "createdAt": token.created, "expiringAt": token.expires,
            "lastAccessedAt": token.last_used })
}

pub(crate) async fn create(call: Call, body: Bytes) -> Reply {
    let name = call.who.required()?;
    if matches!(call.who, Who::User { by: Means::Token | Means::OAuth { .. }, .. })
        && call.app.is("pat-makes-pat", "no")
    {
        return Err(Fault::core(403, "A personal access token can't create another one."));
    }
    let body = wire::parse(&body)?;
    let title = body.get("name").and_then(Value::as_str).unwrap_or_default();
    if title.is_empty() {
        return Err(Fault::core(400, "The token's name is missing."));
    }
    let days = body.get("expirationDuration").and_then(Value::as_u64).unwrap_or(90);
    if days == 0 || days > 365 {
        return Err(Fault::core(400, "A token may hold for at most 365 days."));
    }
    let now = call.app.clock.unix_seconds();
    let mut world = call.app.world();
    let secret = seed::random_token();
    let id = seed::add_token(&mut world, name, &secret, now);
    let token = world.tokens.get_mut(&id).ok_or_else(Fault::no_issue)?;
    title.clone_into(&mut token.name);
    token.expires_at = now + days * 86_400;
    token.expires = stamp(token.expires_at * 1000);
    let mut value = show(token);
    if let Some(members) = value.as_object_mut() {
        members.insert("rawToken".to_owned(), secret.into());
    }
    wire::status(201, value)
}

pub(crate) async fn all(call: Call) -> Reply {
    let name = call.who.required()?;
    let world = call.app.world();
    let key = world.user(name).map(|user| user.key.clone());
    let shown = world.tokens.values().filter(|token| token.user == name).map(|token| {
        let mut value = show(token);
        if let Some(members) = value.as_object_mut() {
            if call.app.is("pat-list", "short") {
                members.remove("lastAccessedAt");
            } else if call.app.is("pat-list", "user-key") {
                members.insert("userKey".to_owned(), key.clone().into());
            }
        }
        value
    });
    ok(shown.collect())
}

pub(crate) async fn remove(call: Call, Path(id): Path<u64>) -> Reply {
    let name = call.who.required()?;
    let mut world = call.app.world();
    if world.tokens.get(&id).is_none_or(|token| token.user != name) {
        return Err(Fault::core(404, "No such token."));
    }
    world.tokens.remove(&id);
    if call.app.is("pat-delete", "200") { wire::status(200, json!({})) } else { wire::nothing() }
}
