//! A small upstream that answers with what it was asked, and remembers it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http_body_util::BodyExt;
use outhaul::common::tasks::Tasks;
use serde_json::{Value, json};

/// It answers `/status` as Jira does, `?sleep=MS` late, `?code=N` with that status, and all else with an echo.
/// `X-AUSERNAME` is the user whose bearer token is `pat-{user}`, else `anonymous`.
pub(crate) struct Upstream {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Value>>>,
    tasks: Tasks,
}

impl Upstream {
    /// Starts one on loopback.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let router = Router::new().fallback(answer).with_state(seen.clone());
        let tasks = Tasks::new();
        tasks.spawn("upstream", async move { axum::serve(listener, router).await });
        Self { address, seen, tasks }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All calls so far but `/status`.
    pub(crate) fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

async fn answer(State(seen): State<Arc<Mutex<Vec<Value>>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if head.uri.path().ends_with("/status") {
        return axum::Json(json!({"state": "RUNNING"})).into_response();
    }
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let headers: serde_json::Map<String, Value> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let user = headers
        .get("authorization")
        .and_then(Value::as_str)
        .and_then(|value| value.strip_prefix("Bearer pat-"))
        .unwrap_or("anonymous")
        .to_owned();
    let echo = json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "headers": headers,
        "body": String::from_utf8_lossy(&body[..body.len().min(4096)]),
        "length": body.len(),
    });
    seen.lock().unwrap().push(echo.clone());
    let mut status = StatusCode::OK;
    for (name, value) in head.uri.query().unwrap_or("").split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "sleep" => tokio::time::sleep(Duration::from_millis(value.parse().unwrap())).await,
            "code" => status = StatusCode::from_u16(value.parse().unwrap()).unwrap(),
            _ => {}
        }
    }
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-ausername", user)
        .body(Body::from(echo.to_string()))
        .unwrap()
}
