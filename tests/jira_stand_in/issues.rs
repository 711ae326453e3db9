//! Issues: create, read, edit, assign, delete.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::Path;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::app::{App, Call};
use crate::fields::{self, PRIORITIES, STATUSES, TYPES};
use crate::identity::Who;
use crate::permissions::{self, may};
use crate::wire::{self, Fault, Reply, nothing, ok};
use crate::world::{Issue, Right, World};
use crate::{attachments, comments, projects, users, worklogs};

pub(crate) fn status_name(id: &str) -> &'static str {
    STATUSES.iter().find(|(one, ..)| *one == id).map_or("", |(_, name, _)| name)
}

/// An issue as this caller sees it. `wanted` limits the fields, as the query parameter does.
pub(crate) fn show(app: &App, world: &World, who: &Who, issue: &Issue, wanted: Option<&str>) -> Value {
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| {
        all.insert(name.to_owned(), value);
    };
    put("summary", issue.summary.clone().into());
    put("description", issue.description.clone().into());
    put("issuetype", fields::show_type(app, issue.kind));
    put("status", fields::show_status(app, issue.status));
    put("priority", fields::show_priority(app, &issue.priority));
    put("project", world.projects.get(&issue.project).map_or(Value::Null, |one| projects::show(app, one)));
    put("reporter", users::show_name(app, world, issue.reporter.as_deref()));
    put("creator", users::show_name(app, world, issue.reporter.as_deref()));
    put("assignee", users::show_name(app, world, issue.assignee.as_deref()));
    put("labels", issue.labels.clone().into());
    put("created", issue.created.clone().into());
    put("updated", issue.updated.clone().into());
    let done = status_name(issue.status) == "Done";
    put("resolution", if done { json!({ "id": "10000", "name": "Done" }) } else { Value::Null });
    put("components", json!([]));
    put("fixVersions", json!([]));
    put("issuelinks", json!([]));
    put("subtasks", json!([]));
    put("timespent", json!(issue.worklogs.iter().map(|log| log.seconds).sum::<u64>()));
    put(
        "watches",
        json!({
            "self": app.link(&format!("issue/{}/watchers", issue.key)),
            "watchCount": issue.watchers.len(),
            "isWatching": who.name().is_some_and(|name| issue.watchers.contains(name)),
        }),
    );
    let seen: Vec<Value> =
        permissions::comments(world, who, issue).map(|one| comments::show(app, world, issue, one)).collect();
    put("comment", json!({ "comments": seen, "maxResults": seen.len(), "total": seen.len(), "startAt": 0 }));
    let work: Vec<Value> =
        permissions::worklogs(world, who, issue).map(|one| worklogs::show(app, world, issue, one)).collect();
    put("worklog", json!({ "worklogs": work, "maxResults": 20, "total": work.len(), "startAt": 0 }));
    let files = issue.attachments.iter().filter_map(|id| world.attachments.get(id));
    put("attachment", files.map(|file| attachments::show(app, world, file)).collect());
    for (name, value) in &issue.extra {
        put(name, value.clone());
    }
    if let Some(wanted) = wanted {
        let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
        let every = wanted.iter().any(|name| matches!(*name, "*all" | "*navigable" | ""));
        all.retain(|name, _| {
            let named = wanted.contains(&name.as_str());
            let dropped = wanted.iter().any(|one| one.strip_prefix('-') == Some(name));
            (every || named) && !dropped
        });
    }
    json!({
        "expand": "renderedFields,names,schema,operations,editmeta,changelog",
        "id": issue.id.to_string(),
        "self": app.link(&format!("issue/{}", issue.id)),
        "key": issue.key,
        "fields": all,
    })
}

pub(crate) async fn read(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let issue = permissions::issue(&call.app, &world, &call.who, &name)?;
    ok(show(&call.app, &world, &call.who, issue, call.query(&["fields"])))
}

/// A reference such as `{"id":…}`, `{"name":…}` or `{"key":…}`.
fn reference(value: &Value) -> Option<String> {
    ["key", "id", "name"].iter().find_map(|name| {
        let value = value.get(name)?;
        value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|number| number.to_string()))
    })
}

fn by_id_or_name(table: &[(&'static str, &'static str)], value: &Value) -> Option<&'static str> {
    let wanted = reference(value)?;
    table.iter().find(|(id, name)| *id == wanted || name.eq_ignore_ascii_case(&wanted)).map(|(id, _)| *id)
}

/// Changes that `fields` asks for, checked whole before any is made.
struct Change {
    summary: Option<String>,
    description: Option<Option<String>>,
    kind: Option<&'static str>,
    priority: Option<&'static str>,
    labels: Option<Vec<String>>,
    assignee: Option<Option<String>>,
    reporter: Option<String>,
    extra: Map<String, Value>,
}

