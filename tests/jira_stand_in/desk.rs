//! Jira Service Management: the one desk, its request types and queues, and who is what there.

use axum::extract::Path;
use serde_json::{Value, json};

use crate::app::Call;
use crate::desk_wire::{date, link, page};
use crate::identity::Who;
use crate::permissions::may;
use crate::wire::{Fault, Reply, ok};
use crate::world::{Issue, Right, World};

/// The desk's project.
pub(crate) const PROJECT: &str = "HELP";
/// Id, name, and whether somebody must approve.
pub(crate) const TYPES: &[(&str, &str, bool)] =
    &[("1", "Get help", false), ("2", "Order something", true), ("3", "Ask for access", true)];

/// Agents see every request; they are who may browse the project.
pub(crate) fn is_agent(world: &World, who: &Who) -> bool {
    world.project(PROJECT).is_some_and(|project| may(world, who, project, Right::Browse))
}

/// Customers may raise requests; they need no right in the project.
pub(crate) fn is_customer(world: &World, who: &Who) -> bool {
    is_agent(world, who) || world.in_group(who.name(), "jira-software-users")
}

/// An agent, the reporter, a participant, an approver.
pub(crate) fn sees(world: &World, who: &Who, issue: &Issue) -> bool {
    let (Some(request), Some(name)) = (&issue.request, who.name()) else { return false };
    is_agent(world, who)
        || issue.reporter.as_deref() == Some(name)
        || request.participants.contains(name)
        || request.approvals.iter().any(|approval| approval.approvers.contains_key(name))
}

/// A request that the caller may see.
pub(crate) fn request<'a>(call: &Call, world: &'a World, name: &str) -> Result<&'a Issue, Fault> {
    call.who.required()?;
    let issue = world.issue(name).filter(|issue| issue.request.is_some());
    match issue {
        Some(issue) if sees(world, &call.who, issue) => Ok(issue),
        Some(_) if call.app.is("desk-hidden", "403") => {
            Err(Fault::desk(403, "You do not have permission to view this request."))
        }
        _ => Err(Fault::desk(404, "The request does not exist, or you may not see it.")),
    }
}

/// There is one desk, and it is for customers.
pub(crate) fn known(call: &Call, desk: &str) -> Result<(), Fault> {
    call.who.required()?;
    if desk == "1" && is_customer(&call.app.world(), &call.who) {
        return Ok(());
    }
    Err(Fault::desk(404, format!("There is no service desk {desk}, or you are no customer of it.")))
}

pub(crate) async fn info(call: Call) -> Reply {
    call.who.required()?;
    ok(json!({
        "version": "10.3.24", "platformVersion": call.app.profile().version().0,
        "buildDate": date(&call.app.now()), "buildChangeSet": "stand-in", "isLicensedForUse": true,
        "_links": { "self": link(&call.app, "info") },
    }))
}

pub(crate) async fn organizations(call: Call) -> Reply {
    call.who.required()?;
    page(&call, "organization", Vec::new())
}

fn show(call: &Call, world: &World) -> Value {
    let project = world.project(PROJECT);
    json!({
        "id": "1", "projectId": project.map(|one| one.id.to_string()), "projectName": project.map(|one| &one.name),
        "projectKey": PROJECT, "_links": { "self": link(&call.app, "servicedesk/1") },
    })
}

pub(crate) async fn all(call: Call) -> Reply {
    call.who.required()?;
    let desks = {
        let world = call.app.world();
        is_customer(&world, &call.who).then(|| show(&call, &world))
    };
    page(&call, "servicedesk", desks.into_iter().collect())
}

pub(crate) async fn one(call: Call, Path(desk): Path<String>) -> Reply {
    known(&call, &desk)?;
    ok(show(&call, &call.app.world()))
}

fn show_type(call: &Call, (id, name, _): &(&str, &str, bool)) -> Value {
    json!({
        "id": id, "name": name, "description": "", "helpText": "", "serviceDeskId": "1", "groupIds": ["1"],
        "icon": { "id": "10500", "_links": { "iconUrls": {} } },
        "_links": { "self": link(&call.app, &format!("servicedesk/1/requesttype/{id}")) },
    })
}

pub(crate) async fn types(call: Call, Path(desk): Path<String>) -> Reply {
    known(&call, &desk)?;
    let values = TYPES.iter().map(|kind| show_type(&call, kind)).collect();
    page(&call, "servicedesk/1/requesttype", values)
}

/// A request type by its id.
pub(crate) fn kind(id: &str) -> Result<&'static (&'static str, &'static str, bool), Fault> {
    let found = TYPES.iter().find(|(one, ..)| *one == id);
    found.ok_or_else(|| Fault::desk(404, format!("There is no request type {id}.")))
}

pub(crate) async fn one_type(call: Call, Path((desk, id)): Path<(String, String)>) -> Reply {
    known(&call, &desk)?;
    ok(show_type(&call, kind(&id)?))
}

pub(crate) async fn type_fields(call: Call, Path((desk, id)): Path<(String, String)>) -> Reply {
    known(&call, &desk)?;
    kind(&id)?;
    let field = |id: &str, name: &str, required: bool| {
        json!({ "fieldId": id, "name": name, "description": "", "required": required, "validValues": [],
                "jiraSchema": { "type": "string", "system": id } })
    };
    let agent = is_agent(&call.app.world(), &call.who);
    ok(json!({
        "requestTypeFields": [field("summary", "Summary", true), field("description", "Description", false)],
        "canRaiseOnBehalfOf": agent, "canAddRequestParticipants": true,
    }))
}

fn agents_only(call: &Call, desk: &str) -> Result<(), Fault> {
    known(call, desk)?;
    if is_agent(&call.app.world(), &call.who) {
        return Ok(());
    }
    Err(Fault::desk(403, "Only agents of the service desk see its queues."))
}

pub(crate) async fn queues(call: Call, Path(desk): Path<String>) -> Reply {
    agents_only(&call, &desk)?;
    let queue = json!({ "id": "1", "name": "All open", "jql": "project = HELP", "fields": ["issuekey", "summary"],
                        "_links": { "self": link(&call.app, "servicedesk/1/queue/1") } });
    page(&call, "servicedesk/1/queue", vec![queue])
}

pub(crate) async fn queue_issues(call: Call, Path((desk, queue)): Path<(String, String)>) -> Reply {
    agents_only(&call, &desk)?;
    if queue != "1" {
        return Err(Fault::desk(404, "There is no such queue."));
    }
    let issues = {
        let world = call.app.world();
        let open = world.issues.values().filter(|issue| issue.request.is_some());
        open.map(|issue| {
            json!({ "id": issue.id.to_string(), "key": issue.key, "fields": { "summary": issue.summary },
                    "self": call.app.link(&format!("issue/{}", issue.id)) })
        })
        .collect()
    };
    page(&call, "servicedesk/1/queue/1/issue", issues)
}
