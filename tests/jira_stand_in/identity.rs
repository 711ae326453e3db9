//! Who calls: tokens, passwords, sessions; and what happens to those that don't hold.

use axum::extract::State;
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use serde_json::json;
use std::sync::Arc;

use crate::app::{App, Call, decode_query};
use crate::oauth::Scope;
use crate::options::Profile;
use crate::wire::{self, Fault, Reply, code};

/// The caller as Jira sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Anonymous,
    User { name: String, by: Means },
}

/// How the caller proved to be somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    Password,
    /// A browser's cookie.
    Session,
    /// A personal access token.
    Token,
    /// An OAuth access token, of a user's consent or of a service account.
    OAuth {
        scope: Scope,
        service: bool,
    },
}

impl Who {
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::User { name, .. } => Some(name),
        }
    }

    /// The caller's name, or Jira's demand to log in.
    pub(crate) fn required(&self) -> Result<&str, Fault> {
        self.name().ok_or_else(Fault::login)
    }
}

/// What Jira says of the login beside the answer itself.
pub(crate) const LOGIN_REASON: HeaderName = HeaderName::from_static("x-seraph-loginreason");
const DENIED_REASON: HeaderName = HeaderName::from_static("x-authentication-denied-reason");

/// A refusal before any resource is reached.
pub(crate) struct Refused {
    pub(crate) fault: Option<Fault>,
    pub(crate) headers: HeaderMap,
}

impl Refused {
    fn with(fault: Option<Fault>, reason: &'static str) -> Box<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(LOGIN_REASON, HeaderValue::from_static(reason));
        Box::new(Self { fault, headers })
    }
}

/// Reads the credentials of a request.
pub(crate) fn identify(app: &App, parts: &Parts, path: &str) -> Result<Who, Box<Refused>> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
        if scheme.eq_ignore_ascii_case("bearer") {
            return by_bearer(app, rest.trim(), path);
        }
        if scheme.eq_ignore_ascii_case("basic") {
            return by_basic(app, rest.trim());
        }
    }
    if app.is("os-username", "honoured") {
        let query = decode_query(parts.uri.query().unwrap_or_default());
        let find = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if let (Some(user), Some(password)) = (find("os_username"), find("os_password")) {
            return check_password(app, user, password);
        }
    }
    Ok(by_cookie(app, &parts.headers).unwrap_or(Who::Anonymous))
}

fn by_bearer(app: &App, secret: &str, path: &str) -> Result<Who, Box<Refused>> {
    if path.starts_with("/secure/") && app.is("secure-pat", "no") {
        return Ok(Who::Anonymous);
    }
    let (now, seconds) = (app.now(), app.clock.unix_seconds());
    let mut world = app.world();
    let found = world.tokens.values_mut().find(|token| token.secret == secret && token.expires_at > seconds);
    let personal = found.map(|token| {
        token.last_used = Some(now);
        token.user.clone()
    });
    let found = if let Some(name) = &personal {
        world.by_name(name).map(|user| (user, Means::Token))
    } else {
        world.oauth.access(secret, seconds).and_then(|(key, by)| Some((world.by_key(key)?, by)))
    };
    match found {
        Some((user, by)) if user.active => Ok(Who::User { name: user.name.clone(), by }),
        Some(_) if path.ends_with("/myself") && app.is("inactive-myself", "403") => {
            let text = "The user is not active.".to_owned();
            Err(Refused::with(Some(Fault::Message(StatusCode::FORBIDDEN, text)), "AUTHENTICATED_FAILED"))
        }
        _ if app.is("invalid-bearer", "401") => {
            Err(Refused::with(Some(Fault::login()), "AUTHENTICATED_FAILED"))
        }
        _ => Ok(Who::Anonymous),
    }
}

fn by_basic(app: &App, rest: &str) -> Result<Who, Box<Refused>> {
    let off = app.is("basic", "off") || (app.is("basic", "by-profile") && app.profile() == Profile::V11);
    if off {
        let status = if app.is("basic-refusal", "403") { 403 } else { 401 };
        let message = "Basic authentication has been disabled on this instance.".to_owned();
        return Err(Refused::with(Some(Fault::Message(code(status), message)), "AUTHENTICATION_DENIED"));
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest).unwrap_or_default();
    let decoded = String::from_utf8_lossy(&decoded);
    let (user, password) = decoded.split_once(':').unwrap_or((&decoded, ""));
    check_password(app, user, password)
}

