//! Why a call is refused, for the caller and for the administrator.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::common::ids::CallerName;
use crate::common::limits::ByteSize;
use crate::common::problem::{Code, Problem};

use super::decide::fits_content;
use super::matcher::Matcher;
use super::query::Reading;
use super::{
    Call, ContentFault, Denial, JsonFault, Lack, MediaType, Methods, Policy, QueryFault, Rule, Test, Tests,
};

/// A call that was refused, and why.
#[derive(Debug, Clone)]
pub struct Refusal(Box<(Call, Reason)>);

/// Why a call is refused.
#[derive(Debug, Clone)]
pub enum Reason {
    /// No rule can allow this method.
    Method,
    /// No rule can allow this path.
    AlwaysDenied(Arc<Denial>),
    /// A rule denies it, or looks at something that can't be told.
    Denied {
        /// The rule.
        denial: Arc<Denial>,
        /// What can't be told, where that is the reason.
        fault: Option<Unclear>,
    },
    /// No rule allows it.
    NoRule {
        /// The rules that came nearest, in order.
        near: Vec<NearMiss>,
    },
    /// The first rule that may fit looks at something that has more than one reading.
    Unclear {
        /// The rule.
        rule: Arc<Rule>,
        /// What it is.
        fault: Unclear,
    },
    /// The first rule that may fit looks into the body, which is not known.
    BodyNeeded {
        /// The rule.
        rule: Arc<Rule>,
    },
    /// The first rule that fits asks for a proof that the call does not bring.
    Trust {
        /// The rule.
        rule: Arc<Rule>,
        /// What is lacking.
        lack: Lack,
    },
    /// The first rule that fits has been used too often.
    Rate {
        /// The rule.
        rule: Arc<Rule>,
        /// Until it may be used again.
        wait: Duration,
    },
}

/// What has more than one reading.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// The query.
    #[error(transparent)]
    Query(#[from] QueryFault),
    /// The head's word about the body.
    #[error(transparent)]
    Content(#[from] ContentFault),
    /// The body itself.
    #[error("the rule looks into the body, and it can't be judged: {0}")]
    Body(#[from] JsonFault),
}

/// A rule on the same path that does not fit.
#[derive(Debug, Clone)]
pub struct NearMiss {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What keeps it from fitting; at least one.
    pub misses: Vec<Miss>,
}

/// What keeps a rule on the same path from fitting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// It is for other methods.
    Method,
    /// It is for other callers.
    Caller,
    /// It is for other content types.
    ContentType,
    /// This in the query.
    Query(String),
    /// This in the body.
    Body(String),
    /// Whether it fits can't be told.
    Unclear(Unclear),
}

impl Refusal {
    pub(super) fn new(call: Call, reason: Reason) -> Self {
        Self(Box::new((call, reason)))
    }

    /// The call.
    pub fn call(&self) -> &Call {
        &self.0.0
    }

    /// Why.
    pub fn reason(&self) -> &Reason {
        &self.0.1
    }

    /// The rules that came nearest, where none fits.
    pub fn near(&self) -> &[NearMiss] {
        match self.reason() {
            Reason::NoRule { near } => near,
            _ => &[],
        }
    }

    /// The refusal that the caller sees.
    pub fn problem(&self) -> Problem {
        self.reason().problem(self.call())
    }
}

impl Reason {
    /// The refusal that the caller sees. It tells the caller's own near misses only, not what others may do.
    pub fn problem(&self, call: &Call) -> Problem {
        let Call { method, upstream, path, .. } = call;
        match self {
            Self::Method => {
                let text = "Use GET, HEAD, POST, PUT, PATCH or DELETE; no rule can allow another method.";
                Problem::new(Code::MethodRefused, text)
            }
            Self::AlwaysDenied(denial) => Problem::new(
                Code::PolicyRefused,
                format!("No rule of any site can allow {path} on {upstream}: {}.", denial.why()),
            ),
            Self::Denied { fault: Some(fault), .. } | Self::Unclear { fault, .. } => {
                let text = format!("A rule for {method} {path} on {upstream} can't be judged: {fault}.");
                Problem::new(Code::BadRequest, text)
            }
            Self::Denied { denial, fault: None } => Problem::new(
                Code::PolicyRefused,
                format!(
                    "A rule of this site denies {method} {path} on {upstream}: {}. Ask the site's administrator \
                     if that is not meant.",
                    denial.why()
                ),
            ),
            Self::NoRule { near } => no_rule(call, near),
            Self::BodyNeeded { .. } => {
                Problem::new(Code::PolicyRefused, "The rule for this call looks into its body; send one.")
            }
            Self::Trust { lack, .. } => {
                let mut text = format!("A rule allows {method} {path} on {upstream}, but {lack}.");
                if matches!(lack, Lack::Exposed(_)) {
                    text.push_str(&new_key_for(call.caller.as_ref()));
                }
                Problem::new(Code::TrustRequired, text)
            }
            Self::Rate { rule, wait } => {
                let rate = rule.terms().rate.map(|rate| rate.to_string()).unwrap_or_default();
                let seconds = u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
                let text = format!(
                    "This caller may make {rate} calls by the rule for {method} {path} on {upstream}. Send it \
                     again in {seconds} s, or ask the site's administrator to raise `rate`."
                );
                Problem::new(Code::RateLimited, text).with_retry_after(seconds)
            }
        }
    }
}

fn no_rule(call: &Call, near: &[NearMiss]) -> Problem {
    let Call { method, upstream, path, .. } = call;
    let others = near.iter().filter(|near| near.misses == [Miss::Method]);
    let allowed = others.fold(Methods::default(), |sum, near| sum.and(near.rule.allow().methods()));
    let mut detail = format!("No rule of this site allows {method} {path} on {upstream} for this caller.");
    if allowed != Methods::default() {
        let _ = write!(detail, " On this path it may use {allowed}.");
    }
    let own = |near: &&NearMiss| !near.misses.iter().any(|miss| matches!(miss, Miss::Method | Miss::Caller));
    for near in near.iter().filter(own).take(3) {
        let _ = write!(detail, " A rule does not fit because {}.", near.because());
    }
    // No ready command line: the path is a stranger's, and somebody would paste it into a shell.
    detail.push_str(
        " Ask the site's administrator to add a rule; on the site, `outhaul-agent policy explain` tells more.",
    );
    let problem = Problem::new(Code::PolicyRefused, detail);
    if allowed == Methods::default() {
        return problem;
    }
    problem.with_extra("allowed_methods", allowed.to_string())
}

impl NearMiss {
    /// Why the rule does not fit, as half a sentence.
    pub fn because(&self) -> String {
        let because = |miss: &Miss| match miss {
            Miss::Method => format!("it allows {}", self.rule.allow().methods()),
            Miss::Caller => {
                let names: Vec<&str> = self.rule.callers().iter().map(CallerName::as_str).collect();
                format!("it is for {}", names.join(", "))
            }
            Miss::ContentType => format!("it takes {}", types(self.rule.tests())),
            Miss::Query(what) => format!("in the query, {what}"),
            Miss::Body(what) => format!("in the body, {what}"),
            Miss::Unclear(fault) => fault.to_string(),
        };
        self.misses.iter().map(because).collect::<Vec<_>>().join(", and ")
    }
}

fn types(tests: &Tests) -> String {
    if tests.content_types.is_empty() {
        let no_forms = "no application/x-www-form-urlencoded, unless its content-type names it";
        return if tests.body.is_empty() { no_forms } else { "application/json" }.to_owned();
    }
    tests.content_types.iter().map(MediaType::as_str).collect::<Vec<_>>().join(" or ")
}

/// The rules on the call's path, and why they do not fit: the caller's own before others', in order.
pub(super) fn near(policy: &Policy, matcher: &Matcher, call: &Call) -> Vec<NearMiss> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    matcher.visit(&call.path, |ends| {
        for numbers in ends.of(call.caller.as_ref()) {
            own.extend(numbers.iter().take(MAX_NEAR));
        }
        others.extend(ends.all.iter().take(2 * MAX_NEAR));
    });
    own.sort_unstable();
    others.sort_unstable();
    others.retain(|number| own.binary_search(number).is_err());
    let mut numbers: Vec<u32> = own.into_iter().chain(others).take(MAX_NEAR).collect();
    numbers.sort_unstable();
    let rules = numbers.into_iter().filter_map(|number| policy.rule(number));
    rules.map(|rule| NearMiss { rule: Arc::clone(rule), misses: misses(rule, call) }).collect()
}

