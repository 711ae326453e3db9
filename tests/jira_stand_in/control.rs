//! The test's own interface: `/_control/…` on a listener of its own. What is about users stands in `control_users.rs`,
//! what is about OAuth in `oauth/mod.rs`.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::app::{App, Call};
use crate::options;
use crate::rate::{Buckets, Limits};
use crate::read_only::ReadOnly;
use crate::troubles::Trouble;
use crate::wire::{Reply, nothing, ok, status};
use crate::{comments, control_users, index, issues, oauth, users, worklogs};

/// All of it.
pub(crate) fn router(app: Arc<App>) -> Router {
    let inside = Router::new()
        .route("/state", get(state))
        .route("/counters", get(counters))
        .route("/requests", get(requests).delete(forget_requests))
        .route("/trouble", post(trouble).delete(no_trouble))
        .route("/switch/{name}/{value}", post(switch))
        .route("/hang-up", post(hang_up))
        .route("/status/{state}", post(set_state))
        .route("/node/{node}/status/{state}", post(set_node_state))
        .route("/rate-limit", post(limit).delete(no_limit))
        .route("/read-only", post(read_only).delete(no_read_only))
        .route("/index-lag/{milliseconds}", post(index_lag))
        .route("/index/catch-up", post(catch_up))
        .route("/clock/{seconds}", post(advance))
        .nest("/oauth", oauth::control_router())
        .merge(control_users::router());
    Router::new().nest("/_control", inside).with_state(app)
}

