//! The pages of the way through, made from templates. All that is put into one is escaped.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::agent::links::attempt::CODE_LIFE;
use crate::agent::links::secrets::{Code, Token};
use crate::agent::mapping::{Account, Linkable};
use crate::agent::store::tables::links::LinkRow;

/// Whose link it is, by whom and where: on every page of the way.
pub(super) struct Subject {
    caller: String,
    person: String,
    display_name: Option<String>,
    application: String,
    base_url: String,
    has_oauth: bool,
    /// What forms bring along.
    form: String,
}

impl Subject {
    pub(super) fn new(row: &LinkRow, application: Linkable, browser: &Token) -> Self {
        Self {
            caller: row.caller.to_string(),
            person: format!("{}:{}", row.act_as.provider(), row.act_as.subject()),
            display_name: row.display_name.clone(),
            application: application.upstream.to_string(),
            base_url: application.base_url,
            has_oauth: application.has_oauth,
            form: browser.form_token(row.id),
        }
    }
}

#[derive(Template)]
#[template(path = "links/start.html")]
struct Start<'a> {
    subject: &'a Subject,
}

#[derive(Template)]
#[template(path = "links/going.html")]
struct Going<'a> {
    subject: &'a Subject,
    to: &'a str,
}

#[derive(Template)]
#[template(path = "links/confirm.html")]
struct Confirm<'a> {
    subject: &'a Subject,
    account: &'a Account,
}

#[derive(Template)]
#[template(path = "links/code.html")]
struct Shown<'a> {
    subject: &'a Subject,
    code: String,
    letters: String,
    minutes: u64,
}

#[derive(Template)]
#[template(path = "links/confirmed.html")]
struct Confirmed<'a> {
    subject: &'a Subject,
    account: &'a Account,
}

/// A page without a form.
#[derive(Template)]
#[template(path = "links/notice.html")]
pub(super) struct Notice {
    pub(super) title: &'static str,
    pub(super) text: String,
    /// Where to go on, and what is written there.
    pub(super) on: Option<(String, &'static str)>,
}

/// Who asks, and for whom. Its forms go to the page's own address: only who knows that may begin.
pub(super) fn start(subject: &Subject) -> Response {
    page(StatusCode::OK, &Start { subject })
}

/// On to the application's own pages. Not by a redirect: browsers hold those of a form against the policy of its page,
/// and a login elsewhere may lie on the way.
pub(super) fn going(subject: &Subject, to: &str) -> Response {
    page(StatusCode::OK, &Going { subject, to })
}

/// Both accounts, by name.
pub(super) fn confirm(subject: &Subject, account: &Account) -> Response {
    page(StatusCode::OK, &Confirm { subject, account })
}

/// What to give back through the caller.
pub(super) fn code(subject: &Subject, code: &Code) -> Response {
    let shown = code.shown();
    let letters: Vec<String> = shown.chars().filter(|one| *one != '-').map(String::from).collect();
    let minutes = CODE_LIFE.as_secs() / 60;
    page(StatusCode::OK, &Shown { subject, code: shown, letters: letters.join(" "), minutes })
}

/// The code was shown before.
pub(super) fn confirmed(subject: &Subject, account: &Account) -> Response {
    page(StatusCode::OK, &Confirmed { subject, account })
}

pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    match template.render() {
        Ok(text) => (status, [(header::CONTENT_TYPE, kind)], text).into_response(),
        // Writing to memory does not fail.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
