//! What the audit says of a call: who, for whom, as whom, what, by which rule.

use std::borrow::Cow;

use http::Method;

use super::signed::Signed;
use crate::agent::audit::{As, Audit, ByRule, Facts, Prepared};
use crate::agent::credentials::Credential;
use crate::agent::policy::{Call, Identity, Permit};
use crate::common::act_as::ActAs;
use crate::common::ids::{CallerName, IssuerName, RequestId};
use crate::common::problem::Problem;

/// Which call, and by what its caller is known: a token of this issuer, a signature of this key, or neither.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    request: RequestId,
    issuer: Option<&'a IssuerName>,
    key: Option<&'a str>,
}

impl<'a> By<'a> {
    pub(super) fn of(request: RequestId, issuer: Option<&'a IssuerName>, signed: Option<&'a Signed>) -> Self {
        Self { request, issuer, key: signed.map(|signed| signed.key_id.as_str()) }
    }
}

/// Of a call that a rule allows. Its credential may be missing yet.
pub(super) fn facts(
    permit: &Permit,
    act_as: Option<&ActAs>,
    credential: Option<&Credential>,
    by: By<'_>,
) -> Prepared {
    let rule = permit.rule();
    let user = credential.map(Credential::user);
    let identity = match permit.identity() {
        Identity::Anonymous => Some(As::Anonymous),
        Identity::Service(name) => Some(As::Service(name.as_str())),
        Identity::User => credential.and_then(Credential::key).or(user).map(As::User),
    };
    let allow = rule.allow().as_str();
    let place = rule.place();
    Facts {
        request: Some(by.request),
        issuer: by.issuer.map(IssuerName::as_str),
        caller: permit.caller().map(CallerName::as_str),
        act_as: act_as.map(|person| (person.provider(), person.subject())),
        identity,
        jira_user: user,
        by: None,
        upstream: Some(permit.upstream().as_str()),
        method: Some(permit.method()),
        path: Some(permit.path().as_str()),
        rule: Some(ByRule { text: allow, file: &place.file, line: place.line }),
        relay_trust: rule.terms().accept_relay_trust,
        signed: by.key,
    }
    .prepare()
}

/// A call of a known caller that the policy refuses.
pub(super) fn refused(audit: &Audit, call: &Call, act_as: Option<&ActAs>, by: By<'_>, problem: &Problem) {
    let path = shortened(call.path.as_str());
    let facts = Facts {
        request: Some(by.request),
        issuer: by.issuer.map(IssuerName::as_str),
        caller: call.caller.as_ref().map(CallerName::as_str),
        act_as: act_as.map(|person| (person.provider(), person.subject())),
        upstream: Some(call.upstream.as_str()),
        method: Some(&call.method),
        path: Some(&path),
        signed: by.key,
        ..Facts::default()
    };
    audit.begin(facts.prepare()).not_made(problem);
}

/// Enough to tell what was tried. What no rule allows takes little room.
fn shortened(path: &str) -> Cow<'_, str> {
    let end = (0..=REFUSED_PATH).rev().find(|end| path.is_char_boundary(*end));
    match end.and_then(|end| path.get(..end)) {
        Some(start) if start.len() < path.len() => Cow::Owned(format!("{start}…")),
        _ => Cow::Borrowed(path),
    }
}

/// A step of linking that is refused to a known caller.
pub(super) fn step_refused(
    audit: &Audit,
    path: &str,
    caller: &CallerName,
    act_as: Option<&ActAs>,
    by: By<'_>,
    problem: &Problem,
) {
    let facts = Facts {
        request: Some(by.request),
        issuer: by.issuer.map(IssuerName::as_str),
        caller: Some(caller.as_str()),
        act_as: act_as.map(|person| (person.provider(), person.subject())),
        method: Some(&Method::POST),
        path: Some(path),
        signed: by.key,
        ..Facts::default()
    };
    audit.begin(facts.prepare()).not_made(problem);
}

/// The path of a refused call is cut after so many bytes.
const REFUSED_PATH: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_path_is_cut_and_between_letters() {
        assert_eq!(shortened("/rest"), "/rest");
        let whole = "/".repeat(REFUSED_PATH);
        assert_eq!(shortened(&whole), whole);
        assert_eq!(shortened(&format!("{whole}x")), format!("{whole}…"));
        let letters = shortened(&"é".repeat(REFUSED_PATH)).into_owned();
        assert_eq!(letters, "é".repeat(REFUSED_PATH / 2) + "…");
    }
}