fn change(world: &World, fields: &Map<String, Value>) -> Result<Change, Fault> {
    let mut errors = Map::new();
    let mut change = Change {
        summary: None,
        description: None,
        kind: None,
        priority: None,
        labels: None,
        assignee: None,
        reporter: None,
        extra: Map::new(),
    };
    let mut wrong = |name: &str, message: &str| {
        errors.insert(name.to_owned(), message.into());
    };
    for (name, value) in fields {
        match name.as_str() {
            "project" => {}
            "summary" => match value.as_str().filter(|text| !text.trim().is_empty()) {
                Some(text) if text.contains('\n') => {
                    wrong(name, "The summary is invalid because it contains newline characters.");
                }
                Some(text) if text.chars().count() > 255 => {
                    wrong(name, "Summary must be less than 255 characters.");
                }
                Some(text) => change.summary = Some(text.to_owned()),
                None => wrong(name, "You must specify a summary of the issue."),
            },
            "description" if value.is_string() || value.is_null() => {
                change.description = Some(value.as_str().map(str::to_owned));
            }
            "description" => wrong(name, "Operation value must be a string"),
            "issuetype" => match by_id_or_name(TYPES, value) {
                Some(id) => change.kind = Some(id),
                None => wrong(name, "issue type is required"),
            },
            "priority" => match by_id_or_name(PRIORITIES, value) {
                Some(id) => change.priority = Some(id),
                None => wrong(name, "The priority selected is invalid."),
            },
            "labels" => {
                let labels = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                change.labels = Some(labels.map(str::to_owned).collect());
            }
            "assignee" if value.is_null() || value.get("name").is_some_and(Value::is_null) => {
                change.assignee = Some(None);
            }
            "assignee" | "reporter" => match reference(value).and_then(|name| world.user(&name)) {
                Some(user) if name == "assignee" => change.assignee = Some(Some(user.name.clone())),
                Some(user) => change.reporter = Some(user.name.clone()),
                None => wrong(name, "User does not exist."),
            },
            custom if custom.starts_with("customfield_") => {
                change.extra.insert(custom.to_owned(), value.clone());
            }
            other => {
                let message = format!(
                    "Field '{other}' cannot be set. It is not on the appropriate screen, or unknown."
                );
                wrong(other, &message);
            }
        }
    }
    if errors.is_empty() { Ok(change) } else { Err(Fault::Core(wire::code(400), Vec::new(), errors)) }
}

fn apply(change: Change, issue: &mut Issue) {
    issue.summary = change.summary.unwrap_or_else(|| std::mem::take(&mut issue.summary));
    issue.description = change.description.unwrap_or_else(|| issue.description.take());
    issue.kind = change.kind.unwrap_or(issue.kind);
    if let Some(priority) = change.priority {
        priority.clone_into(&mut issue.priority);
    }
    issue.labels = change.labels.unwrap_or_else(|| std::mem::take(&mut issue.labels));
    issue.assignee = change.assignee.unwrap_or_else(|| issue.assignee.take());
    issue.reporter = change.reporter.or_else(|| issue.reporter.take());
    issue.extra.extend(change.extra);
}

fn create_one(call: &Call, body: &Value) -> Result<Value, Fault> {
    let empty = Map::new();
    let fields = body.get("fields").and_then(Value::as_object).unwrap_or(&empty);
    let mut world = call.app.world();
    let project = fields.get("project").and_then(reference).and_then(|name| {
        let project = world.project(&name)?;
        may(&world, &call.who, project, Right::Create).then(|| project.key.clone())
    });
    // A hidden project is as good as none; anonymous callers learn no more.
    let project = project.ok_or_else(|| Fault::field("project", "project is required"))?;
    let change = change(&world, fields)?;
    let mut errors = Map::new();
    if change.summary.is_none() {
        errors.insert("summary".to_owned(), "You must specify a summary of the issue.".into());
    }
    if change.kind.is_none() {
        errors.insert("issuetype".to_owned(), "issue type is required".into());
    }
    if !errors.is_empty() {
        return Err(Fault::Core(wire::code(400), Vec::new(), errors));
    }
    let mut issue = blank(&call.app, &mut world, &project, call.who.name());
    let (id, key) = (issue.id, issue.key.clone());
    apply(change, &mut issue);
    world.issues.insert(id, issue);
    Ok(json!({ "id": id.to_string(), "key": key, "self": call.app.link(&format!("issue/{id}")) }))
}

