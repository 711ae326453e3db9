//! Drives a browser by WebDriver (W3C), as far as these tests need it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use outhaul::common::tasks::Tasks;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A running driver, killed when dropped, and with it its browsers.
pub(super) struct Driver {
    child: Child,
    port: u16,
}

/// One browser: a profile of its own.
pub(super) struct Browser<'a> {
    driver: &'a Driver,
    session: String,
}

impl Driver {
    /// Nothing if there is no chromedriver here.
    pub(super) fn start() -> Option<Self> {
        let mut command = Command::new("chromedriver");
        let mut child = command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("started successfully on port ") {
                let port = rest.trim_end_matches('.').parse().unwrap();
                return Some(Self { child, port });
            }
        }
        panic!("chromedriver says no port");
    }

    pub(super) async fn browser(&self, profile: &Path, arguments: &[&str]) -> Browser<'_> {
        let mut all = vec![
            "--headless=new".to_owned(),
            // Tests may run as root, and on machines without user namespaces.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--window-size=900,1000".to_owned(),
            format!("--user-data-dir={}", profile.display()),
        ];
        all.extend(arguments.iter().map(|one| (*one).to_owned()));
        let wish = json!({ "capabilities": { "alwaysMatch": {
            // The authority is the test's own; what hangs on TLS beside that, cookies above all, is as always.
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": all },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let answer = self.ask(Method::POST, "/session", Some(&wish)).await;
        Browser { driver: self, session: answer["sessionId"].as_str().unwrap().to_owned() }
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let exchange = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            Tasks::new().spawn_detached(connection);
            let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, format!("localhost:{}", self.port))
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(body))
                .unwrap();
            let answer = sender.send_request(request).await.unwrap();
            let status = answer.status();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let mut document: Value = serde_json::from_slice(&body).unwrap();
            assert!(status.is_success(), "{path}: {document}");
            document["value"].take()
        };
        tokio::time::timeout(Duration::from_secs(60), exchange).await.unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser<'_> {
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.driver.ask(method, &path, body.as_ref()).await
    }

    pub(super) async fn open(&self, url: &str) {
        self.ask(Method::POST, "/url", Some(json!({ "url": url }))).await;
    }

    pub(super) async fn url(&self) -> String {
        self.ask(Method::GET, "/url", None).await.as_str().unwrap().to_owned()
    }

    pub(super) async fn title(&self) -> String {
        self.ask(Method::GET, "/title", None).await.as_str().unwrap().to_owned()
    }

    /// The text of the first element that this selector finds.
    pub(super) async fn text(&self, css: &str) -> String {
        let element = self.element(css).await;
        self.ask(Method::GET, &format!("/element/{element}/text"), None).await.as_str().unwrap().to_owned()
    }

    pub(super) async fn type_into(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.ask(Method::POST, &format!("/element/{element}/value"), Some(json!({ "text": text }))).await;
    }

    pub(super) async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.ask(Method::POST, &format!("/element/{element}/click"), Some(json!({}))).await;
    }

    /// The role and the name that assistive technology is told.
    pub(super) async fn role_and_name(&self, css: &str) -> (String, String) {
        let element = self.element(css).await;
        let ask = async |what: &str| {
            let said = self.ask(Method::GET, &format!("/element/{element}/computed{what}"), None).await;
            said.as_str().unwrap().to_owned()
        };
        (ask("role").await, ask("label").await)
    }

    /// Runs a script from outside the page, for looking only.
    pub(super) async fn look(&self, script: &str) -> Value {
        self.ask(Method::POST, "/execute/sync", Some(json!({ "script": script, "args": [] }))).await
    }

    /// Presses a key, such as `Tab` or `Enter`.
    pub(super) async fn press(&self, key: char) {
        let actions = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let body = json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] });
        self.ask(Method::POST, "/actions", Some(body)).await;
    }

    pub(super) async fn cookies(&self) -> Vec<Value> {
        self.ask(Method::GET, "/cookie", None).await.as_array().unwrap().clone()
    }

    /// What the browser complains of: a style that was blocked, a page that is not there.
    pub(super) async fn complaints(&self) -> Vec<String> {
        let log = self.ask(Method::POST, "/se/log", Some(json!({ "type": "browser" }))).await;
        let entries = log.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or("").to_owned()).collect()
    }

    /// The page as a picture.
    pub(super) async fn picture(&self, file: &Path) {
        let picture = self.ask(Method::GET, "/screenshot", None).await;
        let bytes = base64::engine::general_purpose::STANDARD.decode(picture.as_str().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    /// Waits until the address begins so: pages lead on by themselves.
    pub(super) async fn arrive(&self, beginning: &str) {
        for _ in 0..500 {
            if self.url().await.starts_with(beginning) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{} does not begin with {beginning}", self.url().await);
    }

    /// Waits until the page has this title.
    pub(super) async fn titled(&self, title: &str) {
        for _ in 0..500 {
            if self.title().await == title {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("“{}” at {} is not “{title}”", self.title().await, self.url().await);
    }

    async fn element(&self, css: &str) -> String {
        let wish = json!({ "using": "css selector", "value": css });
        let found = self.ask(Method::POST, "/element", Some(wish)).await;
        found.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned()
    }
}