/// Right and wrong passwords, and the CAPTCHA after too many wrong ones, which refuses right ones too.
fn check_password(app: &App, name: &str, password: &str) -> Result<Who, Box<Refused>> {
    let mut world = app.world();
    let fold = app.is("usernames", "fold");
    let user = world
        .users
        .values_mut()
        .find(|user| if fold { user.name.eq_ignore_ascii_case(name) } else { user.name == name });
    if let Some(user) = user {
        if user.failed_logins >= app.options.captcha_after {
            let page = "Basic Authentication Failure - Reason : AUTHENTICATION_DENIED".to_owned();
            let fault = Fault::Page(StatusCode::FORBIDDEN, page);
            let mut refused = Refused::with(Some(fault), "AUTHENTICATION_DENIED");
            let value = format!("CAPTCHA_CHALLENGE; login-url={}/login.jsp", app.base);
            if let Ok(value) = HeaderValue::from_str(&value) {
                refused.headers.insert(DENIED_REASON, value);
            }
            return Err(refused);
        }
        if user.password == password && user.active {
            user.failed_logins = 0;
            return Ok(Who::User { name: user.name.clone(), by: Means::Password });
        }
        user.failed_logins += 1;
    }
    let page = "Unauthorized (401)".to_owned();
    let fault = app.is("wrong-password", "401").then_some(Fault::Page(StatusCode::UNAUTHORIZED, page));
    Err(Refused::with(fault, "AUTHENTICATED_FAILED"))
}

fn by_cookie(app: &App, headers: &HeaderMap) -> Option<Who> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut sessions =
        cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().strip_prefix("JSESSIONID="));
    let world = app.world();
    let user = sessions.find_map(|session| world.by_name(world.sessions.get(session)?))?;
    user.active.then(|| Who::User { name: user.name.clone(), by: Means::Session })
}

/// A new session for the one with that password: the cookie to set.
pub(crate) fn open_session(app: &App, name: &str, password: &str) -> Option<String> {
    let Ok(Who::User { name, .. }) = check_password(app, name, password) else { return None };
    let value = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    let path = if app.context.is_empty() { "/" } else { &app.context };
    let secure = if app.base.starts_with("https:") { "; Secure" } else { "" };
    let cookie = format!("JSESSIONID={value}; Path={path}{secure}; HttpOnly");
    app.world().sessions.insert(value, name);
    Some(cookie)
}

/// `POST /rest/auth/1/session`.
pub(crate) async fn log_in(State(app): State<Arc<App>>, body: Bytes) -> Reply {
    if app.profile() == Profile::V11 {
        return Err(Fault::Message(StatusCode::FORBIDDEN, "Session login is not available.".to_owned()));
    }
    let body = wire::parse(&body)?;
    let text = |name: &str| body.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    match check_password(&app, text("username"), text("password")) {
        Ok(Who::User { name, .. }) => {
            let value = uuid::Uuid::new_v4().simple().to_string();
            app.world().sessions.insert(value.clone(), name);
            let mut response = wire::ok(json!({
                "session": { "name": "JSESSIONID", "value": value },
                "loginInfo": { "failedLoginCount": 0, "loginCount": 1, "previousLoginTime": app.now() },
            }))?;
            let cookie = format!("JSESSIONID={value}; Path={}/; HttpOnly", app.context);
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            Ok(response)
        }
        Err(refused) if refused.headers.contains_key(DENIED_REASON) => {
            Err(Fault::core(403, "Login denied: answer the CAPTCHA question first."))
        }
        _ => Err(Fault::core(401, "Login failed")),
    }
}

/// `GET /rest/auth/1/session`.
pub(crate) async fn session(call: Call) -> Reply {
    let name = call.who.required()?;
    wire::ok(json!({ "self": format!("{}/rest/auth/1/session", call.app.base), "name": name }))
}

/// `DELETE /rest/auth/1/session`.
pub(crate) async fn log_out(call: Call) -> Reply {
    let name = call.who.required()?.to_owned();
    call.app.world().sessions.retain(|_, user| *user != name);
    wire::nothing()
}
