//! Tells a person which rule decides a call, and why: as text and as JSON.
//!
//! [`explain`] decides as the agent does and lays the decision open: the rule, or what keeps each rule that came near
//! from applying. What else a person asks (the identity's account, the headers, the running agent) is put around it
//! by `agent::cli`.

pub mod address;
mod nearly;
mod shown;
mod text;

use serde::Serialize;

use nearly::{Near, nearly};
pub use shown::{ShownDenial, ShownRule};

use super::tools::asked::{Asked, Decision, decide};
use super::{Call, CanonicalPath, Methods, NearMiss, Policy, Reason};
use crate::common::ids::{CallerName, UpstreamName};
use crate::common::problem::Problem;

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
    /// The rule that allows it; or the one that fits, where it asks for more than the call brings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<ShownRule>,
    /// The rule that denies it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denial: Option<ShownDenial>,
    /// What keeps the rule that fits from allowing it, or what about it can't be judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The rules that do not apply but for a thing or two, the nearest first.
    pub near: Vec<ShownMiss>,
    /// What the caller would see where the call is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The problem's code.
    pub code: &'static str,
    /// The problem's detail.
    pub detail: String,
}

/// Decides as the agent would, and tells how.
pub fn explain(policy: &Policy, asked: &Asked) -> Explanation {
    let mut explanation = Explanation {
        allowed: false,
        method: asked.method.to_string(),
        upstream: asked.upstream.clone(),
        path: printable(asked.target.split('?').next().unwrap_or_default()),
        caller: asked.caller.clone(),
        rule: None,
        denial: None,
        because: None,
        near: Vec::new(),
        answer: None,
        hint: None,
    };
    let decision = decide(policy, asked);
    explanation.answer = decision.problem().as_ref().map(Answer::of);
    match &decision {
        Decision::Unreadable(_) => {}
        Decision::Allowed(call, rule) => {
            call.path.as_str().clone_into(&mut explanation.path);
            explanation.allowed = true;
            explanation.rule = Some(ShownRule::of(rule));
        }
        Decision::Refused(call, reason) => {
            call.path.as_str().clone_into(&mut explanation.path);
            explanation.refused(policy, call, reason);
        }
    }
    explanation
}

impl Explanation {
    fn refused(&mut self, policy: &Policy, call: &Call, reason: &Reason) {
        match reason {
            Reason::Method => {}
            Reason::AlwaysDenied(denial) => self.denial = Some(ShownDenial::of(denial)),
            Reason::Denied { denial, fault } => {
                self.denial = Some(ShownDenial::of(denial));
                self.because = fault.as_ref().map(ToString::to_string);
            }
            Reason::NoRule { near } => {
                self.near = near_misses(policy, call, near);
                self.hint = hint(policy, call);
            }
            Reason::Unclear { rule, fault } => {
                self.rule = Some(ShownRule::of(rule));
                self.because = Some(fault.to_string());
            }
            Reason::BodyNeeded { rule } => {
                self.rule = Some(ShownRule::of(rule));
                self.because = Some("it looks into the body, and none is given (--body FILE)".to_owned());
            }
            Reason::Trust { rule, lack } => {
                self.rule = Some(ShownRule::of(rule));
                self.because = Some(lack.to_string());
            }
            // A call that is only asked about is not counted.
            Reason::Rate { rule, .. } => self.rule = Some(ShownRule::of(rule)),
        }
    }
}

impl Answer {
    /// From a refusal.
    pub fn of(problem: &Problem) -> Self {
        Self { status: problem.status.as_u16(), code: problem.code.as_str(), detail: problem.detail.clone() }
    }
}

/// Those on the path, the ones first that miss by one thing; then those whose path is nearly the call's.
fn near_misses(policy: &Policy, call: &Call, on_path: &[NearMiss]) -> Vec<ShownMiss> {
    let mut on_path: Vec<&NearMiss> = on_path.iter().collect();
    on_path.sort_by_key(|near| near.misses.len());
    let shown = |near: &&NearMiss| ShownMiss { rule: ShownRule::of(&near.rule), because: near.because() };
    let mut shown: Vec<ShownMiss> = on_path.iter().map(shown).collect();
    let fitting = policy.rules().iter().filter(|rule| {
        *rule.upstream() == call.upstream
            && rule.allow().methods().contains(&call.method)
            && rule.is_for(call.caller.as_ref())
    });
    let mut nearly: Vec<(Near, ShownRule)> = fitting
        .filter_map(|rule| Some((nearly(rule.allow().pattern(), &call.path)?, ShownRule::of(rule))))
        .collect();
    nearly.sort_by(|(one, _), (other, _)| one.cmp(other));
    let nearly = nearly.into_iter().take(MAX_NEARLY);
    shown.extend(nearly.map(|(near, rule)| ShownMiss { rule, because: near.to_string() }));
    shown
}

/// The slip people make most: the application's name or context path in front of the path.
fn hint(policy: &Policy, call: &Call) -> Option<String> {
    if !Methods::knows(&call.method) {
        return None;
    }
    let (_, rest) = call.path.as_str().strip_prefix('/')?.split_once('/')?;
    let rest = format!("/{rest}");
    let path = CanonicalPath::parse(&rest).ok()?;
    super::decide(policy, &Call { path, ..call.clone() }).ok()?;
    Some(format!("{rest} would be allowed: rules name the path after the application's base URL"))
}

/// What a stranger wrote must not steer the terminal it is shown on, nor turn the line around.
pub fn printable(text: &str) -> String {
    // The marks of UAX #9 that change the direction of what follows.
    let turns = |one: char| matches!(one, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|one| if one.is_control() || turns(one) { '\u{fffd}' } else { one }).collect()
}

/// More rules on nearly the same path than a person reads.
const MAX_NEARLY: usize = 5;

#[cfg(test)]
mod tests;
