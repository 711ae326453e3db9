//! `POST /rest/oauth2/latest/token`: codes, refresh tokens and clients' own credentials turned into tokens.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, Uri, header};
use outhaul::common::tasks::Tasks;
use serde_json::{Value, json};

use super::authorize::secure_enough;
use super::gate::{DropAnswer, Point};
use super::provider::Wish;
use super::{Client, Scope};
use crate::app::{App, decode_query};
use crate::options::Profile;
use crate::wire::{self, Fault, code};
use crate::world::World;

/// An error of RFC 6749, section 5.2.
struct Refused(u16, &'static str, &'static str);

impl Refused {
    fn grant(text: &'static str) -> Self {
        Self(400, "invalid_grant", text)
    }

    fn request(text: &'static str) -> Self {
        Self(400, "invalid_request", text)
    }

    fn answer(self, app: &App) -> Response {
        let Self(status, error, text) = self;
        if app.is("oauth-errors", "html") {
            let title =
                format!("HTTP Status {status} - {}", code(status).canonical_reason().unwrap_or_default());
            return Fault::Page(code(status), title).into_response();
        }
        wire::status(status, json!({ "error": error, "error_description": text })).into_response()
    }
}

/// The parameters of a request, each at most once.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(app: &App, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<Self, Refused> {
        let kind =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let form =
            kind.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded");
        let mut members = Vec::new();
        if form {
            members = decode_query(&String::from_utf8_lossy(body));
        }
        if app.is("oauth-parameters", "query-too") {
            members.extend(decode_query(uri.query().unwrap_or_default()));
        } else if !form {
            return Err(Refused::request("the body must be application/x-www-form-urlencoded"));
        }
        let mut names: Vec<&String> = members.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(Refused::request("a parameter is there twice"));
        }
        Ok(Self(members))
    }

    fn get(&self, wanted: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    fn required(&self, wanted: &str) -> Result<&str, Refused> {
        self.get(wanted).filter(|value| !value.is_empty()).ok_or(Refused::request("a parameter is missing"))
    }

    /// The client, whose secret must be right.
    fn client(&self, world: &World) -> Result<Client, Refused> {
        let (id, secret) = (self.required("client_id")?, self.required("client_secret")?);
        let client = world.oauth.clients.get(id).filter(|client| client.secret == secret);
        client.cloned().ok_or(Refused(401, "invalid_client", "no such client, or not its secret"))
    }
}

/// `POST /rest/oauth2/latest/token`.
pub(crate) async fn token(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // A task of its own: what was asked is carried out, even if the client does not live to see the answer.
    let carried_out = Tasks::new().spawn_detached(carry_out(app, uri, headers, body)).await;
    carried_out.unwrap_or_else(|fault| Fault::core(500, fault.to_string()).into_response())
}

async fn carry_out(app: Arc<App>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    app.oauth_gate.pass(Point::Before).await;
    let outcome = Form::read(&app, &uri, &headers, &body).and_then(|form| redeem(&app, &form));
    let mut response = match outcome {
        Ok(value) => wire::ok(value).into_response(),
        Err(refused) => refused.answer(&app),
    };
    if response.status().is_success() && take_drop(&app) {
        response.extensions_mut().insert(DropAnswer);
    }
    app.oauth_gate.pass(Point::After).await;
    response
}

fn take_drop(app: &App) -> bool {
    let ordered = &mut app.world().oauth.drop_answers;
    let dropped = *ordered > 0;
    *ordered = ordered.saturating_sub(1);
    dropped
}

fn redeem(app: &App, form: &Form) -> Result<Value, Refused> {
    let mut world = app.world();
    let kind = form.required("grant_type")?;
    *world.oauth.requests.entry(kind.chars().take(40).collect()).or_default() += 1;
    let client = form.client(&world)?;
    let id = match kind {
        "authorization_code" => by_code(app, &mut world, form, &client)?,
        "refresh_token" => by_refresh(app, &mut world, form, &client)?,
        "client_credentials" if app.profile() == Profile::V11 => by_client(app, &mut world, form, &client)?,
        _ => return Err(Refused(400, "unsupported_grant_type", "this release does not know the grant type")),
    };
    *world.oauth.issued.entry(kind.to_owned()).or_default() += 1;
    let lifetime = world.oauth.access_lifetime;
    let grant = world.oauth.grants.get(&id).ok_or(Refused::grant("the grant is gone"))?;
    let mut value = json!({
        "access_token": grant.access, "token_type": "bearer", "expires_in": lifetime,
        "created_at": app.clock.unix_seconds(),
    });
    if let (Some(members), Some(refresh)) = (value.as_object_mut(), &grant.refresh) {
        members.insert("refresh_token".to_owned(), refresh.as_str().into());
    }
    Ok(value)
}

