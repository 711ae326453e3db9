//! Requests of the service desk: raise, read, comment, move on, attach.

use axum::extract::Path;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::Call;
use crate::attachments;
use crate::comments as issue_comments;
use crate::desk::{self, PROJECT, is_agent, is_customer};
use crate::desk_approvals;
use crate::desk_wire::{self, date, link, page, person};
use crate::issues;
use crate::transitions::TRANSITIONS;
use crate::wire::{self, Fault, Reply, nothing, ok};
use crate::world::{Comment, DeskRequest, Issue, Visibility, World};

fn text(body: &Value, name: &str) -> Option<String> {
    let value = body.get(name)?;
    value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|number| number.to_string()))
}

/// The caller, or whom an agent raises it for.
fn customer(call: &Call, world: &World, body: &Value) -> Result<String, Fault> {
    let me = call.who.required()?;
    let Some(name) = text(body, "raiseOnBehalfOf") else { return Ok(me.to_owned()) };
    let user = world.user(&name).filter(|user| user.active);
    let user = user.ok_or_else(|| Fault::desk(400, format!("{name} is no customer.")))?;
    if user.name != me && !is_agent(world, &call.who) {
        return Err(Fault::desk(403, "Only agents raise requests on behalf of others."));
    }
    Ok(user.name.clone())
}

pub(crate) async fn create(call: Call, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    if !is_customer(&world, &call.who) || text(&body, "serviceDeskId").as_deref() != Some("1") {
        call.who.required()?;
        return Err(Fault::desk(404, "There is no such service desk, or you are no customer of it."));
    }
    let (kind, _, needs_approval) = *desk::kind(&text(&body, "requestTypeId").unwrap_or_default())?;
    let reporter = customer(&call, &world, &body)?;
    let values = body.get("requestFieldValues").cloned().unwrap_or_default();
    let summary = text(&values, "summary").filter(|text| !text.trim().is_empty());
    let summary =
        summary.ok_or_else(|| Fault::desk(400, "Your request could not be created: a summary is needed."))?;
    let mut issue = issues::blank(&call.app, &mut world, PROJECT, Some(&reporter));
    issue.summary = summary;
    issue.description = text(&values, "description");
    let given = body.get("requestParticipants").and_then(Value::as_array).into_iter().flatten();
    let participants = given.filter_map(Value::as_str).map(str::to_owned).collect();
    let approvals = needs_approval.then(|| desk_approvals::asked(&call.app, &mut world));
    issue.request = Some(DeskRequest { kind, participants, approvals: approvals.into_iter().collect() });
    let shown = desk_wire::request(&call.app, &world, &issue)?;
    world.issues.insert(issue.id, issue);
    wire::status(201, shown)
}

/// Those the caller raised or takes part in; agents too see their own only, unless they ask for all.
pub(crate) async fn all(call: Call) -> Reply {
    let me = call.who.required()?.to_owned();
    let every = call.query(&["requestOwnership"]) == Some("ALL_REQUESTS");
    let requests = {
        let world = call.app.world();
        let mine = world.issues.values().rev().filter(|issue| {
            let Some(request) = &issue.request else { return false };
            issue.reporter.as_ref() == Some(&me)
                || request.participants.contains(&me)
                || (every && desk::sees(&world, &call.who, issue))
        });
        mine.map(|issue| desk_wire::request(&call.app, &world, issue)).collect::<Result<Vec<_>, _>>()?
    };
    page(&call, "request", requests)
}

pub(crate) async fn one(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let issue = desk::request(&call, &world, &name)?;
    ok(desk_wire::request(&call.app, &world, issue)?)
}

pub(crate) async fn status(call: Call, Path(name): Path<String>) -> Reply {
    let status = desk_wire::status(desk::request(&call, &call.app.world(), &name)?);
    page(&call, &format!("request/{name}/status"), vec![status])
}

pub(crate) async fn agreements(call: Call, Path(name): Path<String>) -> Reply {
    desk::request(&call, &call.app.world(), &name)?;
    page(&call, &format!("request/{name}/sla"), Vec::new())
}

/// What agents keep among themselves is a comment for the role Developers.
fn is_public(comment: &Comment) -> bool {
    comment.visibility == Visibility::All
}

fn show_comment(call: &Call, world: &World, issue: &Issue, comment: &Comment) -> Value {
    json!({
        "id": comment.id.to_string(), "body": comment.body, "public": is_public(comment),
        "author": person(&call.app, world, comment.author.as_deref()), "created": date(&comment.created),
        "_links": { "self": link(&call.app, &format!("request/{}/comment/{}", issue.id, comment.id)) },
    })
}

/// Adds a comment with the service desk's two kinds of visibility; its id.
fn add(call: &Call, world: &mut World, issue: u64, text: &str, public: bool) -> Result<u64, Fault> {
    if !public && !is_agent(world, &call.who) {
        return Err(Fault::desk(403, "Only agents write internal comments."));
    }
    let mut body = json!({ "body": text });
    if let Some(members) = body.as_object_mut().filter(|_| !public) {
        members.insert("visibility".to_owned(), json!({ "type": "role", "value": "Developers" }));
    }
    issue_comments::add_to(call, world, issue, &body)
        .map_err(|_| Fault::desk(400, "Comment body can not be empty!"))
}