fn misses(rule: &Rule, call: &Call) -> Vec<Miss> {
    let tests = rule.tests();
    let mut misses = Vec::new();
    if !rule.allow().methods().contains(&call.method) {
        misses.push(Miss::Method);
    }
    if !rule.is_for(call.caller.as_ref()) {
        misses.push(Miss::Caller);
    }
    match fits_content(rule, call) {
        // A call with another method would have another body.
        Ok(false) if misses.is_empty() => misses.push(Miss::ContentType),
        Ok(_) => {}
        Err(fault) => misses.push(Miss::Unclear(fault)),
    }
    match tests.query.first_miss(&call.query, Reading::Every) {
        Ok(None) => {}
        Ok(Some(miss)) => misses.push(Miss::Query(miss.to_string())),
        Err(fault) => misses.push(Miss::Unclear(fault.into())),
    }
    if let Some(body) = &call.body {
        match tests.body.first_miss(body) {
            Ok(None) => {}
            Ok(Some((pointer, test))) => misses.push(Miss::Body(body_miss(pointer.as_str(), test))),
            Err(fault) => misses.push(Miss::Unclear(fault.into())),
        }
    }
    misses
}

fn body_miss(pointer: &str, test: &Test) -> String {
    format!("{pointer} must {test}")
}

/// The refusal of a body that rules look into and that is larger than may be held.
pub fn held_too_large(limit: ByteSize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!(
            "A rule for this call looks into its body, which may then have at most {limit}. Send less, or ask the \
             site's administrator to raise `max-held-body`."
        ),
    )
    .with_extra("limit", limit.0)
}

/// What helps a caller whose key was sent through the relay: a sentence to follow another.
pub fn new_key_for(caller: Option<&CallerName>) -> String {
    let caller = caller.map_or("NAME", CallerName::as_str);
    format!(
        " Make a new key with `outhaul-agent caller rotate {caller}` on the site, and send it under the site's own name only."
    )
}

/// The refusal of a call that names nobody, where the rule makes it as a person. It is never made as somebody else
/// instead.
pub fn nobody_named() -> Problem {
    Problem::new(
        Code::ActAsRequired,
        "The rule for this call makes it as a person. Name that person in Outhaul-Act-As, as in teams:4f2c….",
    )
}

/// More near misses than a person reads.
const MAX_NEAR: usize = 16;
