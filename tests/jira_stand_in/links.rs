//! Remote links and entity properties.

use axum::extract::Path;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::{App, Call};
use crate::permissions;
use crate::wire::{self, Fault, Reply, nothing, ok};
use crate::world::{Issue, RemoteLink, Right};

fn show(app: &App, issue: &Issue, link: &RemoteLink) -> Value {
    let mut value = link.body.clone();
    if let Some(members) = value.as_object_mut() {
        members.insert("id".to_owned(), link.id.into());
        members.insert(
            "self".to_owned(),
            app.link(&format!("issue/{}/remotelink/{}", issue.key, link.id)).into(),
        );
    }
    value
}

pub(crate) async fn all(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let issue = permissions::issue(&call.app, &world, &call.who, &name)?;
    let wanted = call.query(&["globalId"]);
    let fits = |link: &&RemoteLink| wanted.is_none() || link.global_id.as_deref() == wanted;
    ok(issue.links.iter().filter(fits).map(|link| show(&call.app, issue, link)).collect())
}

/// Creates, or updates the one with the same `globalId`.
pub(crate) async fn put(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let found = permissions::issue_with(&call.app, &world, &call.who, &name, Right::Edit, 403)?;
    if body.pointer("/object/url").is_none() || body.pointer("/object/title").is_none() {
        return Err(Fault::field("title", "'title' and 'url' are required."));
    }
    let (issue, fresh) = (found.id, world.fresh_id());
    let global_id = body.get("globalId").and_then(Value::as_str).map(str::to_owned);
    let Some(issue) = world.issues.get_mut(&issue) else { return Err(Fault::no_issue()) };
    let old = issue.links.iter_mut().find(|link| global_id.is_some() && link.global_id == global_id);
    let (id, new) = if let Some(link) = old {
        link.body = body;
        (link.id, false)
    } else {
        issue.links.push(RemoteLink { id: fresh, global_id, body });
        (fresh, true)
    };
    let status = if new && call.app.is("remotelink-created", "201") { 201 } else { 200 };
    let link = call.app.link(&format!("issue/{}/remotelink/{id}", issue.key));
    wire::status(status, json!({ "id": id, "self": link }))
}

pub(crate) async fn property(call: Call, Path((name, key)): Path<(String, String)>) -> Reply {
    let world = call.app.world();
    let issue = permissions::issue(&call.app, &world, &call.who, &name)?;
    match issue.properties.get(&key) {
        Some(value) => ok(json!({ "key": key, "value": value })),
        None => Err(Fault::core(404, format!("The property {key} does not exist."))),
    }
}

pub(crate) async fn set_property(
    call: Call,
    Path((name, key)): Path<(String, String)>,
    body: Bytes,
) -> Reply {
    let value = wire::parse(&body)?;
    let mut world = call.app.world();
    let issue = permissions::issue_with(&call.app, &world, &call.who, &name, Right::Edit, 403)?.id;
    let Some(issue) = world.issues.get_mut(&issue) else { return Err(Fault::no_issue()) };
    let status = if issue.properties.insert(key, value).is_none() { 201 } else { 200 };
    wire::empty(status)
}

pub(crate) async fn remove_property(call: Call, Path((name, key)): Path<(String, String)>) -> Reply {
    let mut world = call.app.world();
    let issue = permissions::issue_with(&call.app, &world, &call.who, &name, Right::Edit, 403)?.id;
    let gone = world.issues.get_mut(&issue).and_then(|issue| issue.properties.remove(&key));
    if gone.is_some() {
        nothing()
    } else {
        Err(Fault::core(404, format!("The property {key} does not exist.")))
    }
}
