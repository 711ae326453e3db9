//! Fields, types, statuses, and what is needed to create an issue.

use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::app::{App, Call};
use crate::options::Profile;
use crate::permissions::may;
use crate::wire::{self, Fault, Reply, ok};
use crate::world::{Project, Right, World};

/// Id and name.
pub(crate) const TYPES: &[(&str, &str)] = &[("10001", "Bug"), ("10002", "Task"), ("10003", "Story")];
/// Id, name, and the category's id, key and name.
pub(crate) const STATUSES: &[(&str, &str, (u32, &str, &str))] = &[
    ("10000", "To Do", (2, "new", "To Do")),
    ("3", "In Progress", (4, "indeterminate", "In Progress")),
    ("10001", "Done", (3, "done", "Done")),
];
/// Id and name.
pub(crate) const PRIORITIES: &[(&str, &str)] =
    &[("1", "Highest"), ("2", "High"), ("3", "Medium"), ("4", "Low"), ("5", "Lowest")];

/// Field id, name, kind, and whether creation needs it.
const FIELDS: &[(&str, &str, &str, bool)] = &[
    ("summary", "Summary", "string", true),
    ("project", "Project", "project", true),
    ("issuetype", "Issue Type", "issuetype", true),
    ("description", "Description", "string", false),
    ("assignee", "Assignee", "user", false),
    ("reporter", "Reporter", "user", false),
    ("priority", "Priority", "priority", false),
    ("labels", "Labels", "array", false),
    ("customfield_10100", "Order number", "string", false),
];

fn named(app: &App, resource: &str, table: &[(&str, &str)], id: &str) -> Value {
    let found = table.iter().find(|(one, _)| *one == id);
    found.map_or(Value::Null, |(id, name)| {
        json!({ "self": app.link(&format!("{resource}/{id}")), "id": id, "name": name,
                "iconUrl": format!("{}/images/icons/{resource}/{id}.svg", app.base) })
    })
}

pub(crate) fn show_type(app: &App, id: &str) -> Value {
    let mut value = named(app, "issuetype", TYPES, id);
    if let Some(members) = value.as_object_mut() {
        members.insert("subtask".to_owned(), json!(false));
        members.insert("description".to_owned(), json!(""));
    }
    value
}

pub(crate) fn show_priority(app: &App, id: &str) -> Value {
    named(app, "priority", PRIORITIES, id)
}

pub(crate) fn show_status(app: &App, id: &str) -> Value {
    let found = STATUSES.iter().find(|(one, ..)| *one == id);
    found.map_or(Value::Null, |(id, name, (category, key, title))| {
        json!({
            "self": app.link(&format!("status/{id}")), "id": id, "name": name, "description": "",
            "iconUrl": format!("{}/images/icons/status/{id}.png", app.base),
            "statusCategory": { "self": app.link(&format!("statuscategory/{category}")), "id": category,
                                "key": key, "name": title, "colorName": "blue-gray" },
        })
    })
}

pub(crate) fn types(app: &App) -> Value {
    TYPES.iter().map(|(id, _)| show_type(app, id)).collect()
}

pub(crate) fn status_values(app: &App) -> Value {
    STATUSES.iter().map(|(id, ..)| show_status(app, id)).collect()
}

pub(crate) async fn issue_types(State(app): State<Arc<App>>) -> Reply {
    ok(types(&app))
}

pub(crate) async fn statuses(State(app): State<Arc<App>>) -> Reply {
    ok(status_values(&app))
}

pub(crate) async fn priorities(State(app): State<Arc<App>>) -> Reply {
    ok(PRIORITIES.iter().map(|(id, _)| show_priority(&app, id)).collect())
}

pub(crate) async fn resolutions(State(app): State<Arc<App>>) -> Reply {
    ok(json!([named(&app, "resolution", &[("10000", "Done")], "10000")]))
}

fn schema(id: &str, kind: &str) -> Value {
    if id.starts_with("customfield_") {
        let number: u64 = id.trim_start_matches("customfield_").parse().unwrap_or_default();
        let custom = "com.atlassian.jira.plugin.system.customfieldtypes:textfield";
        return json!({ "type": kind, "custom": custom, "customId": number });
    }
    let items = (kind == "array").then_some("string");
    let mut schema = json!({ "type": kind, "system": id });
    if let (Some(items), Some(members)) = (items, schema.as_object_mut()) {
        members.insert("items".to_owned(), items.into());
    }
    schema
}

