//! From a client's wish to a person's yes or no.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri, header};

use super::pages;
use super::provider::{Asked, Code, Wish};
use super::{Provider, Scope};
use crate::app::{App, Call, decode_query};
use crate::identity::{Means, Who};
use crate::seed;
use crate::wire::{Fault, Reply};
use crate::world::World;

/// Why there is nothing to consent to.
pub(crate) enum Refused {
    /// Who asks, or where to answer, is not sure: nothing is sent there.
    Page(String),
    /// The client is told.
    Redirect(String),
}

impl From<Refused> for Response {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Page(text) => Fault::Page(StatusCode::BAD_REQUEST, text).into_response(),
            Refused::Redirect(location) => redirect(&location),
        }
    }
}

pub(crate) fn redirect(location: &str) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// Percent-encoding of a value in a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The redirect URI with something added to its query.
fn answer(wish: &Wish, members: &[(&str, &str)]) -> String {
    let mut location = wish.redirect_uri.clone();
    let state = wish.state.iter().map(|state| ("state", state.as_str()));
    for (name, value) in members.iter().copied().chain(state) {
        location.push(if location.contains('?') { '&' } else { '?' });
        location.push_str(&format!("{name}={}", encode(value)));
    }
    location
}

/// Is the demand for HTTPS met, where it is made?
pub(crate) fn secure_enough(app: &App, redirect_uri: &str) -> bool {
    let both = app.base.starts_with("https://") && redirect_uri.starts_with("https://");
    both || app.is("oauth-https", "off")
}

/// Reads and checks the parameters of an authorization request (RFC 6749, section 4.1.1; RFC 7636, section 4.3).
pub(crate) fn wish(app: &App, provider: &Provider, query: &[(String, String)]) -> Result<Wish, Refused> {
    let page = |text: &str| Err(Refused::Page(text.to_owned()));
    let find = |name: &str| {
        query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
            .filter(|v| !v.is_empty())
    };
    let Some(client) = find("client_id").and_then(|id| provider.clients.get(&id)) else {
        return page("OAuth: no such client");
    };
    let Some(redirect_uri) = find("redirect_uri").filter(|uri| client.redirect_uris.contains(uri)) else {
        return page("OAuth: the redirect URI is not registered");
    };
    if !secure_enough(app, &redirect_uri) {
        return page("OAuth: the base URL and the redirect URI must use HTTPS");
    }
    let mut wish = Wish {
        client: client.id.clone(),
        redirect_uri,
        state: find("state"),
        scope: Scope::Read,
        challenge: find("code_challenge"),
    };
    let told = |error: &str, text: &str| {
        Err(Refused::Redirect(answer(&wish, &[("error", error), ("error_description", text)])))
    };
    let mut names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        return told("invalid_request", "a parameter is there twice");
    }
    if find("response_type").as_deref() != Some("code") {
        return told("unsupported_response_type", "response_type must be code");
    }
    if let Some(challenge) = &wish.challenge {
        if find("code_challenge_method").as_deref() != Some("S256") {
            return told("invalid_request", "code_challenge_method must be S256");
        }
        if challenge.len() != 43 {
            return told("invalid_request", "code_challenge is not a SHA-256 hash");
        }
    }
    match find("scope").as_deref().and_then(Scope::parse).filter(|scope| *scope <= client.cap()) {
        Some(scope) => wish.scope = scope,
        None => return told("invalid_scope", "scope is missing, unknown, or more than the link allows"),
    }
    Ok(wish)
}

/// `GET /rest/oauth2/latest/authorize`: checks, and leads to the consent page.
pub(crate) async fn authorize(call: Call, uri: Uri) -> Response {
    match wish(&call.app, &call.app.world().oauth, &call.query) {
        Ok(_) => {
            let query = uri.query().unwrap_or_default();
            redirect(&format!("{}/plugins/servlet/oauth2/consent?{query}", call.app.base))
        }
        Err(refused) => refused.into(),
    }
}

/// Only a person in a browser consents: the name of the one whose session it is.
fn person(who: &Who) -> Option<&str> {
    match who {
        Who::User { name, by: Means::Session } => Some(name),
        _ => None,
    }
}

/// `GET /plugins/servlet/oauth2/consent`: the question.
pub(crate) async fn consent(call: Call, uri: Uri) -> Response {
    let Some(name) = person(&call.who) else {
        let target = format!("/plugins/servlet/oauth2/consent?{}", uri.query().unwrap_or_default());
        return redirect(&format!("{}/login.jsp?os_destination={}", call.app.base, encode(&target)));
    };
    let mut world = call.app.world();
    let wish = match wish(&call.app, &world.oauth, &call.query) {
        Ok(wish) => wish,
        Err(refused) => return refused.into(),
    };
    let Some(user) = world.user(name) else { return Fault::login().into_response() };
    let (user_key, display) = (user.key.clone(), user.display.clone());
    let client = world.oauth.clients.get(&wish.client).map_or("", |client| client.name.as_str());
    let token = uuid::Uuid::new_v4().simple().to_string();
    let page = pages::consent(&call.app, &display, name, client, wish.scope.name(), &token);
    world.oauth.asked.insert(token, Asked { user_key, wish });
    page
}

/// `POST /plugins/servlet/oauth2/consent`: the answer.
pub(crate) async fn decide(call: Call, body: Bytes) -> Reply {
    let forbidden = || Fault::Page(StatusCode::FORBIDDEN, "XSRF Security Token Missing".to_owned());
    let form = decode_query(&String::from_utf8_lossy(&body));
    let find = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let name = person(&call.who).ok_or_else(forbidden)?;
    let mut world = call.app.world();
    let key = world.user(name).map(|user| user.key.clone()).ok_or_else(forbidden)?;
    let token = find("atl_token").unwrap_or_default();
    if world.oauth.asked.get(token).is_none_or(|asked| asked.user_key != key) {
        return Err(forbidden());
    }
    let asked = world.oauth.asked.remove(token).ok_or_else(forbidden)?;
    let location = settle(&call.app, &mut world, &key, asked.wish, find("decision") == Some("allow"));
    Ok(redirect(&location))
}

/// Carries the person's answer out: where the browser goes then.
pub(crate) fn settle(app: &App, world: &mut World, user_key: &str, wish: Wish, allowed: bool) -> String {
    if !allowed {
        return answer(&wish, &[("error", "access_denied")]);
    }
    let code = seed::random_token();
    let location = answer(&wish, &[("code", &code)]);
    let code_entry = Code {
        user_key: user_key.to_owned(),
        wish,
        issued_at: app.clock.now(),
        life: world.oauth.code_lifetime,
        used_for: None,
    };
    world.oauth.codes.insert(code, code_entry);
    location
}

/// What the pages would have led to, for tests without a browser.
pub(crate) fn consent_as(app: &Arc<App>, user: &str, url: &str, allowed: bool) -> Result<String, String> {
    let query = decode_query(url.split_once('?').map_or("", |(_, query)| query));
    let mut world = app.world();
    let user = world.user(user).filter(|user| user.active).ok_or("no such active user")?;
    let key = user.key.clone();
    match wish(app, &world.oauth, &query) {
        Ok(wish) => Ok(settle(app, &mut world, &key, wish, allowed)),
        Err(Refused::Redirect(location)) => Ok(location),
        Err(Refused::Page(text)) => Err(text),
    }
}
