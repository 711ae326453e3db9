//! Projects, their roles, and the caller's rights.

use axum::extract::Path;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::app::{App, Call};
use crate::fields;
use crate::permissions::{administrator, may};
use crate::wire::{self, Fault, Reply, ok};
use crate::world::{Project, Right, World};

/// A project as other answers embed it.
pub(crate) fn show(app: &App, project: &Project) -> Value {
    let avatar = |size: u32| format!("{}/secure/projectavatar?size={size}&avatarId=10324", app.base);
    json!({
        "self": app.link(&format!("project/{}", project.id)),
        "id": project.id.to_string(),
        "key": project.key,
        "name": project.name,
        "projectTypeKey": project.kind,
        "archived": false,
        "avatarUrls": { "48x48": avatar(48), "24x24": avatar(24), "16x16": avatar(16), "32x32": avatar(32) },
    })
}

/// A project the caller may see.
pub(crate) fn visible<'a>(call: &Call, world: &'a World, name: &str) -> Result<&'a Project, Fault> {
    let project = world.project(name).filter(|project| may(world, &call.who, project, Right::Browse));
    project.ok_or_else(|| Fault::core(404, format!("No project could be found with key '{name}'.")))
}

pub(crate) async fn all(call: Call) -> Reply {
    let world = call.app.world();
    let seen = world.projects.values().filter(|project| may(&world, &call.who, project, Right::Browse));
    ok(seen.map(|project| show(&call.app, project)).collect())
}

pub(crate) async fn one(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let project = visible(&call, &world, &name)?;
    let mut value = show(&call.app, project);
    let roles: Map<String, Value> = role_links(&call.app, project);
    if let Some(members) = value.as_object_mut() {
        let lead = crate::users::show_name(&call.app, &world, Some(&project.lead));
        members.insert("lead".to_owned(), lead);
        members.insert("description".to_owned(), json!(""));
        members.insert("issueTypes".to_owned(), fields::types(&call.app));
        members.insert("components".to_owned(), json!([]));
        members.insert("versions".to_owned(), json!([]));
        members.insert("assigneeType".to_owned(), json!("UNASSIGNED"));
        members.insert("roles".to_owned(), Value::Object(roles));
    }
    ok(value)
}

pub(crate) async fn statuses(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    visible(&call, &world, &name)?;
    let statuses = fields::status_values(&call.app);
    let Value::Array(kinds) = fields::types(&call.app) else { return ok(json!([])) };
    let kinds = kinds.into_iter().map(|mut kind| {
        if let Some(members) = kind.as_object_mut() {
            members.insert("statuses".to_owned(), statuses.clone());
        }
        kind
    });
    ok(kinds.collect())
}

fn role_links(app: &App, project: &Project) -> Map<String, Value> {
    let link = |id: u64| app.link(&format!("project/{}/role/{id}", project.id));
    project.roles.iter().map(|(name, role)| ((*name).to_owned(), Value::from(link(role.id)))).collect()
}

pub(crate) async fn roles(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let project = visible(&call, &world, &name)?;
    ok(Value::Object(role_links(&call.app, project)))
}

fn show_role(app: &App, project: &Project, name: &str) -> Value {
    let Some(role) = project.roles.get(name) else { return Value::Null };
    let users = role.users.iter().map(|user| json!({ "type": "atlassian-user-role-actor", "name": user }));
    let groups =
        role.groups.iter().map(|group| json!({ "type": "atlassian-group-role-actor", "name": group }));
    json!({
        "self": app.link(&format!("project/{}/role/{}", project.id, role.id)),
        "name": name, "id": role.id, "actors": users.chain(groups).collect::<Vec<_>>(),
    })
}

fn role_name(project: &Project, id: &str) -> Result<&'static str, Fault> {
    let found = project.roles.iter().find(|(_, role)| role.id.to_string() == id).map(|(name, _)| *name);
    found.ok_or_else(|| Fault::core(404, format!("No project role with id {id}.")))
}

