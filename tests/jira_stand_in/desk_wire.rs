//! How the service desk's interface writes things: pages, people, times, requests.

use serde_json::{Map, Value, json};

use crate::app::{App, Call};
use crate::issues::status_name;
use crate::wire::{Fault, Reply, ok};
use crate::world::{Issue, World};

/// A link into the interface.
pub(crate) fn link(app: &App, path: &str) -> String {
    format!("{}/rest/servicedeskapi/{path}", app.base)
}

/// A time out of the form that the rest of Jira uses.
pub(crate) fn date(stamp: &str) -> Value {
    let at = jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", stamp).unwrap_or_default();
    json!({ "iso8601": at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string(), "jira": stamp,
            "friendly": "Today", "epochMillis": at.as_millisecond() })
}

/// A person, or null.
pub(crate) fn person(app: &App, world: &World, name: Option<&str>) -> Value {
    name.and_then(|name| world.users.get(name)).map_or(Value::Null, |user| {
        json!({
            "name": user.name, "key": user.key, "emailAddress": user.email, "displayName": user.display,
            "active": user.active, "timeZone": "Etc/UTC",
            "_links": { "jiraRest": app.link(&format!("user?username={}", user.name)),
                        "self": app.link(&format!("user?username={}", user.name)) },
        })
    })
}

/// One page of values, as `start` and `limit` in the query ask.
pub(crate) fn page(call: &Call, path: &str, values: Vec<Value>) -> Reply {
    let (start, limit) = (call.number("start", 0), call.number("limit", 50).clamp(1, 100));
    let total = values.len();
    let values: Vec<Value> = values.into_iter().skip(start).take(limit).collect();
    let last = start + values.len() >= total;
    let mut shown =
        json!({ "size": values.len(), "start": start, "limit": limit, "isLastPage": last, "values": values });
    if let Some(members) = shown.as_object_mut().filter(|_| call.app.is("desk-page", "links")) {
        let mut links = Map::new();
        links.insert("self".to_owned(), link(&call.app, path).into());
        links.insert("base".to_owned(), link(&call.app, "").into());
        links.insert("context".to_owned(), call.app.context.clone().into());
        if !last {
            let next = format!("{}?start={}&limit={limit}", link(&call.app, path), start + limit);
            links.insert("next".to_owned(), next.into());
        }
        members.insert("_links".to_owned(), Value::Object(links));
        members.insert("_expands".to_owned(), json!([]));
    }
    ok(shown)
}

/// A request as its customer sees it.
pub(crate) fn request(app: &App, world: &World, issue: &Issue) -> Result<Value, Fault> {
    let request = issue.request.as_ref().ok_or_else(|| Fault::desk(404, "The request does not exist."))?;
    let mut values = vec![json!({ "fieldId": "summary", "label": "Summary", "value": issue.summary })];
    if let Some(text) = &issue.description {
        values.push(json!({ "fieldId": "description", "label": "Description", "value": text }));
    }
    Ok(json!({
        "_expands": ["participant", "status", "sla", "requestType", "serviceDesk"],
        "issueId": issue.id.to_string(), "issueKey": issue.key, "requestTypeId": request.kind,
        "serviceDeskId": "1", "createdDate": date(&issue.created),
        "reporter": person(app, world, issue.reporter.as_deref()), "requestFieldValues": values,
        "currentStatus": status(issue),
        "_links": { "jiraRest": app.link(&format!("issue/{}", issue.id)),
                    "web": format!("{}/servicedesk/customer/portal/1/{}", app.base, issue.key),
                    "self": link(app, &format!("request/{}", issue.id)) },
    }))
}

/// Where a request stands.
pub(crate) fn status(issue: &Issue) -> Value {
    json!({ "status": status_name(issue.status), "statusDate": date(&issue.updated) })
}
