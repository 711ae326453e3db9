//! The pages that people open in their browsers to link an account.
//!
//! Plain HTML forms: no script runs, nothing is loaded from elsewhere, and a form counts only if it was given to the
//! browser that sends it. [`guard`] stands before all of them.

mod browser;
mod form;
mod guard;
mod views;
mod words;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::attempt::Refusal;
use super::config::{CALLBACK, Config};
use super::desk::LinkDesk;
use super::secrets::Token;
use super::steps::{Returned, StepFault};
use crate::agent::store::tables::links::{LinkKey, LinkRow, LinkStage};
use crate::common::ids::LinkId;
use crate::common::secret::Secret;
use browser::Jar;
use form::Form;
use guard::Guard;
use views::Subject;

/// All pages of this desk, as `[pages]` has them.
pub(super) fn router(desk: LinkDesk, config: &Config) -> Router {
    let jar = Jar::new(config.url.is_tls());
    Router::new()
        .route("/link/{address}", get(open).post(act))
        .route("/link/a/{id}", get(show).post(act_by_id))
        .route(CALLBACK, get(callback))
        .route("/style.css", get(style))
        .fallback(async || words::not_found().into_response())
        .with_state(Pages { desk, jar })
        .layer(from_fn_with_state(Guard::new(&config.url), guard::guard))
}

#[derive(Clone)]
struct Pages {
    desk: LinkDesk,
    jar: Jar,
}

/// The address that the caller gave to the person.
async fn open(State(pages): State<Pages>, Path(address): Path<String>, headers: HeaderMap) -> Response {
    pages.page(address_key(&address), &headers).await
}

/// An attempt that this browser began.
async fn show(State(pages): State<Pages>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    pages.page(id_key(&id), &headers).await
}

async fn act(State(pages): State<Pages>, Path(address): Path<String>, request: Request) -> Response {
    pages.act(address_key(&address), request).await
}

async fn act_by_id(State(pages): State<Pages>, Path(id): Path<String>, request: Request) -> Response {
    pages.act(id_key(&id), request).await
}

/// Where the application sends the browser back to (RFC 6749, section 4.1.2).
async fn callback(State(pages): State<Pages>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let browser = pages.jar.read(&headers);
    match pages.returned(query.as_deref().unwrap_or(""), browser.as_ref()).await {
        // The code is not left in the address line.
        Ok(id) => see_other(id),
        Err(fault) => words::of(&fault).into_response(),
    }
}

async fn style() -> Response {
    let kind = HeaderValue::from_static("text/css; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], include_str!("../../../../templates/links/style.css")).into_response()
}

impl Pages {
    async fn page(&self, key: Option<LinkKey>, headers: &HeaderMap) -> Response {
        let known = self.jar.read(headers);
        let Some(key) = key else { return words::of(&StepFault::Unknown).into_response() };
        let row = match self.desk.look(key, known.as_ref()).await {
            Ok(row) => row,
            Err(fault) => return words::of(&fault).into_response(),
        };
        let browser = match known {
            Some(browser) => browser,
            None => match Token::generate() {
                Ok(browser) => browser,
                Err(fault) => return words::of(&StepFault::Broken(fault.to_string())).into_response(),
            },
        };
        self.known(self.stage(&row, &browser), &browser)
    }

    /// Lets the browser be known for another while: the cookie must outlast the attempt that was begun last.
    fn known(&self, mut response: Response, browser: &Token) -> Response {
        if let Some(cookie) = self.jar.write(browser) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }

    /// The page for the stage that an attempt is at.
    fn stage(&self, row: &LinkRow, browser: &Token) -> Response {
        let Some(application) = self.desk.application_of(row) else {
            return words::application_gone(row).into_response();
        };
        let subject = Subject::new(row, application, browser);
        match (row.stage, &row.pending) {
            (LinkStage::Open | LinkStage::Consenting, _) => views::start(&subject),
            // Nobody asks any more: the process that did so has died. The code or the token is gone with it.
            (LinkStage::Proving, _) if !self.desk.is_asking(row) => views::start(&subject),
            (LinkStage::Proving, _) => words::being_checked(row.id).into_response(),
            (LinkStage::Proved, Some(pending)) => views::confirm(&subject, &pending.account),
            (LinkStage::Confirmed, Some(pending)) => views::confirmed(&subject, &pending.account),
            (stage, _) => words::of(&Refusal::NotNow(stage).into()).into_response(),
        }
    }

    async fn act(&self, key: Option<LinkKey>, request: Request) -> Response {
        let browser = self.jar.read(request.headers());
        let done = Box::pin(self.step(key, browser.as_ref(), request)).await;
        match (done, browser) {
            (Ok(response), Some(browser)) => self.known(response, &browser),
            (Ok(response), None) => response,
            (Err(fault), _) => words::of(&fault).into_response(),
        }
    }

    async fn step(
        &self,
        key: Option<LinkKey>,
        browser: Option<&Token>,
        request: Request<Body>,
    ) -> Result<Response, StepFault> {
        let browser = browser.ok_or(StepFault::Forged)?;
        let row = self.desk.look(key.ok_or(StepFault::Unknown)?, Some(browser)).await?;
        let address = request.uri().path().to_owned();
        let form = Form::read(request).await.ok_or(StepFault::Forged)?;
        if !browser.is_form_token(row.id, &form.proof) {
            return Err(StepFault::Forged);
        }
        let Some(application) = self.desk.application_of(&row) else {
            return Ok(words::application_gone(&row).into_response());
        };
        let subject = Subject::new(&row, application, browser);
        match form.step.as_str() {
            "consent" => Ok(views::going(&subject, &self.desk.consent(&row, browser).await?)),
            "paste" => match form.token {
                Some(token) => {
                    self.desk.paste(&row, browser, token).await?;
                    Ok(see_other(row.id))
                }
                None => Ok(words::no_token(address).into_response()),
            },
            "yes" => {
                let code = self.desk.confirm(&row, browser).await?;
                Ok(views::code(&subject, &code))
            }
            "no" => {
                self.desk.cancel(&row, browser).await?;
                Ok(words::cancelled().into_response())
            }
            _ => Err(StepFault::Forged),
        }
    }

    async fn returned(&self, query: &str, browser: Option<&Token>) -> Result<LinkId, StepFault> {
        let mut values = [const { None }; 3];
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => 0,
                "code" => 1,
                "error" => 2,
                _ => continue,
            };
            // RFC 6749, section 3.1: a parameter is there once at most.
            if let Some(slot) = values.get_mut(place)
                && slot.replace(Secret::new(value.into_owned())).is_some()
            {
                return Err(StepFault::Unknown);
            }
        }
        let [state, code, error] = values;
        let state = state.and_then(|state| state.expose().parse::<Token>().ok()).ok_or(StepFault::Unknown)?;
        let with = match (code, error) {
            (Some(code), None) if (1..=MAX_CODE).contains(&code.expose().len()) => Returned::Code(code),
            (_, error) => Returned::Denied(error.map_or_else(String::new, |word| words::word(word.expose()))),
        };
        self.desk.returned(&state, browser, with).await
    }
}

fn address_key(address: &str) -> Option<LinkKey> {
    address.parse::<Token>().ok().map(|token| LinkKey::Url(token.hash()))
}

fn id_key(id: &str) -> Option<LinkKey> {
    id.parse::<LinkId>().ok().map(LinkKey::Id)
}

fn see_other(id: LinkId) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(place) = HeaderValue::from_str(&path_of(id)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

fn path_of(id: LinkId) -> String {
    format!("/link/a/{id}")
}

/// No provider's code is longer.
const MAX_CODE: usize = 4096;
