//! A small Jira of the test's own: its OAuth provider gives tokens that the test knows, and every call is answered for
//! the user whose credential it brings.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use outhaul::common::tasks::Tasks;
use serde_json::json;

use super::needles::marker;

/// How token requests are answered.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Tokens {
    /// With tokens.
    Given,
    /// As a server that is too busy.
    Busy,
    /// With a refusal of RFC 6749 that repeats the request: providers are found that do so.
    Refused(&'static str),
}

#[derive(Default)]
struct Known {
    /// The value of `Authorization`, and whose it is.
    credentials: HashMap<String, String>,
    /// Codes and refresh tokens, and whose they are; each is good once.
    once: HashMap<String, String>,
    /// All secrets that were planted, given or seen.
    secrets: Vec<(String, Vec<u8>)>,
    answer: Option<Tokens>,
    refreshes: usize,
}

/// The running application.
pub(super) struct Application {
    url: String,
    known: Arc<Mutex<Known>>,
    tasks: Tasks,
}

impl Application {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let known = Arc::new(Mutex::new(Known::default()));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&known));
        let tasks = Tasks::new();
        tasks.spawn("application", async move { axum::serve(listener, router).await });
        Self { url, known, tasks }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// A personal access token of this user.
    pub(super) fn pat(&self, user: &str) -> String {
        self.known().bearer(&format!("PAT of {user}"), user)
    }

    /// The password of this user.
    pub(super) fn password(&self, user: &str) -> String {
        let password = self.known().secret(&format!("password of {user}"));
        let pair = STANDARD.encode(format!("{user}:{password}"));
        self.known().credentials.insert(format!("Basic {pair}"), user.to_owned());
        password
    }

    /// A code as a browser brings it back after this user's consent.
    pub(super) fn code(&self, user: &str) -> String {
        let mut known = self.known();
        let code = known.secret(&format!("code of {user}"));
        known.once.insert(code.clone(), user.to_owned());
        code
    }

    /// A secret that the test puts somewhere.
    pub(super) fn secret(&self, name: &str) -> String {
        self.known().secret(name)
    }

    /// A secret that the test has seen; and the bytes that it stands for.
    pub(super) fn saw(&self, name: &str, secret: &str) {
        self.known().saw(name, secret);
    }

    /// From here on token requests are answered so.
    pub(super) fn tokens(&self, how: Tokens) {
        self.known().answer = Some(how);
    }

    /// All access tokens of this user are dead; PATs too.
    pub(super) fn expire(&self, user: &str) {
        self.known().credentials.retain(|_, whose| whose != user);
    }

    /// How many refreshes were answered with tokens.
    pub(super) fn refreshes(&self) -> usize {
        self.known().refreshes
    }

    /// What `Authorization` bears for this user now.
    pub(super) fn token(&self, user: &str) -> String {
        let known = self.known();
        let (value, _) = known.credentials.iter().find(|(_, whose)| *whose == user).unwrap();
        value.strip_prefix("Bearer ").unwrap().to_owned()
    }

    /// All secrets so far.
    pub(super) fn secrets(&self) -> Vec<(String, Vec<u8>)> {
        self.known().secrets.clone()
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.tasks.cancel();
    }
}

impl Known {
    fn secret(&mut self, name: &str) -> String {
        let secret = marker();
        self.secrets.push((name.to_owned(), secret.clone().into_bytes()));
        secret
    }

    fn saw(&mut self, name: &str, secret: &str) {
        self.secrets.push((name.to_owned(), secret.as_bytes().to_vec()));
        self.secrets.extend(raw(secret).map(|raw| (format!("{name}, its bytes"), raw)));
    }

    fn bearer(&mut self, name: &str, user: &str) -> String {
        let token = self.secret(name);
        self.credentials.insert(format!("Bearer {token}"), user.to_owned());
        token
    }

    fn tokens(&mut self, body: &[u8]) -> Response {
        let form: HashMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        if let Some(verifier) = form.get("code_verifier") {
            self.saw("PKCE verifier", verifier);
        }
        match self.answer {
            Some(Tokens::Busy) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            Some(Tokens::Refused(code)) => {
                let told = format!("Refused: {}", String::from_utf8_lossy(body).replace('&', " "));
                let plain: Vec<String> =
                    form.values().map(|value| format!("Bad token \"{value}\".")).collect();
                let told =
                    json!({ "error": code, "error_description": format!("{} {told}", plain.join(" ")) });
                return (StatusCode::BAD_REQUEST, axum::Json(told)).into_response();
            }
            Some(Tokens::Given) | None => {}
        }
        let presented = form.get("code").or(form.get("refresh_token"));
        // Without either it is the client itself that asks.
        let whose = presented.map_or(Some("robot".to_owned()), |secret| self.once.remove(secret));
        let Some(user) = whose else {
            let told = json!({ "error": "invalid_grant" });
            return (StatusCode::BAD_REQUEST, axum::Json(told)).into_response();
        };
        self.refreshes += usize::from(form.contains_key("refresh_token"));
        let access = self.bearer(&format!("access token of {user}"), &user);
        let mut given = json!({ "access_token": access, "token_type": "bearer", "expires_in": 7200 });
        if presented.is_some() {
            let refresh = self.secret(&format!("refresh token of {user}"));
            self.once.insert(refresh.clone(), user);
            given["refresh_token"] = refresh.into();
        }
        axum::Json(given).into_response()
    }
}

/// What a text of 256 bits stands for.
pub(super) fn raw(text: &str) -> Option<Vec<u8>> {
    let hexadecimal = || {
        let digits = text.bytes().map(|byte| char::from(byte).to_digit(16));
        let digits: Vec<u8> = digits.map(|digit| Some(digit? as u8)).collect::<Option<_>>()?;
        Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>())
    };
    match text.len() {
        43 => URL_SAFE_NO_PAD.decode(text).ok(),
        64 => hexadecimal(),
        _ => None,
    }
}

async fn answer(State(known): State<Arc<Mutex<Known>>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut known = known.lock().unwrap();
    if head.uri.path() == "/status" {
        return axum::Json(json!({ "state": "RUNNING" })).into_response();
    }
    if head.uri.path() == "/rest/oauth2/latest/token" {
        return known.tokens(&body);
    }
    let value = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let user = value.and_then(|value| known.credentials.get(value)).cloned();
    let name = user.clone().unwrap_or_else(|| "anonymous".to_owned());
    let about = json!({ "key": format!("KEY-{name}"), "name": name, "displayName": name, "active": true });
    let mut response = axum::Json(about).into_response();
    if user.is_none() {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    response.headers_mut().insert("x-ausername", HeaderValue::from_str(&name).unwrap());
    response
}
