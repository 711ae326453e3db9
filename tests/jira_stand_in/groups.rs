//! Groups and their members.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::Call;
use crate::permissions::administrator;
use crate::users;
use crate::wire::{self, Fault, Reply, ok};
use crate::world::World;

fn group<'a>(call: &'a Call, world: &World) -> Result<&'a str, Fault> {
    let name = call.query(&["groupname"]).unwrap_or_default();
    if world.groups.contains_key(name) {
        return Ok(name);
    }
    Err(Fault::core(404, format!("The group named '{name}' does not exist")))
}

/// The form an older client asks for; it is not in the newer documents.
pub(crate) async fn one(call: Call) -> Reply {
    let world = call.app.world();
    administrator(&world, &call.who)?;
    if call.app.is("group-read", "404") {
        return Err(Fault::core(404, "No such resource"));
    }
    let name = group(&call, &world)?;
    let members = member_values(&call, &world, name);
    ok(json!({ "name": name, "self": call.app.link(&format!("group?groupname={name}")),
               "users": { "size": members.len(), "items": members, "max-results": 50, "start-index": 0 } }))
}

fn member_values(call: &Call, world: &World, name: &str) -> Vec<Value> {
    let inactive = call.query(&["includeInactiveUsers"]) == Some("true");
    let members = world.groups.get(name).into_iter().flatten().filter_map(|name| world.users.get(name));
    members.filter(|user| user.active || inactive).map(|user| users::show(&call.app, user)).collect()
}

pub(crate) async fn members(call: Call) -> Reply {
    let world = call.app.world();
    administrator(&world, &call.who)?;
    let name = group(&call, &world)?;
    ok(wire::page(
        member_values(&call, &world, name),
        call.number("startAt", 0),
        call.number("maxResults", 50),
    ))
}

pub(crate) async fn create(call: Call, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    administrator(&world, &call.who)?;
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() || world.groups.contains_key(&name) {
        return Err(Fault::core(400, "A group with this name already exists, or the name is empty."));
    }
    world.groups.insert(name.clone(), BTreeSet::new());
    wire::status(201, json!({ "name": name, "self": call.app.link(&format!("group?groupname={name}")) }))
}

pub(crate) async fn remove(call: Call) -> Reply {
    let mut world = call.app.world();
    administrator(&world, &call.who)?;
    let name = group(&call, &world)?.to_owned();
    world.groups.remove(&name);
    wire::empty(200)
}

pub(crate) async fn add(call: Call, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    administrator(&world, &call.who)?;
    let name = group(&call, &world)?.to_owned();
    let user = body.get("name").and_then(Value::as_str).unwrap_or_default();
    let Some(user) = world.user(user).map(|user| user.name.clone()) else {
        return Err(Fault::core(404, format!("The user named '{user}' does not exist")));
    };
    if !world.groups.get_mut(&name).is_some_and(|members| members.insert(user.clone())) {
        return Err(Fault::core(
            400,
            format!("Cannot add user '{user}', user is already a member of '{name}'"),
        ));
    }
    wire::status(201, json!({ "name": name, "self": call.app.link(&format!("group?groupname={name}")) }))
}

pub(crate) async fn remove_member(call: Call) -> Reply {
    let mut world = call.app.world();
    administrator(&world, &call.who)?;
    let name = group(&call, &world)?.to_owned();
    let user = call.query(&["username"]).unwrap_or_default().to_owned();
    if world.groups.get_mut(&name).is_some_and(|members| members.remove(&user)) {
        return wire::empty(200);
    }
    Err(Fault::core(400, format!("Cannot remove user '{user}', user is not a member of '{name}'")))
}

pub(crate) async fn picker(call: Call) -> Reply {
    call.who.required()?;
    let world = call.app.world();
    let text = call.query(&["query"]).unwrap_or_default().to_lowercase();
    let found: Vec<Value> = world
        .groups
        .keys()
        .filter(|name| name.to_lowercase().contains(&text))
        .map(|name| json!({ "name": name, "html": name, "labels": [] }))
        .collect();
    ok(json!({ "header": format!("Showing {0} of {0} matching groups", found.len()),
               "total": found.len(), "groups": found }))
}