/// Hands a request to the control router.
pub(crate) async fn answer(
    mut router: Router,
    request: Request<hyper::body::Incoming>,
) -> io::Result<Response> {
    let answer: Result<Response, Infallible> = router.call(request.map(Body::new)).await;
    match answer {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

/// Everything, as the one who may see all.
async fn state(call: Call) -> Reply {
    let app = &call.app;
    let world = app.world();
    let issues: serde_json::Map<String, Value> = world
        .issues
        .values()
        .map(|issue| {
            let attachments: Vec<Value> = issue
                .attachments
                .iter()
                .filter_map(|id| world.attachments.get(id))
                .map(|file| {
                    json!({ "id": file.id.to_string(), "filename": file.name, "size": file.size,
                            "sha256": file.sha256, "author": file.author })
                })
                .collect();
            let all: Vec<Value> =
                issue.comments.iter().map(|one| comments::show(app, &world, issue, one)).collect();
            let work: Vec<Value> =
                issue.worklogs.iter().map(|one| worklogs::show(app, &world, issue, one)).collect();
            let value = json!({
                "id": issue.id.to_string(), "summary": issue.summary, "description": issue.description,
                "status": issues::status_name(issue.status), "assignee": issue.assignee,
                "reporter": issue.reporter, "labels": issue.labels, "watchers": issue.watchers,
                "comments": all, "worklogs": work, "attachments": attachments, "fields": issue.extra,
                "properties": issue.properties, "remaining_seconds": issue.remaining_seconds,
            });
            (issue.key.clone(), value)
        })
        .collect();
    let people: Vec<Value> = world.users.values().map(|user| users::show(app, user)).collect();
    let tokens: Vec<Value> = world
        .tokens
        .values()
        .map(|token| json!({ "id": token.id, "user": token.user, "name": token.name, "last_used": token.last_used }))
        .collect();
    let nodes: serde_json::Map<String, Value> = app
        .nodes
        .iter()
        .map(|node| {
            let calls = node.calls.load(Ordering::Relaxed);
            (node.id.clone(), json!({ "state": node.state(), "calls": calls }))
        })
        .collect();
    let (clients, grants) = oauth::state(&world);
    ok(json!({ "issues": issues, "users": people, "groups": world.groups, "tokens": tokens,
               "clients": clients, "grants": grants, "nodes": nodes, "switches": app.switches() }))
}

async fn counters(State(app): State<Arc<App>>) -> Reply {
    let counters = &app.counters;
    let mut counted = json!({
        "connections": counters.connections.load(Ordering::Relaxed),
        "open_connections": counters.open_connections.load(Ordering::Relaxed),
        "requests": counters.requests.load(Ordering::Relaxed),
        "broken_uploads": counters.broken_uploads.load(Ordering::Relaxed),
        "broken_answers": counters.broken_answers.load(Ordering::Relaxed),
    });
    if let Some(members) = counted.as_object_mut() {
        members.extend(oauth::counters(&app.world()));
    }
    ok(counted)
}

async fn requests(State(app): State<Arc<App>>) -> Json<Vec<Value>> {
    Json(app.log(false))
}

async fn forget_requests(State(app): State<Arc<App>>) -> Json<Vec<Value>> {
    Json(app.log(true))
}

async fn trouble(State(app): State<Arc<App>>, body: Bytes) -> Reply {
    match serde_json::from_slice::<Trouble>(&body) {
        Ok(trouble) => {
            app.troubles().push(trouble);
            nothing()
        }
        Err(fault) => status(400, json!({ "fault": fault.to_string() })),
    }
}

async fn no_trouble(State(app): State<Arc<App>>) -> Reply {
    app.troubles().clear();
    nothing()
}

async fn switch(State(app): State<Arc<App>>, Path((name, value)): Path<(String, String)>) -> Reply {
    match options::switch(&name, &value) {
        Ok((name, value)) => {
            app.set(name, value);
            nothing()
        }
        Err(fault) => status(400, json!({ "fault": fault })),
    }
}

/// Closes every open connection at once, as a container does with idle ones.
async fn hang_up(State(app): State<Arc<App>>) -> Reply {
    app.hang_up.send_modify(|number| *number += 1);
    nothing()
}

async fn set_state(State(app): State<Arc<App>>, Path(state): Path<String>) -> Reply {
    app.nodes.iter().for_each(|node| node.set_state(&state));
    nothing()
}

async fn set_node_state(State(app): State<Arc<App>>, Path((node, state)): Path<(String, String)>) -> Reply {
    match app.node(&node) {
        Some(node) => node.set_state(&state),
        None => return status(404, json!({ "fault": format!("there is no {node}") })),
    }
    nothing()
}

async fn limit(State(app): State<Arc<App>>, body: Bytes) -> Reply {
    match serde_json::from_slice::<Limits>(&body) {
        Ok(limits) => {
            app.nodes.iter().for_each(|node| *node.buckets() = Buckets::default());
            *app.limits() = Some(limits);
            nothing()
        }
        Err(fault) => status(400, json!({ "fault": fault.to_string() })),
    }
}

async fn no_limit(State(app): State<Arc<App>>) -> Reply {
    *app.limits() = None;
    nothing()
}

async fn read_only(State(app): State<Arc<App>>, body: Bytes) -> Reply {
    match serde_json::from_slice::<ReadOnly>(&body) {
        Ok(mode) => {
            *app.read_only() = Some(mode);
            nothing()
        }
        Err(fault) => status(400, json!({ "fault": fault.to_string() })),
    }
}

async fn no_read_only(State(app): State<Arc<App>>) -> Reply {
    *app.read_only() = None;
    nothing()
}

async fn index_lag(State(app): State<Arc<App>>, Path(milliseconds): Path<u64>) -> Reply {
    index::set_lag(&app, Duration::from_millis(milliseconds));
    nothing()
}

async fn catch_up(State(app): State<Arc<App>>) -> Reply {
    app.nodes.iter().for_each(|node| node.index().catch_up());
    nothing()
}

/// Moves the time, if it is ours to move.
async fn advance(State(app): State<Arc<App>>, Path(seconds): Path<u64>) -> Reply {
    if !app.options.manual_clock {
        return status(409, json!({ "fault": "start with --manual-clock for that" }));
    }
    app.clock.advance(Duration::from_secs(seconds));
    nothing()
}
