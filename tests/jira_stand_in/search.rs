//! `search` and the issue picker: only what the caller may see is found.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::Call;
use crate::index;
use crate::issues;
use crate::jql;
use crate::permissions::may_on;
use crate::wire::{self, Fault, Reply, ok};
use crate::world::{Issue, Right};

/// What one page may hold at most, whatever is asked.
const PAGE_CAP: usize = 1000;

fn answer(call: &Call, jql: &str, start: usize, max: usize, fields: Option<&str>) -> Reply {
    let query = jql::parse(jql).map_err(|fault| Fault::core(400, fault))?;
    let world = call.app.world();
    let lagging = index::lagging(&call.app, &call.node, &world);
    let searchable: Vec<&Issue> = match &lagging {
        Some(issues) => issues.iter().map(AsRef::as_ref).collect(),
        None => world.issues.values().collect(),
    };
    let mut found: Vec<&Issue> = searchable
        .into_iter()
        .filter(|issue| {
            may_on(&world, &call.who, issue, Right::Browse) && query.fits(&world, &call.who, issue)
        })
        .collect();
    query.sort(&mut found);
    let (total, max) = (found.len(), max.min(PAGE_CAP));
    let shown: Vec<Value> = found
        .into_iter()
        .skip(start)
        .take(max)
        .map(|issue| {
            let stored = world.issues.get(&issue.id).filter(|_| call.app.is("search-values", "database"));
            stored.unwrap_or(issue)
        })
        .map(|issue| issues::show(&call.app, &world, &call.who, issue, fields))
        .collect();
    ok(
        json!({ "expand": "schema,names", "startAt": start, "maxResults": max, "total": total, "issues": shown }),
    )
}

pub(crate) async fn get(call: Call) -> Reply {
    let jql = call.query(&["jql"]).unwrap_or_default();
    answer(&call, jql, call.number("startAt", 0), call.number("maxResults", 50), call.query(&["fields"]))
}

pub(crate) async fn post(call: Call, body: Bytes) -> Reply {
    let body = wire::parse(&body)?;
    let number = |name: &str, default| {
        body.get(name)
            .and_then(Value::as_u64)
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(default)
    };
    let fields = body.get("fields").and_then(Value::as_array).map(|list| {
        let names: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
        names.join(",")
    });
    let jql = body.get("jql").and_then(Value::as_str).unwrap_or_default();
    answer(&call, jql, number("startAt", 0), number("maxResults", 50), fields.as_deref())
}

pub(crate) async fn picker(call: Call) -> Reply {
    let text = call.query(&["query"]).unwrap_or_default().to_lowercase();
    let world = call.app.world();
    let fits = |issue: &&Issue| {
        may_on(&world, &call.who, issue, Right::Browse)
            && (issue.key.to_lowercase().contains(&text) || issue.summary.to_lowercase().contains(&text))
    };
    let list: Vec<Value> = world
        .issues
        .values()
        .filter(fits)
        .take(20)
        .map(|issue| {
            json!({ "key": issue.key, "keyHtml": issue.key, "img": "/images/icons/issuetypes/task.svg",
                    "summary": issue.summary, "summaryText": issue.summary })
        })
        .collect();
    ok(
        json!({ "sections": [{ "id": "cs", "label": "Current Search", "sub": format!("Showing {} issues", list.len()),
                              "issues": list }] }),
    )
}
