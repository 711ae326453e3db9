//! Rules as people and programs see them.

use serde::Serialize;

use crate::agent::policy::{Denial, MediaType, Rule, reaches_guarded};
use crate::common::ids::{CallerName, UpstreamName};

/// A rule that allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownRule {
    /// File and line.
    pub place: String,
    /// As written.
    pub allow: String,
    /// Its author's reason.
    pub why: String,
    /// The application.
    pub upstream: UpstreamName,
    /// For whom; empty means any caller.
    pub callers: Vec<CallerName>,
    /// As whom.
    pub identity: String,
    /// What else a call must be for the rule to fit it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// What it asks of the calls it fits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<String>,
    /// Its limit for request bodies, where it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<String>,
}

/// A rule that denies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownDenial {
    /// File and line.
    pub place: String,
    /// As written.
    pub deny: String,
    /// Its author's reason.
    pub why: String,
    /// The application; nothing means every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamName>,
    /// For whom; empty means any caller.
    pub callers: Vec<CallerName>,
    /// What the query must be for it to apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
}

impl ShownRule {
    /// From a rule.
    pub fn of(rule: &Rule) -> Self {
        let (tests, terms) = (rule.tests(), rule.terms());
        let mut conditions = Vec::new();
        if !tests.content_types.is_empty() {
            let types: Vec<&str> = tests.content_types.iter().map(MediaType::as_str).collect();
            conditions.push(format!("the content type is {}", types.join(" or ")));
        }
        if !tests.query.is_empty() {
            conditions.push(format!("in the query, {}", tests.query));
        }
        for (pointer, test) in &tests.body.0 {
            conditions.push(format!("in the body, {} must {test}", pointer.as_str()));
        }
        let mut asked = Vec::new();
        if !terms.require.is_empty() {
            let proofs: Vec<&str> = terms.require.iter().map(|demand| demand.as_str()).collect();
            asked.push(format!("requires {}", proofs.join(" or ")));
        }
        if let Some(what) = rule.guards() {
            asked.push(format!(
                "requires signed or pass-through for calls about {what}, as it says nothing else"
            ));
        }
        if terms.accept_relay_trust {
            let also = reaches_guarded(rule.allow()).map(|what| format!(", also about {what}"));
            let also = also.unwrap_or_default();
            asked.push(format!("takes the relay's word for who calls{also} (accept-relay-trust)"));
        }
        if let Some(rate) = terms.rate {
            asked.push(format!("at most {rate} calls of each caller"));
        }
        Self {
            place: rule.place().to_string(),
            allow: rule.allow().as_str().to_owned(),
            why: rule.why().to_owned(),
            upstream: rule.upstream().clone(),
            callers: rule.callers().to_vec(),
            identity: rule.identity().to_string(),
            conditions,
            terms: asked,
            max_body: rule.max_body().map(|limit| limit.to_string()),
        }
    }

    /// For whom, in words.
    pub fn who(&self) -> String {
        who(&self.callers)
    }
}

impl ShownDenial {
    /// From a rule.
    pub fn of(denial: &Denial) -> Self {
        let query = denial.query();
        Self {
            place: denial.place().to_string(),
            deny: denial.deny().as_str().to_owned(),
            why: denial.why().to_owned(),
            upstream: denial.upstream().cloned(),
            callers: denial.callers().to_vec(),
            conditions: if query.is_empty() { Vec::new() } else { vec![format!("in the query, {query}")] },
        }
    }

    /// For whom, in words.
    pub fn who(&self) -> String {
        who(&self.callers)
    }
}

fn who(callers: &[CallerName]) -> String {
    if callers.is_empty() {
        return "any caller".to_owned();
    }
    callers.iter().map(CallerName::as_str).collect::<Vec<_>>().join(", ")
}