pub(crate) async fn add_comment(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let issue = desk::request(&call, &world, &name)?.id;
    let public = body.get("public").and_then(Value::as_bool).unwrap_or(true);
    let id = add(&call, &mut world, issue, &text(&body, "body").unwrap_or_default(), public)?;
    let issue = desk::request(&call, &world, &name)?;
    let comment = issue.comments.iter().find(|one| one.id == id).ok_or_else(Fault::no_issue)?;
    wire::status(201, show_comment(&call, &world, issue, comment))
}

/// Those the caller may see, by kind if asked.
fn seen<'a>(call: &'a Call, world: &'a World, issue: &'a Issue) -> impl Iterator<Item = &'a Comment> {
    let agent = is_agent(world, &call.who);
    let wants = |name: &str| call.query(&[name]).is_none_or(|value| !value.eq_ignore_ascii_case("false"));
    let (public, internal) = (wants("public"), wants("internal") && agent);
    issue.comments.iter().filter(move |one| if is_public(one) { public } else { internal })
}

pub(crate) async fn comments(call: Call, Path(name): Path<String>) -> Reply {
    let comments = {
        let world = call.app.world();
        let issue = desk::request(&call, &world, &name)?;
        seen(&call, &world, issue).map(|one| show_comment(&call, &world, issue, one)).collect()
    };
    page(&call, &format!("request/{name}/comment"), comments)
}

pub(crate) async fn comment(call: Call, Path((name, id)): Path<(String, u64)>) -> Reply {
    let world = call.app.world();
    let issue = desk::request(&call, &world, &name)?;
    let comment = seen(&call, &world, issue).find(|one| one.id == id);
    let comment = comment.ok_or_else(|| Fault::desk(404, format!("There is no comment {id}.")))?;
    ok(show_comment(&call, &world, issue, comment))
}

/// Agents are offered every transition, customers the last one only.
fn offered(
    call: &Call,
    world: &World,
) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
    let agent = is_agent(world, &call.who);
    TRANSITIONS.iter().filter(move |(_, name, _)| agent || *name == "Done")
}

pub(crate) async fn transitions(call: Call, Path(name): Path<String>) -> Reply {
    let values = {
        let world = call.app.world();
        desk::request(&call, &world, &name)?;
        offered(&call, &world).map(|(id, name, _)| json!({ "id": id, "name": name })).collect()
    };
    page(&call, &format!("request/{name}/transition"), values)
}

pub(crate) async fn transit(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let id = desk::request(&call, &world, &name)?.id;
    let wanted = text(&body, "id").unwrap_or_default();
    let found = offered(&call, &world).find(|(id, ..)| *id == wanted);
    let (.., status) =
        *found.ok_or_else(|| Fault::desk(400, format!("{wanted} is no transition of this request.")))?;
    // A client that has nothing to say sends `{"body":null}`.
    if let Some(comment) = body.get("additionalComment").and_then(|comment| text(comment, "body")) {
        add(&call, &mut world, id, &comment, true)?;
    }
    let now = call.app.now();
    if let Some(issue) = world.issues.get_mut(&id) {
        issue.status = status;
        issue.updated = now;
    }
    nothing()
}

/// Files that were uploaded before become attachments, told of in a comment.
pub(crate) async fn attach(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let id = desk::request(&call, &world, &name)?.id;
    let wanted: Vec<String> = body
        .get("temporaryAttachmentIds")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect();
    if wanted.is_empty() || wanted.iter().any(|one| !world.temporary.contains_key(one)) {
        return Err(Fault::desk(400, "There is no such temporary attachment."));
    }
    let files: Vec<_> = wanted.iter().filter_map(|one| world.temporary.remove(one)).collect();
    let names: Vec<String> = files.iter().map(|file| format!("[^{}]", file.name)).collect();
    let ids = attachments::attach(&call, &mut world, id, files);
    let said = body.get("additionalComment").and_then(|comment| text(comment, "body")).unwrap_or_default();
    let public = body.get("public").and_then(Value::as_bool).unwrap_or(true);
    let comment = add(&call, &mut world, id, format!("{said}\n{}", names.join("\n")).trim(), public)?;
    let issue = desk::request(&call, &world, &name)?;
    let comment = issue.comments.iter().find(|one| one.id == comment).ok_or_else(Fault::no_issue)?;
    let shown: Vec<Value> = ids
        .iter()
        .filter_map(|id| world.attachments.get(id))
        .map(|file| {
            let whole = attachments::show(&call.app, &world, file);
            let get = |name: &str| whole.get(name).cloned().unwrap_or_default();
            json!({ "filename": file.name, "author": person(&call.app, &world, file.author.as_deref()),
                    "created": date(&file.created), "size": file.size, "mimeType": get("mimeType"),
                    "_links": { "jiraRest": get("self"), "content": get("content") } })
        })
        .collect();
    wire::status(
        201,
        json!({ "comment": show_comment(&call, &world, issue, comment),
                "attachments": { "size": shown.len(), "start": 0, "limit": 50, "isLastPage": true, "values": shown } }),
    )
}
