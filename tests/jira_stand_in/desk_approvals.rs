//! Who takes part in a request, and who approves it.

use std::collections::BTreeMap;

use axum::extract::Path;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::app::{App, Call};
use crate::desk;
use crate::desk_wire::{date, link, page, person};
use crate::wire::{self, Fault, Reply, ok};
use crate::world::{Approval, Decision, Issue, World};

/// Whoever is asked to approve what needs it; the service account is among them, so that it may answer.
const APPROVERS: &[&str] = &["alice", "svc-outhaul"];

impl Decision {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Declined => "declined",
        }
    }
}

/// A fresh question.
pub(crate) fn asked(app: &App, world: &mut World) -> Approval {
    let approvers: BTreeMap<_, _> =
        APPROVERS.iter().map(|name| ((*name).to_owned(), Decision::Pending)).collect();
    let (id, created) = (world.fresh_id(), app.now());
    Approval { id, approvers, decision: Decision::Pending, created, completed: None }
}

/// Some resources are experimental: Jira then wants to hear that the caller knows.
fn opted_in(call: &Call, headers: &HeaderMap) -> Result<(), Fault> {
    let given = headers.get("x-experimentalapi").map(|value| value.as_bytes().to_ascii_lowercase());
    let good = match &given {
        _ if call.app.is("experimental-api", "ignored") => true,
        Some(value) => call.app.is("experimental-api", "any") || value == b"opt-in",
        None => false,
    };
    if good { Ok(()) } else { Err(Fault::desk(412, "This is an experimental API: set X-ExperimentalApi.")) }
}

fn show(call: &Call, world: &World, issue: &Issue, approval: &Approval) -> Value {
    let mine = call.who.name().and_then(|name| approval.approvers.get(name));
    let approvers: Vec<Value> = approval
        .approvers
        .iter()
        .map(|(name, decision)| {
            json!({ "approver": person(&call.app, world, Some(name)), "approverDecision": decision.as_str() })
        })
        .collect();
    let mut shown = json!({
        "id": approval.id.to_string(), "name": "Waiting for approval", "finalDecision": approval.decision.as_str(),
        "canAnswerApproval": approval.decision == Decision::Pending && mine == Some(&Decision::Pending),
        "approvers": approvers, "createdDate": date(&approval.created),
        "_links": { "self": link(&call.app, &format!("request/{}/approval/{}", issue.id, approval.id)) },
    });
    if let (Some(members), Some(completed)) = (shown.as_object_mut(), &approval.completed) {
        members.insert("completedDate".to_owned(), date(completed));
    }
    shown
}

fn approvals(issue: &Issue) -> impl Iterator<Item = &Approval> {
    issue.request.iter().flat_map(|request| &request.approvals)
}

fn find(issue: &Issue, id: u64) -> Result<&Approval, Fault> {
    let found = approvals(issue).find(|one| one.id == id);
    found.ok_or_else(|| Fault::desk(404, format!("There is no approval {id} on this request.")))
}

pub(crate) async fn all(call: Call, headers: HeaderMap, Path(name): Path<String>) -> Reply {
    opted_in(&call, &headers)?;
    let values = {
        let world = call.app.world();
        let issue = desk::request(&call, &world, &name)?;
        approvals(issue).map(|one| show(&call, &world, issue, one)).collect()
    };
    page(&call, &format!("request/{name}/approval"), values)
}

pub(crate) async fn one(call: Call, headers: HeaderMap, Path((name, id)): Path<(String, u64)>) -> Reply {
    opted_in(&call, &headers)?;
    let world = call.app.world();
    let issue = desk::request(&call, &world, &name)?;
    ok(show(&call, &world, issue, find(issue, id)?))
}

/// One answer decides; who is no approver, or comes late, is refused.
pub(crate) async fn answer(
    call: Call,
    headers: HeaderMap,
    Path((name, id)): Path<(String, u64)>,
    body: Bytes,
) -> Reply {
    opted_in(&call, &headers)?;
    let body = wire::parse(&body)?;
    let decision = match body.get("decision").and_then(Value::as_str) {
        Some("approve") => Decision::Approved,
        Some("decline") => Decision::Declined,
        _ => return Err(Fault::desk(400, "The decision is `approve` or `decline`.")),
    };
    let me = call.who.required()?.to_owned();
    let mut world = call.app.world();
    let issue = desk::request(&call, &world, &name)?;
    let approval = find(issue, id)?;
    if !approval.approvers.contains_key(&me) {
        return Err(Fault::desk(403, "You are no approver of this request."));
    }
    if approval.decision != Decision::Pending {
        return Err(Fault::desk(409, "This approval has been decided already."));
    }
    let (issue, now) = (issue.id, call.app.now());
    if let Some(issue) = world.issues.get_mut(&issue) {
        issue.status = if decision == Decision::Approved { "3" } else { "10001" };
        issue.updated.clone_from(&now);
        let approvals = issue.request.iter_mut().flat_map(|request| &mut request.approvals);
        for approval in approvals.filter(|one| one.id == id) {
            approval.approvers.insert(me.clone(), decision);
            approval.decision = decision;
            approval.completed = Some(now.clone());
        }
    }
    let issue = desk::request(&call, &world, &name)?;
    ok(show(&call, &world, issue, find(issue, id)?))
}

fn show_participants(call: &Call, name: &str) -> Reply {
    let people = {
        let world = call.app.world();
        let issue = desk::request(call, &world, name)?;
        let all = issue.request.iter().flat_map(|request| &request.participants);
        all.map(|one| person(&call.app, &world, Some(one))).collect()
    };
    page(call, &format!("request/{name}/participant"), people)
}

pub(crate) async fn participants(call: Call, headers: HeaderMap, Path(name): Path<String>) -> Reply {
    opted_in(&call, &headers)?;
    show_participants(&call, &name)
}

fn change(call: &Call, name: &str, body: &[u8], add: bool) -> Result<(), Fault> {
    let body = wire::parse(body)?;
    let mut world = call.app.world();
    let id = desk::request(call, &world, name)?.id;
    let names = body.get("usernames").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<String> = names.filter_map(Value::as_str).map(str::to_owned).collect();
    if let Some(missing) = names.iter().find(|name| world.user(name).is_none()) {
        return Err(Fault::desk(400, format!("There is no user {missing}.")));
    }
    if let Some(request) = world.issues.get_mut(&id).and_then(|issue| issue.request.as_mut()) {
        for name in names {
            if add {
                request.participants.insert(name);
            } else {
                request.participants.remove(&name);
            }
        }
    }
    Ok(())
}

pub(crate) async fn add_participants(
    call: Call,
    headers: HeaderMap,
    Path(name): Path<String>,
    body: Bytes,
) -> Reply {
    opted_in(&call, &headers)?;
    change(&call, &name, &body, true)?;
    show_participants(&call, &name)
}

/// The names come in the body of a DELETE.
pub(crate) async fn remove_participants(
    call: Call,
    headers: HeaderMap,
    Path(name): Path<String>,
    body: Bytes,
) -> Reply {
    opted_in(&call, &headers)?;
    change(&call, &name, &body, false)?;
    show_participants(&call, &name)
}
