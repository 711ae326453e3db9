//! The stand-in for Jira as a process of its own, with its control interface.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use outhaul::common::tasks::Tasks;
use serde_json::Value;
use tokio::net::TcpStream;

use super::client::Answer;
use super::process::AGENT;

/// The token of the stand-in's service account, which [`super::world::World`] gives the agent.
const TOKEN: &str = "pat-reader";

/// A running stand-in, killed when dropped.
pub(crate) struct Jira {
    child: Child,
    /// Each node's address, context path included.
    pub(crate) nodes: Vec<String>,
    control: String,
}

/// An example is not built for one test alone: the build here is a look at the clock when nothing has changed.
fn program() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--example", "jira-stand-in"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    // What cargo tells the tests must not reach this one: build scripts that look at it would run anew each time.
    let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (name, _) in std::env::vars().filter(|(name, _)| told.iter().any(|prefix| name.starts_with(prefix))) {
        build.env_remove(name);
    }
    assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
    Path::new(AGENT).parent().unwrap().join("examples/jira-stand-in")
}

impl Jira {
    /// With so many nodes; it calls itself `https://jira.example`, and its service account has the reader's token.
    pub(crate) async fn start(nodes: usize, further: &[&str]) -> Self {
        Self::start_as("https://jira.example", nodes, further).await
    }

    /// The same, calling itself by this address.
    pub(crate) async fn start_as(base_url: &str, nodes: usize, further: &[&str]) -> Self {
        let program = tokio::task::spawn_blocking(program).await.unwrap();
        let mut command = Command::new(program);
        command.args(["--base-url", base_url, "--pat", &format!("svc-outhaul={TOKEN}")]);
        for _ in 1..nodes {
            command.args(["--node", "127.0.0.1:0"]);
        }
        let mut child = command.args(further).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        tokio::task::block_in_place(|| lines.read_line(&mut line)).unwrap();
        let about: Value = serde_json::from_str(&line).unwrap();
        let urls = about["node_urls"].as_array().unwrap();
        let nodes = urls.iter().map(|url| url.as_str().unwrap().to_owned()).collect();
        Self { child, nodes, control: about["control_url"].as_str().unwrap().to_owned() }
    }

    /// As the agent's `url` wants it: a list of nodes.
    pub(crate) fn list(&self) -> String {
        let quoted: Vec<String> = self.nodes.iter().map(|url| format!("\"{url}\"")).collect();
        format!("[{}]", quoted.join(", "))
    }

    /// Orders something; it must be accepted.
    pub(crate) async fn order(&self, method: Method, path: &str, body: &str) {
        let url = format!("{}{path}", self.control);
        let answer = exchange(method, &url, None, body).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}: {answer:?}");
    }

    /// Orders something that needs no body.
    pub(crate) async fn post(&self, path: &str) {
        self.order(Method::POST, path, "").await;
    }

    /// Asks the control interface, and reads the answer.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &str) -> Value {
        let answer = exchange(method, &format!("{}{path}", self.control), None, body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        answer.json()
    }

    /// How many calls each node has had; asking for `/status` is none.
    pub(crate) async fn calls(&self) -> Vec<u64> {
        let state = exchange(Method::GET, &format!("{}/state", self.control), None, "").await.json();
        let node = |number: usize| state["nodes"][format!("node{number}")]["calls"].as_u64().unwrap();
        (1..=self.nodes.len()).map(node).collect()
    }

    /// How often a node was asked how it is, of the last requests.
    pub(crate) async fn asked(&self, node: &str) -> usize {
        let log = exchange(Method::GET, &format!("{}/requests", self.control), None, "").await.json();
        let entries = log.as_array().unwrap().iter();
        entries.filter(|entry| entry["node"] == node && entry["target"] == "/status").count()
    }

    /// Asks a node without agent and relay.
    pub(crate) async fn direct(&self, node: usize, method: Method, path: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {TOKEN}");
        exchange(method, &format!("{}{path}", self.nodes[node]), Some(&authorization), body).await
    }

    /// A fresh personal access token of this user, who logs in for it by password.
    pub(crate) async fn fresh_token(&self, user: &str) -> String {
        let password = STANDARD.encode(format!("{user}:{user}-password"));
        let url = format!("{}/rest/pat/latest/tokens", self.nodes[0]);
        let wish = r#"{"name":"fresh","expirationDuration":9}"#;
        let answer = exchange(Method::POST, &url, Some(&format!("Basic {password}")), wish).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        answer.json()["rawToken"].as_str().unwrap().to_owned()
    }
}

impl Drop for Jira {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn exchange(method: Method, url: &str, authorization: Option<&str>, body: &str) -> Answer {
    let uri: Uri = url.parse().unwrap();
    let authority = uri.authority().unwrap().as_str().to_owned();
    let stream = TcpStream::connect(&authority).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    Tasks::new().spawn_detached(connection);
    let target = uri.path_and_query().unwrap().as_str().to_owned();
    let mut request = Request::builder().method(method).uri(target).header(header::HOST, authority);
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let headers: HeaderMap = head.headers;
    Answer { status: head.status, headers, body }
}
