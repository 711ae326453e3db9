//! Moving an issue through its statuses.

use axum::extract::Path;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::Call;
use crate::comments;
use crate::fields;
use crate::permissions::{self, may_on};
use crate::wire::{self, Fault, Reply, nothing, ok};
use crate::world::Right;

/// Transition id, name, target status.
pub(crate) const TRANSITIONS: &[(&str, &str, &str)] =
    &[("11", "To Do", "10000"), ("21", "In Progress", "3"), ("31", "Done", "10001")];

pub(crate) async fn all(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let issue = permissions::issue(&call.app, &world, &call.who, &name)?;
    let wanted = call.query(&["transitionId"]);
    let allowed = may_on(&world, &call.who, issue, Right::Transition);
    let list: Vec<Value> = TRANSITIONS
        .iter()
        .filter(|(id, ..)| allowed && wanted.is_none_or(|wanted| wanted == *id))
        .map(|(id, name, status)| {
            let mut value =
                json!({ "id": id, "name": name, "opsbarSequence": 10, "to": fields::show_status(&call.app, status) });
            if call.query(&["expand"]).is_some_and(|expand| expand.contains("transitions.fields"))
                && let Some(members) = value.as_object_mut()
            {
                members.insert("fields".to_owned(), json!({}));
            }
            value
        })
        .collect();
    ok(json!({ "expand": "transitions", "transitions": list }))
}

pub(crate) async fn make(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let issue = permissions::issue_with(&call.app, &world, &call.who, &name, Right::Transition, 400)?.id;
    let Some(wanted) = body.get("transition").and_then(|transition| transition.get("id")) else {
        return Err(Fault::core(400, "Missing 'transition' identifier"));
    };
    let wanted = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
    let Some((.., status)) = TRANSITIONS.iter().find(|(id, ..)| *id == wanted) else {
        // What the product does here: its own failure, not the caller's.
        return Ok(Fault::core(500, "Internal server error").into_response());
    };
    comments::add_from_update(&call, &mut world, issue, &body)?;
    let now = call.app.now();
    if let Some(issue) = world.issues.get_mut(&issue) {
        issue.status = status;
        issue.updated = now;
    }
    nothing()
}
