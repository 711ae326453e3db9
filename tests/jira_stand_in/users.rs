//! `myself`, `user`, and the ways to find one.

use axum::extract::State;
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::app::{App, Call};
use crate::options::Profile;
use crate::permissions::{administrator, may, may_on};
use crate::wire::{self, Fault, Reply, ok};
use crate::world::{Right, User, World};

/// A user as other answers embed it.
pub(crate) fn show(app: &App, user: &User) -> Value {
    let avatar = |size: u32| format!("{}/secure/useravatar?size={size}&avatarId=10122", app.base);
    json!({
        "self": app.link(&format!("user?username={}", user.name)),
        "key": user.key,
        "name": user.name,
        "emailAddress": user.email,
        "displayName": user.display,
        "active": user.active,
        "deleted": false,
        "timeZone": "Etc/UTC",
        "locale": "en_US",
        "avatarUrls": { "48x48": avatar(48), "24x24": avatar(24), "16x16": avatar(16), "32x32": avatar(32) },
    })
}

/// By name, or null.
pub(crate) fn show_name(app: &App, world: &World, name: Option<&str>) -> Value {
    name.and_then(|name| world.users.get(name)).map_or(Value::Null, |user| show(app, user))
}

fn show_whole(app: &App, world: &World, user: &User) -> Value {
    let mut value = show(app, user);
    let groups: Vec<Value> = world
        .groups
        .iter()
        .filter(|(_, members)| members.contains(&user.name))
        .map(|(name, _)| json!({ "name": name, "self": app.link(&format!("group?groupname={name}")) }))
        .collect();
    if let Some(members) = value.as_object_mut() {
        members.insert("groups".to_owned(), json!({ "size": groups.len(), "items": groups }));
        members.insert("applicationRoles".to_owned(), json!({ "size": 1, "items": [] }));
        members.insert("expand".to_owned(), json!("groups,applicationRoles"));
    }
    value
}

pub(crate) async fn myself(call: Call) -> Reply {
    let name = call.who.required()?;
    let world = call.app.world();
    let user = world.user(name).ok_or_else(Fault::login)?;
    ok(show_whole(&call.app, &world, user))
}

fn find<'a>(call: &Call, world: &'a World) -> Result<&'a User, Fault> {
    let by_key = call.query(&["key"]).and_then(|key| world.by_key(key));
    let name = call.query(&["username", "key"]).unwrap_or_default();
    let by_name = || call.query(&["username"]).and_then(|name| world.by_name(name));
    by_key.or_else(by_name).ok_or_else(|| Fault::core(404, format!("The user named '{name}' does not exist")))
}

pub(crate) async fn one(call: Call) -> Reply {
    call.who.required()?;
    let world = call.app.world();
    let user = find(&call, &world)?;
    ok(show_whole(&call.app, &world, user))
}

pub(crate) async fn create(call: Call, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    administrator(&world, &call.who)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = text("name").to_lowercase();
    if name.is_empty() {
        return Err(Fault::field("username", "You must specify a username."));
    }
    if world.by_name(&name).is_some() {
        return Err(Fault::field("username", "A user with that username already exists."));
    }
    if !text("emailAddress").contains('@') {
        return Err(Fault::field("email", "You must specify a valid email address."));
    }
    let key = format!("JIRAUSER{}", world.fresh_id());
    let user = User {
        key,
        name: name.clone(),
        display: text("displayName"),
        email: text("emailAddress"),
        active: active(&body).unwrap_or(true),
        password: text("password"),
        failed_logins: 0,
    };
    let shown = show(&call.app, &user);
    world.users.insert(name, user);
    wire::status(201, shown)
}