fn by_code(app: &App, world: &mut World, form: &Form, client: &Client) -> Result<u64, Refused> {
    let (secret, redirect_uri) = (form.required("code")?, form.required("redirect_uri")?);
    let verifier = form.get("code_verifier");
    let revokes = app.is("oauth-code-reuse", "revokes");
    let code = world.oauth.codes.get(secret).filter(|code| code.wish.client == client.id);
    let code = code.ok_or(Refused::grant("no such code"))?;
    if let Some(used_for) = code.used_for {
        if revokes {
            world.oauth.grants.remove(&used_for);
        }
        return Err(Refused::grant("the code was used before"));
    }
    if app.clock.now().saturating_duration_since(code.issued_at) >= code.life {
        return Err(Refused::grant("the code is expired"));
    }
    if code.wish.redirect_uri != redirect_uri || !secure_enough(app, redirect_uri) {
        return Err(Refused::grant("another redirect_uri than the code was given for"));
    }
    if let Some(challenge) = &code.wish.challenge {
        let verifier = verifier.ok_or(Refused::grant("code_verifier is missing"))?;
        if !(43..=127).contains(&verifier.len()) || challenge_of(verifier) != *challenge {
            return Err(Refused::grant("code_verifier does not match"));
        }
    }
    let (user_key, wish) = (code.user_key.clone(), code.wish.clone());
    active(world, &user_key)?;
    let id = world.oauth.grant(&user_key, &wish, false, app.clock.unix_seconds());
    if let Some(code) = world.oauth.codes.get_mut(secret) {
        code.used_for = Some(id);
    }
    Ok(id)
}

/// BASE64URL(SHA256(verifier)), RFC 7636, section 4.2.
fn challenge_of(verifier: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash)
}

fn active(world: &World, user_key: &str) -> Result<(), Refused> {
    let user = world.by_key(user_key).filter(|user| user.active);
    user.map(|_| ()).ok_or(Refused::grant("the user is gone or not active"))
}

fn by_refresh(app: &App, world: &mut World, form: &Form, client: &Client) -> Result<u64, Refused> {
    let secret = form.required("refresh_token")?;
    let id = world.oauth.refresh(secret).ok_or(Refused::grant("no such refresh token"))?;
    let grant = world.oauth.grants.get(&id).filter(|grant| grant.client == client.id);
    let grant = grant.ok_or(Refused::grant("no such refresh token"))?;
    if app.is("oauth-refresh-redirect", "checked") && grant.redirect_uri != form.required("redirect_uri")? {
        return Err(Refused::grant("another redirect_uri than the token was given for"));
    }
    if app.is("oauth-inactive-refresh", "refused") {
        active(world, &grant.user_key)?;
    }
    world.oauth.rotate(id, app.clock.unix_seconds());
    Ok(id)
}

fn by_client(app: &App, world: &mut World, form: &Form, client: &Client) -> Result<u64, Refused> {
    let most = client.cap().min(Scope::Write);
    let scope = form.get("scope").and_then(Scope::parse).filter(|scope| *scope <= most);
    let scope = scope.ok_or(Refused(400, "invalid_scope", "a service account may have READ and WRITE"))?;
    let user = world.user(&client.service_account).map(|user| user.key.clone());
    let user_key = user.ok_or(Refused(400, "unauthorized_client", "the client has no service account"))?;
    active(world, &user_key)?;
    let wish =
        Wish { client: client.id.clone(), redirect_uri: String::new(), state: None, scope, challenge: None };
    Ok(world.oauth.grant(&user_key, &wish, true, app.clock.unix_seconds()))
}

/// `POST /rest/oauth2/latest/revoke` (RFC 7009), where the switch says there is one.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if app.is("oauth-revoke", "absent") {
        return crate::system::no_resource(uri).await.into_response();
    }
    let outcome = Form::read(&app, &uri, &headers, &body).and_then(|form| {
        let mut world = app.world();
        let client = form.client(&world)?;
        let secret = form.required("token")?;
        world.oauth.grants.retain(|_, grant| {
            let named = grant.access == secret || grant.refresh.as_deref() == Some(secret);
            !(named && grant.client == client.id)
        });
        Ok(())
    });
    match outcome {
        // An unknown token is no error: it is not valid afterwards either.
        Ok(()) => wire::empty(200).into_response(),
        Err(refused) => refused.answer(&app),
    }
}
