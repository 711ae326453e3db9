//! Time spent on issues.

use axum::extract::Path;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::{App, Call};
use crate::permissions::{self, sees};
use crate::users;
use crate::wire::{self, Fault, Reply, nothing, ok};
use crate::world::{Issue, Right, Worklog, World};

pub(crate) fn show(app: &App, world: &World, issue: &Issue, worklog: &Worklog) -> Value {
    let author = users::show_name(app, world, worklog.author.as_deref());
    let mut value = json!({
        "self": app.link(&format!("issue/{}/worklog/{}", issue.id, worklog.id)),
        "author": author,
        "updateAuthor": author,
        "comment": worklog.comment,
        "created": worklog.created,
        "updated": worklog.updated,
        "started": worklog.started,
        "timeSpent": spell(worklog.seconds),
        "timeSpentSeconds": worklog.seconds,
        "id": worklog.id.to_string(),
        "issueId": issue.id.to_string(),
    });
    permissions::show_visibility(&worklog.visibility, &mut value);
    value
}

/// A week has five days, a day eight hours.
const UNITS: &[(char, u64)] = &[('w', 144_000), ('d', 28_800), ('h', 3_600), ('m', 60)];

/// `1h 30m` in seconds.
fn seconds(text: &str) -> Option<u64> {
    let mut sum = 0;
    for word in text.split_whitespace() {
        let unit = word.chars().last()?;
        let factor = UNITS.iter().find(|(one, _)| *one == unit)?.1;
        sum += word.trim_end_matches(unit).parse::<u64>().ok()? * factor;
    }
    (sum > 0).then_some(sum)
}

fn spell(mut seconds: u64) -> String {
    let mut words = Vec::new();
    for (unit, factor) in UNITS {
        if seconds >= *factor {
            words.push(format!("{}{unit}", seconds / factor));
            seconds %= factor;
        }
    }
    words.join(" ")
}

pub(crate) async fn all(call: Call, Path(name): Path<String>) -> Reply {
    let world = call.app.world();
    let issue = permissions::issue(&call.app, &world, &call.who, &name)?;
    let seen: Vec<Value> = permissions::worklogs(&world, &call.who, issue)
        .map(|one| show(&call.app, &world, issue, one))
        .collect();
    ok(json!({ "startAt": 0, "maxResults": seen.len(), "total": seen.len(), "worklogs": seen }))
}

pub(crate) async fn add(call: Call, Path(name): Path<String>, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let mut world = call.app.world();
    let found = permissions::issue_with(&call.app, &world, &call.who, &name, Right::Work, 403)?;
    let spent = match (body.get("timeSpentSeconds").and_then(Value::as_u64), body.get("timeSpent")) {
        (Some(spent), _) => Some(spent),
        (None, Some(text)) => text.as_str().and_then(seconds),
        (None, None) => None,
    };
    let spent = spent.ok_or_else(|| Fault::field("timeLogged", "Invalid time duration entered."))?;
    let visibility = permissions::visibility(&world, &call.who, found, &body)?;
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let (issue, id, now) = (found.id, world.fresh_id(), call.app.now());
    let worklog = Worklog {
        id,
        author: call.who.name().map(str::to_owned),
        comment: text("comment").unwrap_or_default(),
        started: text("started").unwrap_or_else(|| now.clone()),
        seconds: spent,
        visibility,
        created: now.clone(),
        updated: now.clone(),
    };
    let given = |name: &str| call.query(&[name]).and_then(seconds);
    let Some(issue) = world.issues.get_mut(&issue) else { return Err(Fault::no_issue()) };
    issue.remaining_seconds = match call.query(&["adjustEstimate"]) {
        Some("new") => given("newEstimate").unwrap_or(issue.remaining_seconds),
        Some("leave") => issue.remaining_seconds,
        Some("manual") => issue.remaining_seconds.saturating_sub(given("reduceBy").unwrap_or_default()),
        _ => issue.remaining_seconds.saturating_sub(spent),
    };
    issue.worklogs.push(worklog);
    issue.updated = now;
    let (_, issue, worklog) = find(&call, &world, &name, id)?;
    wire::status(201, show(&call.app, &world, issue, worklog))
}

fn find<'a>(
    call: &Call,
    world: &'a World,
    name: &str,
    id: u64,
) -> Result<(u64, &'a Issue, &'a Worklog), Fault> {
    let issue = permissions::issue(&call.app, world, &call.who, name)?;
    let worklog = issue.worklogs.iter().find(|one| one.id == id);
    let worklog = worklog.filter(|one| sees(world, &call.who, issue, &one.visibility));
    let worklog = worklog.ok_or_else(|| Fault::core(404, format!("Cannot find worklog with id: '{id}'.")))?;
    Ok((issue.id, issue, worklog))
}

pub(crate) async fn one(call: Call, Path((name, id)): Path<(String, u64)>) -> Reply {
    let world = call.app.world();
    let (_, issue, worklog) = find(&call, &world, &name, id)?;
    ok(show(&call.app, &world, issue, worklog))
}

pub(crate) async fn remove(call: Call, Path((name, id)): Path<(String, u64)>) -> Reply {
    let mut world = call.app.world();
    let (issue, _, worklog) = find(&call, &world, &name, id)?;
    if worklog.author.as_deref() != call.who.name() {
        return Err(Fault::core(403, "You may only delete your own worklogs."));
    }
    if let Some(issue) = world.issues.get_mut(&issue) {
        issue.worklogs.retain(|one| one.id != id);
    }
    nothing()
}