pub(crate) async fn role(call: Call, Path((name, id)): Path<(String, String)>) -> Reply {
    let world = call.app.world();
    call.who.required()?;
    let project = visible(&call, &world, &name)?;
    ok(show_role(&call.app, project, role_name(project, &id)?))
}

pub(crate) async fn add_actor(call: Call, Path((name, id)): Path<(String, String)>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    administrator(&world, &call.who)?;
    let key = visible(&call, &world, &name)?.key.clone();
    let names = |kind: &str| -> Vec<String> {
        let list = body.get(kind).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let users: Vec<String> =
        names("user").into_iter().filter(|user| world.users.contains_key(user)).collect();
    let groups: Vec<String> =
        names("group").into_iter().filter(|group| world.groups.contains_key(group)).collect();
    if users.is_empty() && groups.is_empty() {
        return Err(Fault::core(410, "None of the actors named exists."));
    }
    let Some(project) = world.projects.get_mut(&key) else { return Err(Fault::no_issue()) };
    let role = role_name(project, &id)?;
    if let Some(members) = project.roles.get_mut(role) {
        members.users.extend(users);
        members.groups.extend(groups);
    }
    ok(show_role(&call.app, project, role))
}

pub(crate) async fn remove_actor(call: Call, Path((name, id)): Path<(String, String)>) -> Reply {
    let mut world = call.app.world();
    administrator(&world, &call.who)?;
    let key = visible(&call, &world, &name)?.key.clone();
    let Some(project) = world.projects.get_mut(&key) else { return Err(Fault::no_issue()) };
    let role = role_name(project, &id)?;
    let members = project.roles.get_mut(role);
    let removed = members.is_some_and(|members| {
        call.query(&["user"]).is_some_and(|user| members.users.remove(user))
            || call.query(&["group"]).is_some_and(|group| members.groups.remove(group))
    });
    if removed { wire::nothing() } else { Err(Fault::core(404, "No such actor in this role.")) }
}

/// `mypermissions`, for an issue, a project, or any project.
pub(crate) async fn my_permissions(call: Call) -> Reply {
    let world = call.app.world();
    let project = match (call.query(&["issueKey", "issueId"]), call.query(&["projectKey", "projectId"])) {
        (Some(issue), _) => {
            let key = crate::permissions::issue(&call.app, &world, &call.who, issue)?.project.clone();
            world.projects.get(&key)
        }
        (None, Some(project)) => Some(visible(&call, &world, project)?),
        (None, None) => None,
    };
    let has = |right: Right| match project {
        Some(project) => may(&world, &call.who, project, right),
        None => world.projects.values().any(|project| may(&world, &call.who, project, right)),
    };
    let mut permissions = Map::new();
    for (key, right) in [
        ("BROWSE_PROJECTS", Right::Browse),
        ("CREATE_ISSUES", Right::Create),
        ("EDIT_ISSUES", Right::Edit),
        ("ASSIGN_ISSUES", Right::Assign),
        ("TRANSITION_ISSUES", Right::Transition),
        ("ADD_COMMENTS", Right::Comment),
        ("CREATE_ATTACHMENTS", Right::Attach),
        ("WORK_ON_ISSUES", Right::Work),
        ("MANAGE_WATCHERS", Right::ManageWatchers),
        ("DELETE_ISSUES", Right::Delete),
        ("ADMINISTER_PROJECTS", Right::Administer),
    ] {
        let value = json!({ "key": key, "type": "PROJECT", "havePermission": has(right) });
        permissions.insert(key.to_owned(), value);
    }
    let admin = world.in_group(call.who.name(), "jira-administrators");
    permissions.insert(
        "ADMINISTER".to_owned(),
        json!({ "key": "ADMINISTER", "type": "GLOBAL", "havePermission": admin }),
    );
    ok(json!({ "permissions": permissions }))
}
