//! Comments, seen only by those they are meant for.

use axum::extract::Path;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::{App, Call};
use crate::permissions::{self, sees};
use crate::users;
use crate::wire::{self, Fault, Reply, ok};
use crate::world::{Comment, Issue, Right, World};

pub(crate) fn show(app: &App, world: &World, issue: &Issue, comment: &Comment) -> Value {
    let mut value = json!({
        "self": app.link(&format!("issue/{}/comment/{}", issue.id, comment.id)),
        "id": comment.id.to_string(),
        "author": users::show_name(app, world, comment.author.as_deref()),
        "body": comment.body,
        "updateAuthor": users::show_name(app, world, comment.updater.as_deref()),
        "created": comment.created,
        "updated": comment.updated,
    });
    permissions::show_visibility(&comment.visibility, &mut value);
    value
}

pub(crate) async fn all(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let issue = permissions::issue(&call.app, &world, &call.who, &name)?;
    let mut seen: Vec<Value> = permissions::comments(&world, &call.who, issue)
        .map(|one| show(&call.app, &world, issue, one))
        .collect();
    if call.query(&["orderBy"]) == Some("-created") {
        seen.reverse();
    }
    let (total, start, max) = (seen.len(), call.number("startAt", 0), call.number("maxResults", 50));
    let seen: Vec<Value> = seen.into_iter().skip(start).take(max).collect();
    ok(json!({ "startAt": start, "maxResults": max, "total": total, "comments": seen }))
}

/// Adds a comment to an issue the caller may see.
pub(crate) fn add_to(call: &Call, world: &mut World, issue: u64, body: &Value) -> Result<u64, Fault> {
    let found = world.issues.get(&issue).ok_or_else(Fault::no_issue)?;
    let text = body.get("body").and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| Fault::field("comment", "Comment body can not be empty!"))?.to_owned();
    let visibility = permissions::visibility(world, &call.who, found, body)?;
    let (id, now) = (world.fresh_id(), call.app.now());
    let author = call.who.name().map(str::to_owned);
    let comment = Comment {
        id,
        updater: author.clone(),
        author,
        body: text,
        visibility,
        created: now.clone(),
        updated: now.clone(),
    };
    if let Some(found) = world.issues.get_mut(&issue) {
        found.comments.push(comment);
        found.updated = now;
    }
    Ok(id)
}

pub(crate) async fn add(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let right = if call.app.is("anonymous-comment", "yes") { Right::Browse } else { Right::Comment };
    let issue = permissions::issue_with(&call.app, &world, &call.who, &name, right, 400)?.id;
    let id = add_to(&call, &mut world, issue, &body)?;
    let issue = world.issues.get(&issue).ok_or_else(Fault::no_issue)?;
    let comment = issue.comments.iter().find(|one| one.id == id).ok_or_else(Fault::no_issue)?;
    wire::status(201, show(&call.app, &world, issue, comment))
}

/// `"update":{"comment":[{"add":{…}}]}`, as edits and transitions carry it.
pub(crate) fn add_from_update(call: &Call, world: &mut World, issue: u64, body: &Value) -> Result<(), Fault> {
    let list = body.get("update").and_then(|update| update.get("comment")).and_then(Value::as_array);
    for added in list.into_iter().flatten().filter_map(|one| one.get("add")) {
        add_to(call, world, issue, added)?;
    }
    Ok(())
}

fn find<'a>(call: &Call, world: &'a World, name: &str, id: u64) -> Result<(&'a Issue, &'a Comment), Fault> {
    let issue = permissions::issue(&call.app, world, &call.who, name)?;
    let comment = issue.comments.iter().find(|one| one.id == id);
    let comment = comment.filter(|one| sees(world, &call.who, issue, &one.visibility));
    let comment =
        comment.ok_or_else(|| Fault::core(404, format!("Can not find a comment for the id: {id}.")))?;
    Ok((issue, comment))
}

pub(crate) async fn one(call: Call, Path((name, id)): Path<(String, u64)>) -> Reply {
    let world = call.app.world();
    let (issue, comment) = find(&call, &world, &name, id)?;
    ok(show(&call.app, &world, issue, comment))
}

/// The caller's own comment, or anybody's for project administrators.
fn own(call: &Call, world: &World, name: &str, id: u64) -> Result<u64, Fault> {
    let (issue, comment) = find(call, world, name, id)?;
    let own = comment.author.as_deref() == call.who.name() && call.who.name().is_some();
    if own || permissions::may_on(world, &call.who, issue, Right::Administer) {
        return Ok(issue.id);
    }
    Err(Fault::core(400, "You do not have permission to edit or delete this comment."))
}

pub(crate) async fn edit(call: Call, Path((name, id)): Path<(String, u64)>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let issue = own(&call, &world, &name, id)?;
    let found = world.issues.get(&issue).ok_or_else(Fault::no_issue)?;
    let visibility = permissions::visibility(&world, &call.who, found, &body)?;
    let (now, updater) = (call.app.now(), call.who.name().map(str::to_owned));
    let comments = world.issues.get_mut(&issue).map(|issue| &mut issue.comments);
    if let Some(comment) = comments.into_iter().flatten().find(|one| one.id == id) {
        if let Some(text) = body.get("body").and_then(Value::as_str) {
            text.clone_into(&mut comment.body);
        }
        if body.get("visibility").is_some() {
            comment.visibility = visibility;
        }
        comment.updated = now;
        comment.updater = updater;
    }
    let (issue, comment) = find(&call, &world, &name, id)?;
    ok(show(&call.app, &world, issue, comment))
}

pub(crate) async fn remove(call: Call, Path((name, id)): Path<(String, u64)>) -> Reply {
    let mut world = call.app.world();
    let issue = own(&call, &world, &name, id)?;
    if let Some(issue) = world.issues.get_mut(&issue) {
        issue.comments.retain(|one| one.id != id);
    }
    wire::nothing()
}
