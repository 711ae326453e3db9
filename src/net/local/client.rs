//! The command line's end of the admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::common::report::{Exit, Report};
use crate::common::tasks::Tasks;

/// Asks the running daemon, one request a connection.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    program: &'static str,
    patience: Duration,
}

impl Client {
    /// To the daemon called `program` (as its systemd unit is called), behind `socket`.
    pub fn new(socket: &Path, program: &'static str) -> Self {
        Self { socket: socket.to_owned(), program, patience: PATIENCE }
    }

    /// For what may take longer.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Sends a request and gives the answer's JSON (`null` if it has none); any refusal is a report.
    pub async fn request(&self, method: Method, path: &str, json: Option<&Value>) -> Result<Value, Report> {
        let asked = tokio::time::timeout(self.patience, self.ask(method, path, json));
        asked.await.unwrap_or_else(|_| {
            let text = format!("{} did not answer within {} s", self.program, self.patience.as_secs());
            Err(Report::new(Exit::Temporary, text).with_remedy(self.look_at_log()))
        })
    }

    /// Like [`Client::request`], with GET.
    pub async fn get(&self, path: &str) -> Result<Value, Report> {
        self.request(Method::GET, path, None).await
    }

    /// Like [`Client::request`], with POST.
    pub async fn post(&self, path: &str, json: &Value) -> Result<Value, Report> {
        self.request(Method::POST, path, Some(json)).await
    }

    async fn ask(&self, method: Method, path: &str, json: Option<&Value>) -> Result<Value, Report> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreached(&error))?;
        let broken = |error: &dyn std::fmt::Display| {
            let text = format!("{} broke off the exchange over its admin socket: {error}", self.program);
            Report::new(Exit::InputOutput, text).with_remedy(self.look_at_log())
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        Tasks::new().spawn_detached(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if json.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = json.map_or_else(Bytes::new, |json| json.to_string().into());
        let request = request.body(Full::new(body)).map_err(|error| broken(&error))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect();
        let body = body.await.map_err(|error| broken(&error))?.to_bytes();
        if status.is_success() {
            if body.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&body).map_err(|error| broken(&error));
        }
        Err(self.refused(status, &body))
    }

    fn unreached(&self, error: &io::Error) -> Report {
        let (program, socket) = (self.program, self.socket.display());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Report::new(
                Exit::Unavailable,
                format!("{program} is not running (nothing answers at {socket})"),
            )
            .with_remedy(format!(
                "Start it with `systemctl start {program}`, or by hand with `{program} run`. If it runs \
                         with another configuration, name that with --config."
            )),
            io::ErrorKind::PermissionDenied => {
                Report::new(Exit::Permission, format!("you may not use the admin socket {socket}"))
                    .with_remedy(format!("Run this as root (sudo), or as a member of the group `{program}`."))
            }
            _ => {
                Report::new(Exit::InputOutput, format!("the admin socket {socket} can't be reached: {error}"))
                    .with_remedy(self.look_at_log())
            }
        }
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Report {
        let exit = super::exit_of(status);
        let document: Value = serde_json::from_slice(body).unwrap_or_default();
        let report = match document.get("error").and_then(Value::as_str) {
            Some(what) => Report::new(exit, what),
            // Not ours: an older daemon without this route, or a body it could not read.
            None if status == StatusCode::NOT_FOUND => {
                let text = format!("the running {} does not know this command", self.program);
                return Report::new(Exit::Protocol, text)
                    .with_remedy("Restart it: it may be an older version.");
            }
            None => {
                let text: String = String::from_utf8_lossy(body).chars().take(500).collect();
                Report::new(exit, format!("{} refused ({status}): {text}", self.program))
            }
        };
        match document.get("remedy").and_then(Value::as_str) {
            Some(remedy) => report.with_remedy(remedy),
            None => report,
        }
    }

    fn look_at_log(&self) -> String {
        format!("Look at its log: `journalctl -u {}`.", self.program)
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 32 * 1024 * 1024;