/// The next issue of a project, with nothing in it yet; whoever makes it inserts it.
pub(crate) fn blank(app: &App, world: &mut World, project: &str, reporter: Option<&str>) -> Issue {
    let number = world.projects.get_mut(project).map_or(0, |project| {
        project.last_number += 1;
        project.last_number
    });
    let now = app.now();
    Issue {
        id: world.fresh_id(),
        key: format!("{project}-{number}"),
        project: project.to_owned(),
        kind: "10002",
        status: "10000",
        summary: String::new(),
        description: None,
        reporter: reporter.map(str::to_owned),
        assignee: None,
        labels: Vec::new(),
        priority: "3".to_owned(),
        extra: Map::new(),
        comments: Vec::new(),
        worklogs: Vec::new(),
        watchers: reporter.map(str::to_owned).into_iter().collect::<BTreeSet<_>>(),
        attachments: Vec::new(),
        links: Vec::new(),
        properties: BTreeMap::new(),
        remaining_seconds: 0,
        request: None,
        created: now.clone(),
        updated: now,
    }
}

pub(crate) async fn create(call: Call, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    wire::status(201, create_one(&call, &body)?)
}

pub(crate) async fn bulk(call: Call, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let (mut issues, mut errors) = (Vec::new(), Vec::new());
    let updates = body.get("issueUpdates").and_then(Value::as_array).cloned().unwrap_or_default();
    for (index, update) in updates.iter().enumerate() {
        match create_one(&call, update) {
            Ok(issue) => issues.push(issue),
            Err(Fault::Core(status, messages, fields)) => errors.push(json!({
                "status": status.as_u16(), "failedElementNumber": index,
                "elementErrors": { "errorMessages": messages, "errors": fields },
            })),
            Err(other) => return Err(other),
        }
    }
    let status = if issues.is_empty() { 400 } else { 201 };
    wire::status(status, json!({ "issues": issues, "errors": errors }))
}

pub(crate) async fn edit(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let id = permissions::issue_with(&call.app, &world, &call.who, &name, Right::Edit, 403)?.id;
    if call.query(&["notifyUsers"]) == Some("false") {
        let admin = permissions::administrator(&world, &call.who);
        admin.map_err(|_| {
            Fault::core(403, "To discard the user notification you must be an administrator.")
        })?;
    }
    let mut fields = body.get("fields").and_then(Value::as_object).cloned().unwrap_or_default();
    for (field, operations) in body.get("update").and_then(Value::as_object).into_iter().flatten() {
        if field != "comment" {
            let now = world.issues.get(&id).map(|issue| issue.labels.clone()).unwrap_or_default();
            fields.insert(field.clone(), operated(field, operations, now)?);
        }
    }
    let change = change(&world, &fields)?;
    let now = call.app.now();
    if let Some(issue) = world.issues.get_mut(&id) {
        apply(change, issue);
        issue.updated = now;
    }
    comments::add_from_update(&call, &mut world, id, &body)?;
    nothing()
}

/// What operations such as `[{"set":…}]` or `[{"add":…}]` make of a field. Labels alone are a list here.
fn operated(field: &str, operations: &Value, labels: Vec<String>) -> Result<Value, Fault> {
    let wrong = || Fault::field(field, "Operation value must be one of set, add and remove.");
    let mut value = Value::from(labels);
    for operation in operations.as_array().ok_or_else(wrong)? {
        let (verb, given) = operation.as_object().and_then(|one| one.iter().next()).ok_or_else(wrong)?;
        match (verb.as_str(), value.as_array_mut()) {
            ("set", _) => value = given.clone(),
            ("add", Some(list)) if field == "labels" => list.push(given.clone()),
            ("remove", Some(list)) if field == "labels" => list.retain(|one| one != given),
            _ => return Err(wrong()),
        }
    }
    Ok(value)
}

/// `PUT assignee`: 401, not 403, when the right is missing.
pub(crate) async fn assign(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let found = permissions::issue_with(&call.app, &world, &call.who, &name, Right::Assign, 401)?;
    let (id, project) = (found.id, found.project.clone());
    let lead = world.projects.get(&project).map(|project| project.lead.clone());
    let assignee = match body.get("name") {
        Some(Value::String(name)) if name == "-1" => lead,
        Some(Value::String(name)) => match world.user(name).filter(|user| user.active) {
            Some(user) => Some(user.name.clone()),
            None => return Err(Fault::field("assignee", format!("User '{name}' does not exist."))),
        },
        _ if call.app.is("assignee-null", "automatic") => lead,
        _ => None,
    };
    let now = call.app.now();
    if let Some(issue) = world.issues.get_mut(&id) {
        issue.assignee = assignee;
        issue.updated = now;
    }
    nothing()
}

pub(crate) async fn remove(call: Call, Path(name): Path<String>) -> Reply {
    let mut world = call.app.world();
    let id = permissions::issue_with(&call.app, &world, &call.who, &name, Right::Delete, 403)?.id;
    if let Some(issue) = world.issues.remove(&id) {
        for file in issue.attachments.iter().filter_map(|id| world.attachments.remove(id)) {
            // A file that is already gone is no loss.
            let _ = std::fs::remove_file(&file.path);
        }
    }
    nothing()
}