pub(crate) async fn all() -> Reply {
    let further = [("status", "Status", "status", false), ("comment", "Comment", "comments-page", false)];
    let fields = FIELDS.iter().chain(&further).map(|(id, name, kind, _)| {
        json!({ "id": id, "name": name, "custom": id.starts_with("customfield_"), "orderable": true,
                "navigable": true, "searchable": true, "clauseNames": [id], "schema": schema(id, kind) })
    });
    ok(fields.collect())
}

fn may_create<'a>(call: &Call, world: &'a World, name: &str) -> Result<&'a Project, Fault> {
    let project = world.project(name).filter(|project| may(world, &call.who, project, Right::Create));
    project.ok_or_else(|| Fault::core(400, "The project does not exist, or you may not create issues in it."))
}

fn only_new(call: &Call) -> (usize, usize) {
    (call.number("startAt", 0), call.number("maxResults", 50))
}

pub(crate) async fn create_types(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    may_create(&call, &world, &name)?;
    let Value::Array(values) = types(&call.app) else { return Err(Fault::no_issue()) };
    let (start, max) = only_new(&call);
    ok(wire::page(values, start, max))
}

fn field_meta(app: &App, project: &Project) -> Vec<Value> {
    let meta = |(id, name, kind, required): &(&str, &str, &str, bool)| {
        let mut value = json!({ "fieldId": id, "name": name, "required": required, "schema": schema(id, kind),
                                "hasDefaultValue": false, "operations": ["set"] });
        let allowed = match *id {
            "project" => Some(json!([crate::projects::show(app, project)])),
            "issuetype" => Some(types(app)),
            "priority" => Some(PRIORITIES.iter().map(|(id, _)| show_priority(app, id)).collect()),
            _ => None,
        };
        if let Some(members) = value.as_object_mut() {
            if let Some(allowed) = allowed {
                members.insert("allowedValues".to_owned(), allowed);
            }
            if *kind == "user" {
                let link = app.link(&format!("user/assignable/search?project={}&username=", project.key));
                members.insert("autoCompleteUrl".to_owned(), link.into());
            }
        }
        value
    };
    FIELDS.iter().map(meta).collect()
}

pub(crate) async fn create_fields(call: Call, Path((name, kind)): Path<(String, String)>) -> Reply {
    let world = call.app.world();
    let project = may_create(&call, &world, &name)?;
    if !TYPES.iter().any(|(id, _)| *id == kind) {
        return Err(Fault::core(400, "The issue type does not exist in this project."));
    }
    let (start, max) = only_new(&call);
    ok(wire::page(field_meta(&call.app, project), start, max))
}

/// The old form, gone since 9.0: from then on `createmeta` is an issue that is not there.
pub(crate) async fn old_create_meta(call: Call) -> Reply {
    if call.app.profile() != Profile::V8 {
        return Err(Fault::no_issue());
    }
    let world = call.app.world();
    let wanted = call.query(&["projectKeys"]).unwrap_or_default();
    let keys: Vec<&str> = wanted.split(',').filter(|key| !key.is_empty()).collect();
    let fits = |project: &&Project| {
        may(&world, &call.who, project, Right::Create)
            && (keys.is_empty() || keys.contains(&project.key.as_str()))
    };
    let projects = world.projects.values().filter(fits).map(|project| {
        let mut value = crate::projects::show(&call.app, project);
        if let Some(members) = value.as_object_mut() {
            members.insert("issuetypes".to_owned(), types(&call.app));
        }
        value
    });
    ok(json!({ "expand": "projects", "projects": projects.collect::<Vec<_>>() }))
}

pub(crate) async fn edit_meta(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let key = crate::permissions::issue(&call.app, &world, &call.who, &name)?.project.clone();
    let Some(project) = world.projects.get(&key) else { return Err(Fault::no_issue()) };
    let fields = field_meta(&call.app, project).into_iter().filter_map(|meta| {
        let id = meta.get("fieldId").and_then(Value::as_str)?.to_owned();
        Some((id, meta))
    });
    ok(json!({ "fields": Value::Object(fields.collect()) }))
}
