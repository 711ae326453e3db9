//! Who watches an issue. The body of an addition is a bare JSON string.

use axum::extract::Path;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::Call;
use crate::permissions::{self, may_on};
use crate::users;
use crate::wire::{self, Fault, Reply, nothing, ok};
use crate::world::{Right, World};

pub(crate) async fn all(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let issue = permissions::issue(&call.app, &world, &call.who, &name)?;
    let watchers: Vec<Value> =
        issue.watchers.iter().map(|name| users::show_name(&call.app, &world, Some(name))).collect();
    ok(json!({
        "self": call.app.link(&format!("issue/{}/watchers", issue.key)),
        "isWatching": call.who.name().is_some_and(|name| issue.watchers.contains(name)),
        "watchCount": watchers.len(),
        "watchers": watchers,
    }))
}

/// Anybody logged in may watch; adding or removing others takes a right, and its lack is a 401.
fn target(call: &Call, world: &World, issue: &str, wanted: Option<String>) -> Result<(u64, String), Fault> {
    let found = permissions::issue(&call.app, world, &call.who, issue)?;
    let me = call.who.required()?;
    let wanted = wanted.unwrap_or_else(|| me.to_owned());
    let Some(user) = world.user(&wanted) else {
        return Err(Fault::core(404, format!("The user \"{wanted}\" does not exist.")));
    };
    if user.name != me && !may_on(world, &call.who, found, Right::ManageWatchers) {
        return Err(Fault::core(401, "User does not have permission to manage the watchers of this issue."));
    }
    Ok((found.id, user.name.clone()))
}

pub(crate) async fn add(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let wanted = if body.is_empty() {
        call.query(&["userName", "username"]).map(str::to_owned)
    } else {
        match wire::parse(&body)? {
            Value::String(name) => Some(name),
            Value::Null => None,
            _ => return Err(Fault::bad_json("a string is expected")),
        }
    };
    let mut world = call.app.world();
    let (issue, user) = target(&call, &world, &name, wanted)?;
    if let Some(issue) = world.issues.get_mut(&issue) {
        issue.watchers.insert(user);
    }
    nothing()
}

pub(crate) async fn remove(call: Call, Path(name): Path<String>) -> Reply {
    let Some(wanted) = call.query(&["username", "userName"]).map(str::to_owned) else {
        return Err(Fault::core(400, "The username is missing."));
    };
    let mut world = call.app.world();
    let (issue, user) = target(&call, &world, &name, Some(wanted))?;
    if let Some(issue) = world.issues.get_mut(&issue) {
        issue.watchers.remove(&user);
    }
    nothing()
}
