//! A call that is only asked about, and the decision about it: the very one that a real call would meet, but that
//! rates are not counted.

use std::sync::Arc;

use http::Method;

use crate::agent::policy::{
    Call, CanonicalPath, Content, HeldBody, Policy, Query, Reason, Rule, Trust, decide as decide_call,
    held_too_large,
};
use crate::common::ids::{CallerName, UpstreamName};
use crate::common::problem::{Code, Problem};

/// A call as a person describes it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The application.
    pub upstream: UpstreamName,
    /// The path within it, with its query if it has one.
    pub target: String,
    /// Who calls; `None` is a caller that no rule names.
    pub caller: Option<CallerName>,
    /// For whom: `{provider}:{subject}`.
    pub person: Option<String>,
    /// The body's type.
    pub content_type: Option<String>,
    /// The body; `None` is one that is not known.
    pub body: Option<Vec<u8>>,
    /// What is proved about it.
    pub trust: Trust,
}

/// What was decided.
#[derive(Debug)]
pub enum Decision {
    /// It may be sent.
    Allowed(Box<Call>, Arc<Rule>),
    /// The policy refuses it.
    Refused(Box<Call>, Reason),
    /// Its path or query can't be read, or its body is too large to be looked into.
    Unreadable(Problem),
}

/// Decides as the agent would.
pub fn decide(policy: &Policy, asked: &Asked) -> Decision {
    let (path, query) = match asked.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (asked.target.as_str(), None),
    };
    let read = CanonicalPath::parse(path).and_then(|path| Ok((path, Query::parse(query)?)));
    let (path, query) = match read {
        Ok(read) => read,
        Err(fault) => return Decision::Unreadable(fault.problem()),
    };
    let mut call = Call {
        method: asked.method.clone(),
        upstream: asked.upstream.clone(),
        path,
        query,
        caller: asked.caller.clone(),
        trust: asked.trust,
        content: asked.content_type.as_deref().map_or_else(Content::default, Content::with_type),
        body: None,
    };
    if let (Some(body), Some(limit)) = (&asked.body, policy.holds_body(&call)) {
        if body.len() as u64 > limit.0 {
            return Decision::Unreadable(held_too_large(limit));
        }
        call.body = Some(HeldBody::read(body));
    }
    match decide_call(policy, &call) {
        Ok(rule) => Decision::Allowed(Box::new(call), Arc::clone(rule)),
        Err(reason) => Decision::Refused(Box::new(call), reason),
    }
}

impl Decision {
    /// The rule that allows it.
    pub fn rule(&self) -> Option<&Arc<Rule>> {
        match self {
            Self::Allowed(_, rule) => Some(rule),
            _ => None,
        }
    }

    /// The refusal that the caller sees.
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::Allowed(..) => None,
            Self::Refused(call, reason) => Some(reason.problem(call)),
            Self::Unreadable(problem) => Some(problem.clone()),
        }
    }

    /// The code of the refusal.
    pub fn code(&self) -> Option<Code> {
        self.problem().map(|problem| problem.code)
    }

    /// As whom it would be made: `service reader`.
    pub fn identity(&self) -> Option<String> {
        self.rule().map(|rule| rule.identity().to_string())
    }

    /// Whether this rule decided: its place, or its text as written.
    pub fn is_by(&self, rule: &str) -> bool {
        let (place, text) = match self {
            Self::Allowed(_, rule) => (rule.place(), rule.allow()),
            Self::Refused(_, reason) => match reason {
                Reason::AlwaysDenied(denial) | Reason::Denied { denial, .. } => {
                    (denial.place(), denial.deny())
                }
                Reason::Unclear { rule, .. }
                | Reason::BodyNeeded { rule }
                | Reason::Trust { rule, .. }
                | Reason::Rate { rule, .. } => (rule.place(), rule.allow()),
                Reason::Method | Reason::NoRule { .. } => return false,
            },
            Self::Unreadable(_) => return false,
        };
        place.to_string() == rule || text.as_str() == rule
    }

    /// What was decided, by what, on one line.
    pub fn words(&self) -> String {
        let by = |rule: &Rule| format!("{} ({})", rule.place(), rule.allow().as_str());
        match self {
            Self::Allowed(_, rule) => format!("allowed by {} as {}", by(rule), rule.identity()),
            Self::Unreadable(problem) => format!("refused as {}: {}", problem.code, problem.detail),
            Self::Refused(call, reason) => {
                let why = match reason {
                    Reason::Method => "no rule can allow this method".to_owned(),
                    Reason::AlwaysDenied(denial) => {
                        format!("{} denies it always: {}", denial.place(), denial.why())
                    }
                    Reason::Denied { denial, fault: None } => {
                        format!("{} denies it ({}): {}", denial.place(), denial.deny().as_str(), denial.why())
                    }
                    Reason::Denied { denial, fault: Some(fault) } => {
                        format!("{} can't be judged: {fault}", denial.place())
                    }
                    Reason::NoRule { near } => match near.first() {
                        Some(near) => {
                            format!("no rule fits; near: {}, but {}", by(&near.rule), near.because())
                        }
                        None => "no rule is about this path".to_owned(),
                    },
                    Reason::Unclear { rule, fault } => format!("{} can't be judged: {fault}", by(rule)),
                    Reason::BodyNeeded { rule } => {
                        format!("{} looks into the body, and none is given", by(rule))
                    }
                    Reason::Trust { rule, lack } => format!("{} fits, but {lack}", by(rule)),
                    Reason::Rate { rule, .. } => format!("{} was used too often", by(rule)),
                };
                format!("refused as {}: {why}", reason.problem(call).code)
            }
        }
    }
}
