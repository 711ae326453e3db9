//! The pages a person sees: the login form and the question.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::authorize::redirect;
use crate::app::{App, Call, decode_query};
use crate::identity;

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn page(title: &str, content: &str) -> Response {
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1>\n{content}\n<p>This page comes from a stand-in for Jira.</p></body></html>\n"
    );
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html;charset=UTF-8"));
    response.headers_mut().insert("x-frame-options", HeaderValue::from_static("SAMEORIGIN"));
    response
}

/// The question: who is logged in, who asks, and for what.
pub(crate) fn consent(
    app: &App,
    display: &str,
    name: &str,
    client: &str,
    scope: &str,
    token: &str,
) -> Response {
    let content = format!(
        "<p>You are logged in as <strong id=\"user\">{} ({})</strong>.</p>\n\
         <p><strong id=\"client\">{}</strong> asks for access to your account: <strong id=\"scope\">{scope}</strong>.</p>\n\
         <form method=\"post\" action=\"{}/plugins/servlet/oauth2/consent\">\n\
         <input type=\"hidden\" name=\"atl_token\" value=\"{token}\">\n\
         <button id=\"allow\" name=\"decision\" value=\"allow\">Allow</button>\n\
         <button id=\"deny\" name=\"decision\" value=\"deny\">Deny</button>\n</form>",
        escape(display),
        escape(name),
        escape(client),
        escape(&app.base),
    );
    page("Allow access - Jira", &content)
}

fn login_form(app: &App, destination: &str, fault: Option<&str>) -> Response {
    let fault = fault.map(|text| format!("<p id=\"login-error\" role=\"alert\">{text}</p>\n"));
    let content = format!(
        "{}<form method=\"post\" action=\"{}/login.jsp\">\n\
         <p><label>Username <input id=\"login-form-username\" name=\"os_username\" autocomplete=\"username\"></label></p>\n\
         <p><label>Password <input id=\"login-form-password\" name=\"os_password\" type=\"password\"></label></p>\n\
         <input type=\"hidden\" name=\"os_destination\" value=\"{}\">\n\
         <button id=\"login\" name=\"login\" value=\"Log In\">Log In</button>\n</form>",
        fault.unwrap_or_default(),
        escape(&app.base),
        escape(destination),
    );
    page("Log in - Jira", &content)
}

/// `GET /login.jsp`.
pub(crate) async fn login_page(call: Call) -> Response {
    login_form(&call.app, call.query(&["os_destination"]).unwrap_or_default(), None)
}

/// `POST /login.jsp`: a session for the browser, in every release.
pub(crate) async fn log_in(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let form = decode_query(&String::from_utf8_lossy(&body));
    let find = |wanted: &str| {
        form.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let destination = find("os_destination");
    let Some(cookie) = identity::open_session(&app, find("os_username"), find("os_password")) else {
        let text = "Sorry, your username and password are incorrect - please try again.";
        return login_form(&app, destination, Some(text));
    };
    // Only to pages of our own.
    let own = destination.starts_with('/') && !destination.starts_with("//") && !destination.contains('\\');
    let mut response =
        redirect(&format!("{}{}", app.base, if own { destination } else { "/secure/Dashboard.jspa" }));
    if response.status() == StatusCode::FOUND
        && let Ok(cookie) = HeaderValue::from_str(&cookie)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