/// One client sends `"false"` as a string, and Jira takes it.
fn active(body: &Value) -> Option<bool> {
    let value = body.get("active")?;
    value.as_bool().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

pub(crate) async fn update(call: Call, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    administrator(&world, &call.who)?;
    let name = find(&call, &world)?.name.clone();
    let user = world.users.get_mut(&name).ok_or_else(Fault::no_issue)?;
    if let Some(display) = body.get("displayName").and_then(Value::as_str) {
        display.clone_into(&mut user.display);
    }
    if let Some(email) = body.get("emailAddress").and_then(Value::as_str) {
        email.clone_into(&mut user.email);
    }
    if let Some(active) = active(&body) {
        user.active = active;
    }
    ok(show(&call.app, user))
}

pub(crate) async fn remove(call: Call) -> Reply {
    let mut world = call.app.world();
    administrator(&world, &call.who)?;
    let name = find(&call, &world)?.name.clone();
    let wrote = |issue: &crate::world::Issue| issue.reporter.as_deref() == Some(name.as_str());
    if world.issues.values().any(wrote) {
        return Err(Fault::core(400, format!("Cannot delete user '{name}': they have reported issues.")));
    }
    world.users.remove(&name);
    for members in world.groups.values_mut() {
        members.remove(&name);
    }
    wire::nothing()
}

/// Users whose name, display name or address begins like that; `.` means everybody.
fn matching<'a>(world: &'a World, text: &str, inactive: bool) -> Vec<&'a User> {
    let text = text.to_lowercase();
    let hit = |whole: &str| {
        let whole = whole.to_lowercase();
        text == "." || whole.starts_with(&text) || whole.split(' ').any(|word| word.starts_with(&text))
    };
    let fits = |user: &&User| hit(&user.name) || hit(&user.display) || hit(&user.email);
    world.users.values().filter(|user| user.active || inactive).filter(fits).collect()
}

/// Newer releases give at most a hundred.
fn cap(app: &App, wanted: usize) -> usize {
    let old = matches!(app.profile(), Profile::V8 | Profile::V9);
    let many = app.is("user-search-cap", "1000") || (old && app.is("user-search-cap", "by-profile"));
    wanted.min(if many { 1000 } else { 100 })
}

pub(crate) async fn search(call: Call) -> Reply {
    call.who.required()?;
    let Some(text) = call.query(&["username"]).filter(|text| !text.is_empty()) else {
        return Err(Fault::core(400, "The username query parameter was not provided"));
    };
    let world = call.app.world();
    let inactive = call.query(&["includeInactive"]) == Some("true");
    let (start, max) = (call.number("startAt", 0), cap(&call.app, call.number("maxResults", 50)));
    let found = matching(&world, text, inactive);
    ok(found.into_iter().skip(start).take(max).map(|user| show(&call.app, user)).collect())
}

pub(crate) async fn assignable(call: Call) -> Reply {
    call.who.required()?;
    let world = call.app.world();
    let may_be_assigned = |user: &&User| {
        let who = crate::identity::Who::User { name: user.name.clone(), by: crate::identity::Means::Session };
        let by_issue = call.query(&["issueKey"]).and_then(|key| world.issue(key));
        let by_project = call.query(&["project"]).and_then(|key| world.project(key));
        by_issue.is_some_and(|issue| may_on(&world, &who, issue, Right::Transition))
            || by_project.is_some_and(|project| may(&world, &who, project, Right::Transition))
    };
    let text = call.query(&["username"]).filter(|text| !text.is_empty()).unwrap_or(".");
    let max = cap(&call.app, call.number("maxResults", 50));
    let found = matching(&world, text, false).into_iter().filter(may_be_assigned);
    ok(found.take(max).map(|user| show(&call.app, user)).collect())
}

pub(crate) async fn picker(State(app): State<Arc<App>>, call: Call) -> Reply {
    call.who.required()?;
    let world = app.world();
    let found = matching(&world, call.query(&["query"]).unwrap_or_default(), false);
    let users: Vec<Value> = found
        .iter()
        .take(call.number("maxResults", 50))
        .map(|user| {
            json!({ "name": user.name, "key": user.key, "displayName": user.display,
                            "html": format!("{} ({})", user.display, user.name) })
        })
        .collect();
    ok(json!({ "users": users, "total": found.len(),
               "header": format!("Showing {} of {} matching users", users.len(), found.len()) }))
}
