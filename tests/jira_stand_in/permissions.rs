//! Who may do what, and how Jira says no.

use http::StatusCode;
use serde_json::{Map, Value};

use crate::app::App;
use crate::identity::{Means, Who};
use crate::oauth::Scope;
use crate::wire::Fault;
use crate::world::{Comment, Holder, Issue, Project, Right, Visibility, Worklog, World};

/// May this caller do that in the project?
pub(crate) fn may(world: &World, who: &Who, project: &Project, right: Right) -> bool {
    project.scheme.iter().any(|(one, holder)| {
        *one == right
            && match holder {
                Holder::Anyone => true,
                Holder::Role(role) => world.in_role(who.name(), project, role),
            }
    })
}

/// The same, for an issue.
pub(crate) fn may_on(world: &World, who: &Who, issue: &Issue, right: Right) -> bool {
    world.projects.get(&issue.project).is_some_and(|project| may(world, who, project, right))
}

/// An issue the caller may see. What is hidden looks as if it were not there.
pub(crate) fn issue<'a>(app: &App, world: &'a World, who: &Who, name: &str) -> Result<&'a Issue, Fault> {
    if let Some(issue) = world.issue(name).filter(|issue| may_on(world, who, issue, Right::Browse)) {
        return Ok(issue);
    }
    if *who == Who::Anonymous && world.issue(name).is_some() && app.is("hidden-issue-anonymous", "401") {
        let messages = vec![
            "You do not have the permission to see the specified issue.".to_owned(),
            "Login Required".to_owned(),
        ];
        return Err(Fault::Core(StatusCode::UNAUTHORIZED, messages, Map::new()));
    }
    Err(Fault::no_issue())
}

/// The same, and the caller may do something with it; otherwise the status given.
pub(crate) fn issue_with<'a>(
    app: &App,
    world: &'a World,
    who: &Who,
    name: &str,
    right: Right,
    refusal: u16,
) -> Result<&'a Issue, Fault> {
    let found = issue(app, world, who, name)?;
    if may_on(world, who, found, right) {
        return Ok(found);
    }
    let what = format!("You do not have permission ({right:?}) on issue {}.", found.key);
    Err(Fault::core(refusal, what))
}

/// May this caller see what carries that visibility?
pub(crate) fn sees(world: &World, who: &Who, issue: &Issue, visibility: &Visibility) -> bool {
    let project = world.projects.get(&issue.project);
    match visibility {
        Visibility::All => true,
        Visibility::Group(group) => world.in_group(who.name(), group),
        Visibility::Role(role) => project.is_some_and(|project| world.in_role(who.name(), project, role)),
    }
}

/// The comments a caller may see.
pub(crate) fn comments<'a>(
    world: &'a World,
    who: &'a Who,
    issue: &'a Issue,
) -> impl Iterator<Item = &'a Comment> {
    issue.comments.iter().filter(move |one| sees(world, who, issue, &one.visibility))
}

/// The worklogs a caller may see.
pub(crate) fn worklogs<'a>(
    world: &'a World,
    who: &'a Who,
    issue: &'a Issue,
) -> impl Iterator<Item = &'a Worklog> {
    issue.worklogs.iter().filter(move |one| sees(world, who, issue, &one.visibility))
}

/// Reads `{"type":"role"|"group","value":…}`; the caller must belong to it.
pub(crate) fn visibility(world: &World, who: &Who, issue: &Issue, body: &Value) -> Result<Visibility, Fault> {
    let Some(wanted) = body.get("visibility").filter(|wanted| !wanted.is_null()) else {
        return Ok(Visibility::All);
    };
    let text = |name: &str| wanted.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let visibility = match text("type").as_str() {
        "role" => Visibility::Role(text("value")),
        "group" => Visibility::Group(text("value")),
        other => return Err(Fault::field("commentLevel", format!("“{other}” is no kind of visibility."))),
    };
    if sees(world, who, issue, &visibility) {
        return Ok(visibility);
    }
    let message = format!("You are currently not a member of the project role or group: {}.", text("value"));
    Err(Fault::field("commentLevel", message))
}

/// Shows a visibility in an answer.
pub(crate) fn show_visibility(visibility: &Visibility, into: &mut Value) {
    let (kind, value) = match visibility {
        Visibility::All => return,
        Visibility::Role(value) => ("role", value),
        Visibility::Group(value) => ("group", value),
    };
    if let Some(members) = into.as_object_mut() {
        members.insert("visibility".to_owned(), serde_json::json!({ "type": kind, "value": value }));
    }
}

/// The caller, who must be a Jira administrator.
pub(crate) fn administrator<'a>(world: &World, who: &'a Who) -> Result<&'a str, Fault> {
    let name = who.required()?;
    let covered = match who {
        Who::User { by: Means::OAuth { scope, .. }, .. } => *scope >= Scope::Admin,
        _ => true,
    };
    if covered && world.in_group(Some(name), "jira-administrators") {
        return Ok(name);
    }
    Err(Fault::core(403, "You are not permitted: Jira administrators only."))
}
