//! What the audit says of a call: who, for whom, as whom, what, by which rule.

use crate::agent::audit::{As, Audit, ByRule, Facts, Prepared};
use crate::agent::credentials::Credential;
use crate::agent::policy::{Call, Identity, Permit};
use crate::common::act_as::ActAs;
use crate::common::ids::RequestId;
use crate::common::problem::Problem;

/// Of a call that a rule allows. Its credential may be missing yet.
pub(super) fn facts(
    permit: &Permit,
    act_as: Option<&ActAs>,
    credential: Option<&Credential>,
    request: RequestId,
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
        request: Some(request),
        caller: permit.caller().map(crate::common::ids::CallerName::as_str),
        act_as: act_as.map(|person| (person.provider(), person.subject())),
        identity,
        jira_user: user,
        by: None,
        upstream: Some(permit.upstream().as_str()),
        method: Some(permit.method()),
        path: Some(permit.path().as_str()),
        rule: Some(ByRule { text: allow, file: &place.file, line: place.line }),
        relay_trust: rule.terms().accept_relay_trust,
    }
    .prepare()
}

/// A call of a known caller that the policy refuses.
pub(super) fn refused(
    audit: &Audit,
    call: &Call,
    act_as: Option<&ActAs>,
    request: RequestId,
    problem: &Problem,
) {
    let facts = Facts {
        request: Some(request),
        caller: call.caller.as_ref().map(crate::common::ids::CallerName::as_str),
        act_as: act_as.map(|person| (person.provider(), person.subject())),
        upstream: Some(call.upstream.as_str()),
        method: Some(&call.method),
        path: Some(call.path.as_str()),
        ..Facts::default()
    };
    audit.begin(facts.prepare()).not_made(problem);
}
