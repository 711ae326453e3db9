//! Decides whether a call may pass, and as whom. Pure: no file, no socket, no clock.
//!
//! Entry point: [`authorise`], the only place that makes a [`Permit`]; the proxy sends nothing without one. In this
//! order: what is always denied ([`always_denied`]), what a [`Denial`] names, the first [`Rule`] that fits, and what
//! that rule asks of the call. Whatever no rule allows is refused. [`decide`] is the same without counting the
//! call, and [`explain`] tells a person which rule decides, and why. Called by `agent::front`; the rules come from
//! `agent::config`.

mod always;
mod body;
mod content;
mod decide;

pub mod explain;
mod guarded;
mod hidden;
mod matcher;
mod path;
pub mod profiles;
mod query;
mod rate;
mod refusal;
pub mod route;
mod rule;
mod target;
pub mod tools;
mod trust;
mod value;

use std::sync::Arc;

use fnv::FnvHashMap;
use http::Method;

use crate::common::ids::{CallerName, UpstreamName};
use crate::common::limits::ByteSize;

pub use always::{always_denied, always_denied_paths};
pub use body::{BodyTest, HeldBody, JsonFault, Pointer, PointerFault};
pub use content::{Content, ContentFault, MediaType, MediaTypeFault};
pub use decide::{Permit, authorise, decide};
pub use guarded::{GUARDED_DEMANDS, guarded, guarded_calls, reaches_guarded};
pub use hidden::Earlier;
use matcher::Matcher;
pub use path::{CanonicalPath, MAX_PATH, PathFault};
pub use query::{Query, QueryFault, QueryMiss, QueryTest};
pub use rate::{MAX_COUNT, Meters, Rate, RateFault};
pub use refusal::{Miss, NearMiss, Reason, Refusal, Unclear, held_too_large, new_key_for, nobody_named};
pub use rule::{Denial, Identity, Place, Rule, Terms, Tests};
pub use target::{DeniedTarget, MAX_PARTS, Methods, Part, RuleFault, Target};
pub use trust::{Channel, Demand, DemandFault, EXPOSED, Lack, Trust};
pub use value::{Pattern, Test, Wanted};

/// A call as the policy sees it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The application it is for.
    pub upstream: UpstreamName,
    /// The path within the application, after its context path.
    pub path: CanonicalPath,
    /// The query.
    pub query: Query,
    /// Who calls; `None` is a caller that no rule names.
    pub caller: Option<CallerName>,
    /// What is proved about it.
    pub trust: Trust,
    /// What its head says about its body.
    pub content: Content,
    /// Its body, if it was held: see [`Policy::holds_body`].
    pub body: Option<HeldBody>,
}

impl Call {
    /// A call of which nothing more is known: the relay's word for who calls, and no body.
    pub fn new(
        method: Method,
        upstream: UpstreamName,
        path: CanonicalPath,
        query: Query,
        caller: Option<CallerName>,
    ) -> Self {
        let (trust, content) = (Trust::default(), Content::default());
        Self { method, upstream, path, query, caller, trust, content, body: None }
    }
}

/// All rules of a site, ready to decide.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Arc<Rule>>,
    denials: Vec<Arc<Denial>>,
    upstreams: FnvHashMap<UpstreamName, Compiled>,
    max_held_body: ByteSize,
}

/// The rules of one upstream.
#[derive(Debug, Default)]
struct Compiled {
    allowed: Matcher,
    denied: Matcher,
    looks_into_bodies: bool,
}

impl Policy {
    /// The largest body that is held for conditions, unless the configuration says otherwise.
    pub const DEFAULT_HELD_BODY: ByteSize = ByteSize::kib(64);
    /// No configuration may set a higher one: as many bodies may be held as there are calls under way.
    pub const MAX_HELD_BODY: ByteSize = ByteSize::mib(1);

    /// Compiles the rules that allow; the order decides.
    pub fn compile(rules: Vec<Rule>) -> Self {
        Self::with_denials(rules, Vec::new())
    }

    /// Compiles the rules that allow and those that deny.
    pub fn with_denials(rules: Vec<Rule>, denials: Vec<Denial>) -> Self {
        let mut upstreams: FnvHashMap<UpstreamName, Compiled> = FnvHashMap::default();
        for (rule, number) in rules.iter().zip(0..) {
            let compiled = upstreams.entry(rule.upstream().clone()).or_default();
            compiled.allowed.insert(rule.allow().pattern(), rule.callers(), number);
            compiled.looks_into_bodies |= !rule.tests().body.is_empty();
        }
        for (denial, number) in denials.iter().zip(0..) {
            let insert = |compiled: &mut Compiled| {
                compiled.denied.insert_wide(denial.deny().pattern(), denial.callers(), number);
            };
            match denial.upstream() {
                Some(upstream) => insert(upstreams.entry(upstream.clone()).or_default()),
                None => upstreams.values_mut().for_each(insert),
            }
        }
        Self {
            rules: rules.into_iter().map(Arc::new).collect(),
            denials: denials.into_iter().map(Arc::new).collect(),
            upstreams,
            max_held_body: Self::DEFAULT_HELD_BODY,
        }
    }

    /// The same, with another limit for bodies that conditions look into.
    #[must_use]
    pub fn with_max_held_body(mut self, limit: ByteSize) -> Self {
        self.max_held_body = limit.min(Self::MAX_HELD_BODY);
        self
    }

    /// The rules that allow, in the order in which they are tried.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The rules that deny, in the order of the file.
    pub fn denials(&self) -> &[Arc<Denial>] {
        &self.denials
    }

    /// The largest body that is held for conditions.
    pub fn max_held_body(&self) -> ByteSize {
        self.max_held_body
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::compile(Vec::new())
    }
}

#[cfg(test)]
mod tests;
