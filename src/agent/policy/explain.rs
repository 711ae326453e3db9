//! Tells a person which rule decides a call, and why: as text and as JSON.

use std::fmt;

use http::Method;
use serde::Serialize;

use crate::common::ids::{CallerName, UpstreamName};
use crate::common::problem::Problem;

use super::{Call, CanonicalPath, Methods, NearMiss, Policy, Query, Reason, Rule, decide};

/// A decision, laid open.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Whether the call would be sent.
    pub allowed: bool,
    /// The method asked about.
    pub method: String,
    /// The application.
    pub upstream: UpstreamName,
    /// The path as it would be sent; as typed where it can't be read.
    pub path: String,
    /// Who calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerName>,
    /// The rule that allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<ShownRule>,
    /// The rules on this path that do not apply, and why.
    pub near: Vec<ShownMiss>,
    /// What the caller would see where the call is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A rule, for people and programs.
#[derive(Debug, Clone, Serialize)]
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
    /// Its limit for request bodies, where it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<String>,
}

/// A rule that came near.
#[derive(Debug, Clone, Serialize)]
pub struct ShownMiss {
    /// The rule.
    pub rule: ShownRule,
    /// Why it does not apply.
    pub because: String,
}

/// What a refused caller would see.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The problem's code.
    pub code: &'static str,
    /// The problem's detail.
    pub detail: String,
}

/// Decides as the agent would, and tells how. `target` is a path within the application, with or without a query.
pub fn explain(
    policy: &Policy,
    method: &Method,
    upstream: &UpstreamName,
    target: &str,
    caller: Option<&CallerName>,
) -> Explanation {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut explanation = Explanation {
        allowed: false,
        method: method.to_string(),
        upstream: upstream.clone(),
        path: path.to_owned(),
        caller: caller.cloned(),
        rule: None,
        near: Vec::new(),
        answer: None,
        hint: None,
    };
    let read = CanonicalPath::parse(path).and_then(|path| Ok((path, Query::parse(query)?)));
    let (path, query) = match read {
        Ok(read) => read,
        Err(fault) => {
            explanation.answer = Some(Answer::of(&fault.problem()));
            return explanation;
        }
    };
    path.as_str().clone_into(&mut explanation.path);
    let call = Call::new(method.clone(), upstream.clone(), path, query, caller.cloned());
    match decide(policy, &call) {
        Ok(rule) => {
            explanation.allowed = true;
            explanation.rule = Some(ShownRule::of(rule));
        }
        Err(reason) => {
            explanation.answer = Some(Answer::of(&reason.problem(&call)));
            if let Reason::NoRule { near } = &reason {
                let shown =
                    |near: &NearMiss| ShownMiss { rule: ShownRule::of(&near.rule), because: near.because() };
                explanation.near = near.iter().map(shown).collect();
            }
            explanation.hint = hint(policy, &call);
        }
    }
    explanation
}

impl ShownRule {
    /// From a rule.
    pub fn of(rule: &Rule) -> Self {
        Self {
            place: rule.place().to_string(),
            allow: rule.allow().as_str().to_owned(),
            why: rule.why().to_owned(),
            upstream: rule.upstream().clone(),
            callers: rule.callers().to_vec(),
            identity: rule.identity().to_string(),
            max_body: rule.max_body().map(|limit| limit.to_string()),
        }
    }

    fn who(&self) -> String {
        if self.callers.is_empty() { "any caller".to_owned() } else { names(&self.callers) }
    }
}

impl Answer {
    fn of(problem: &Problem) -> Self {
        Self {
            status: problem.code.status().as_u16(),
            code: problem.code.as_str(),
            detail: problem.detail.clone(),
        }
    }
}

/// The slips people make most: the upstream's name in the path, and a slash too many or too few at its end.
fn hint(policy: &Policy, call: &Call) -> Option<String> {
    let would_pass = |path: &str| {
        let path = CanonicalPath::parse(path).ok()?;
        decide(policy, &Call { path, ..call.clone() }).ok().map(|_| ())
    };
    if !Methods::knows(&call.method) {
        return None;
    }
    let path = call.path.as_str();
    let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    if would_pass(&other).is_some() {
        return Some(format!("{other} would be allowed: a slash at the end makes another path"));
    }
    let (_, rest) = path.strip_prefix('/')?.split_once('/')?;
    let rest = format!("/{rest}");
    would_pass(&rest)?;
    Some(format!("{rest} would be allowed: rules name the path after the application's base URL"))
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "refused" };
        writeln!(formatter, "{verdict}: {} {}", self.method, self.path)?;
        writeln!(formatter, "  upstream  {}", self.upstream)?;
        match &self.caller {
            Some(caller) => writeln!(formatter, "  caller    {caller}")?,
            None => formatter
                .write_str("  caller    one that no rule names (--caller NAME asks for another)\n")?,
        }
        if let Some(rule) = &self.rule {
            writeln!(formatter, "  rule      {}: {}", rule.place, rule.allow)?;
            writeln!(formatter, "  why       {}", rule.why)?;
            writeln!(formatter, "  for       {}", rule.who())?;
            writeln!(formatter, "  as        {}", rule.identity)?;
            if let Some(limit) = &rule.max_body {
                writeln!(formatter, "  max-body  {limit}")?;
            }
        }
        if let Some(answer) = &self.answer {
            writeln!(formatter, "  the caller sees {} {}: {}", answer.status, answer.code, answer.detail)?;
        }
        if !self.allowed && self.near.is_empty() && self.answer.as_ref().is_some_and(|a| a.status == 403) {
            writeln!(formatter, "  no rule is about this path")?;
        }
        for near in &self.near {
            writeln!(formatter, "  near      {}: {} ({})", near.rule.place, near.rule.allow, near.because)?;
        }
        if let Some(hint) = &self.hint {
            writeln!(formatter, "  hint      {hint}")?;
        }
        Ok(())
    }
}

fn names(callers: &[CallerName]) -> String {
    callers.iter().map(CallerName::as_str).collect::<Vec<_>>().join(", ")
}
