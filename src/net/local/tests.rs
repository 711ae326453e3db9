use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http::StatusCode;
use serde_json::{Value, json};

use super::{BindFault, Client, MayChange, Refused, Right, Server};
use crate::common::report::Exit;
use crate::common::tasks::Tasks;

fn routes() -> Router {
    Router::new()
        .route(
            "/right",
            get(|Extension(right): Extension<Right>| async move { Json(json!(right == Right::Change)) }),
        )
        .route("/echo", post(|_: MayChange, Json(body): Json<Value>| async move { Json(body) }))
        .route("/empty", post(async |_: MayChange| StatusCode::NO_CONTENT))
        .route(
            "/taken",
            post(async || {
                Refused::new(StatusCode::CONFLICT, "the name is taken").with_remedy("Take another.")
            }),
        )
}

fn start(server: Server) -> Tasks {
    let tasks = Tasks::new();
    let group = tasks.clone();
    tasks.spawn("admin", async move { server.serve(routes(), &group).await });
    tasks
}

#[tokio::test]
async fn owner_reads_and_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/admin.sock");
    let tasks = start(Server::bind(&path).unwrap());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(path.parent().unwrap()) & 0o027, 0, "the folder is closed to others");
    let client = Client::new(&path, "outhaul-agent");
    assert_eq!(client.get("/right").await.unwrap(), json!(true));
    assert_eq!(client.post("/echo", &json!({"a": 1})).await.unwrap(), json!({"a": 1}));
    assert_eq!(client.post("/empty", &Value::Null).await.unwrap(), Value::Null);
    tasks.cancel();
    assert!(tasks.drain(Duration::from_secs(5)).await);
    assert!(!path.exists(), "the file goes with the daemon");
}

#[tokio::test]
async fn refusals_become_reports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let _tasks = start(Server::bind(&path).unwrap());
    let client = Client::new(&path, "outhaul-agent");
    let taken = client.post("/taken", &Value::Null).await.unwrap_err();
    assert_eq!(taken.exit(), Exit::CannotCreate);
    assert_eq!(taken.to_string(), "the name is taken\n  Take another.");
    assert_eq!(client.get("/nowhere").await.unwrap_err().exit(), Exit::Protocol);
    let large = Value::String("x".repeat(300 * 1024));
    assert_eq!(client.post("/echo", &large).await.unwrap_err().exit(), Exit::Data);
}

#[tokio::test]
async fn one_who_may_only_read_changes_nothing() {
    let router = routes().layer(Extension(Right::Read));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let server = Server::bind(&path).unwrap();
    let tasks = Tasks::new();
    let group = tasks.clone();
    tasks.spawn("admin", async move { server.serve(router, &group).await });
    let client = Client::new(&path, "outhaul-agent");
    assert_eq!(client.get("/right").await.unwrap(), json!(false));
    let report = client.post("/echo", &json!(1)).await.unwrap_err();
    assert_eq!(report.exit(), Exit::Permission);
    assert!(report.to_string().contains("sudo"), "{report}");
}

#[tokio::test]
async fn nobody_there_is_said_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let client = Client::new(&path, "outhaul-agent");
    let report = client.get("/right").await.unwrap_err();
    assert_eq!(report.exit(), Exit::Unavailable);
    assert!(report.to_string().contains("systemctl start outhaul-agent"), "{report}");
    // The file of a daemon that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert_eq!(client.get("/right").await.unwrap_err().exit(), Exit::Unavailable);
    let _tasks = start(Server::bind(&path).unwrap());
    assert_eq!(client.get("/right").await.unwrap(), json!(true));
}

#[tokio::test]
async fn a_live_daemon_and_a_foreign_file_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let first = Server::bind(&path).unwrap();
    assert!(matches!(Server::bind(&path), Err(BindFault::Running(_))));
    drop(first);
    drop(Server::bind(&path).unwrap());
    std::fs::write(&path, "mine").unwrap();
    assert!(matches!(Server::bind(&path), Err(BindFault::NotASocket(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[tokio::test]
async fn a_crowd_of_silent_clients_is_bounded_and_rubbish_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let tasks = start(Server::bind(&path).unwrap());
    let silent: Vec<_> =
        (0..40).filter_map(|_| std::os::unix::net::UnixStream::connect(&path).ok()).collect();
    assert!(silent.len() >= 32);
    drop(silent);
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.write_all(b"\x16\x03\x01 rubbish\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(answer.await.unwrap().starts_with("HTTP/1.1 400"));
    tasks.cancel();
    assert!(tasks.drain(Duration::from_secs(5)).await);
}
