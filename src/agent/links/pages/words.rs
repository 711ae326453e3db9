//! What a person is told when something is not as it should be: what happened, and what to do.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::path_of;
use super::views::{Notice, page};
use crate::agent::links::attempt::{LIFE, Refusal};
use crate::agent::links::steps::{StepFault, Unproved};
use crate::agent::mapping::{LinkFault, ProveFault};
use crate::agent::store::tables::links::{LinkEnd, LinkRow, LinkStage};
use crate::common::ids::LinkId;

/// A page of plain words.
pub(super) struct Words {
    status: StatusCode,
    notice: Notice,
}

impl Words {
    fn new(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self { status, notice: Notice { title, text: text.into(), on: None } }
    }

    fn on(mut self, to: String, what: &'static str) -> Self {
        self.notice.on = Some((to, what));
        self
    }

    fn again(self, id: LinkId) -> Self {
        self.on(path_of(id), "Try again")
    }
}

impl IntoResponse for Words {
    fn into_response(self) -> Response {
        page(self.status, &self.notice)
    }
}

pub(super) fn of(fault: &StepFault) -> Words {
    match fault {
        StepFault::Unknown => Words::new(
            StatusCode::NOT_FOUND,
            "There is no such link",
            format!("The address is not whole, or is an old one. {BEGIN}"),
        ),
        StepFault::Refused(refusal) => refused(*refusal),
        StepFault::Unproved(id, why) => unproved(why).again(*id),
        StepFault::Forged => Words::new(
            StatusCode::FORBIDDEN,
            "This form can't be taken",
            "It was not sent from the page that this browser was shown, or the browser keeps no cookies. Allow cookies \
             for this address, and open the link again from where you got it.",
        ),
        StepFault::Broken(what) => {
            tracing::warn!(%what, "a page of linking could not be served");
            Words::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Something is broken here",
                "Nothing was linked. Try again in a minute; if it stays so, tell your administrator, who finds the \
                 reason in the agent's log.",
            )
        }
    }
}

fn refused(refusal: Refusal) -> Words {
    let gone = |title, text: String| Words::new(StatusCode::GONE, title, text);
    match refusal {
        Refusal::OtherBrowser => Words::new(
            StatusCode::FORBIDDEN,
            "This link belongs to another browser",
            format!(
                "It was begun in another browser, or in a private window, and can only be finished there. If that was \
                 not you, somebody else has opened your link: a new one ends it. {BEGIN}"
            ),
        ),
        Refusal::Ended(ending) | Refusal::NotNow(LinkStage::Ended(ending)) => match ending {
            LinkEnd::Finished => gone(
                "This link is finished",
                "The accounts are linked; there is nothing left to do. You can close this page.".to_owned(),
            ),
            LinkEnd::Replaced => gone(
                "There is a newer link",
                "You asked for a link again, so this one is no longer valid. Open the newest one.".to_owned(),
            ),
            LinkEnd::Expired => gone(
                "The link has run out",
                format!("A link is open for {} minutes. {BEGIN}", LIFE.as_secs() / 60),
            ),
            LinkEnd::Cancelled => gone("The link was cancelled", format!("Nothing was linked. {BEGIN}")),
            LinkEnd::OtherBrowser => gone(
                "The link was stopped",
                format!(
                    "The answer from the application came to another browser than the one that began. That happens \
                     when somebody is sent another person's page. Nothing was linked. {BEGIN}"
                ),
            ),
            LinkEnd::TooManyRounds => gone(
                "The link was stopped",
                format!("No account was proved after many tries. Nothing was linked. {BEGIN}"),
            ),
            LinkEnd::TooManyTries => gone(
                "The link was stopped",
                format!("The code was given back wrong too often. Nothing was linked. {BEGIN}"),
            ),
        },
        Refusal::NotNow(_) | Refusal::OtherCaller | Refusal::WrongCode { .. } => Words::new(
            StatusCode::CONFLICT,
            "That step does not come now",
            "The page you sent was an older one. Open the link again from where you got it.",
        ),
    }
}

fn unproved(why: &Unproved) -> Words {
    match why {
        Unproved::Denied(word) if word.is_empty() || word == "access_denied" => Words::new(
            StatusCode::OK,
            "You did not allow it",
            "The application says that you denied access, so nothing was linked. If that was a mistake, try again.",
        ),
        Unproved::Denied(word) => Words::new(
            StatusCode::BAD_GATEWAY,
            "The application refused",
            format!(
                "It sent you back with the error “{word}”, so nothing was linked. If it stays so, tell your \
                 administrator: the application link there may be set up otherwise than at the agent."
            ),
        ),
        Unproved::Link(LinkFault::CodeExpired) => Words::new(
            StatusCode::BAD_GATEWAY,
            "That took too long",
            "The application no longer takes the code that it gave you: it is good for some seconds, and once. Nothing \
             was linked; try again.",
        ),
        Unproved::Link(fault) => {
            tracing::warn!(%fault, "a person could not link an account");
            Words::new(
                StatusCode::BAD_GATEWAY,
                "The application gave no access",
                "Nothing was linked. Try again; if it stays so, tell your administrator, who finds the reason in the \
                 agent's log.",
            )
        }
        Unproved::Prove(ProveFault::Refused) => Words::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The token is not taken",
            "The application does not know this token: it is wrong, was revoked, or has run out.",
        ),
        Unproved::Prove(ProveFault::SwitchedOff) => Words::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "The account can't be used",
            "It is switched off at the application, or may not log in there.",
        ),
        Unproved::Prove(fault) => {
            tracing::warn!(%fault, "a person could not link an account");
            Words::new(
                StatusCode::BAD_GATEWAY,
                "The application does not answer",
                "It could not be asked whose account this is, so nothing was linked. Try again in a minute.",
            )
        }
    }
}

/// `address` is that of the page before: the attempt may be nobody's yet.
pub(super) fn no_token(address: String) -> Words {
    let text = "A personal access token is one word of letters, digits and signs, without spaces.";
    Words::new(StatusCode::UNPROCESSABLE_ENTITY, "That is no token", text).on(address, "Try again")
}

pub(super) fn being_checked(id: LinkId) -> Words {
    let text = "The application is being asked about your account. That takes a moment.";
    Words::new(StatusCode::OK, "One moment", text).on(path_of(id), "Look again")
}

pub(super) fn cancelled() -> Words {
    let text = "Nothing was linked, and what the application gave is forgotten. You can close this page.";
    Words::new(StatusCode::OK, "The link is cancelled", text)
}

pub(super) fn application_gone(row: &LinkRow) -> Words {
    let text = format!(
        "“{}” is no longer an application of this site, so nothing can be linked there.",
        row.upstream
    );
    Words::new(StatusCode::GONE, "The application is gone", text)
}

pub(super) fn not_found() -> Words {
    let text =
        format!("These pages are for linking an account, by an address that a program gives you. {BEGIN}");
    Words::new(StatusCode::NOT_FOUND, "Nothing is here", text)
}

pub(super) fn misdirected(origin: &str) -> Words {
    let text = format!("These pages have one address, {origin}. Use that one.");
    Words::new(StatusCode::MISDIRECTED_REQUEST, "This is another host", text)
}

/// A word of another's making, as far as it is one (RFC 6749, section 4.1.2.1).
pub(super) fn word(given: &str) -> String {
    given
        .chars()
        .filter(|one| one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '.'))
        .take(40)
        .collect()
}

const BEGIN: &str = "Ask for a new link where you got this one.";
