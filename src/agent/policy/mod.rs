//! Decides whether a call may pass, and as whom. Pure: no file, no socket, no clock.
//!
//! Entry point: [`authorise`], the only place that makes a [`Permit`]; the proxy sends nothing without one. Whatever
//! no [`Rule`] allows is refused. [`explain`] tells a person which rule decides, and why. Called by
//! `agent::front`; the rules come from `agent::config`.

pub mod explain;
mod matcher;
mod path;
mod query;
pub mod route;
mod rule;
pub mod tools;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use http::Method;

use crate::common::ids::{CallerName, UpstreamName};
use crate::common::limits::ByteSize;
use crate::common::problem::{Code, Problem};

use matcher::Matcher;
pub use path::{CanonicalPath, MAX_PATH, PathFault};
pub use query::Query;
pub use rule::{Allow, Identity, MAX_PARTS, Methods, Part, Place, Rule, RuleFault};

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
}

/// All rules of a site, ready to decide.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Arc<Rule>>,
    matchers: HashMap<UpstreamName, Matcher>,
}

impl Policy {
    /// Compiles the rules, in the order of the file.
    pub fn compile(rules: Vec<Rule>) -> Self {
        let mut matchers: HashMap<UpstreamName, Matcher> = HashMap::new();
        for (number, rule) in rules.iter().enumerate() {
            matchers.entry(rule.upstream().clone()).or_default().insert(rule.allow().pattern(), number);
        }
        Self { rules: rules.into_iter().map(Arc::new).collect(), matchers }
    }

    /// The rules, in the order of the file.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// All rules whose upstream and path fit, in order.
    fn on_path(&self, call: &Call) -> Vec<&Arc<Rule>> {
        let numbers = self.matchers.get(&call.upstream).map(|matcher| matcher.find(&call.path));
        numbers.unwrap_or_default().into_iter().filter_map(|number| self.rules.get(number)).collect()
    }
}

/// The right to send one call. Only [`authorise`] makes it.
#[derive(Debug, Clone)]
pub struct Permit {
    call: Call,
    rule: Arc<Rule>,
}

impl Permit {
    /// The method to send.
    pub fn method(&self) -> &Method {
        &self.call.method
    }

    /// The application to send it to.
    pub fn upstream(&self) -> &UpstreamName {
        &self.call.upstream
    }

    /// The path to send, after the application's context path.
    pub fn path(&self) -> &CanonicalPath {
        &self.call.path
    }

    /// The query to send, byte for byte.
    pub fn query(&self) -> Option<&str> {
        self.call.query.as_str()
    }

    /// Who calls.
    pub fn caller(&self) -> Option<&CallerName> {
        self.call.caller.as_ref()
    }

    /// As whom it must be sent.
    pub fn identity(&self) -> &Identity {
        self.rule.identity()
    }

    /// The rule that allows it.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The largest request body, where the rule says; else the upstream's own limit holds.
    pub fn max_body(&self) -> Option<ByteSize> {
        self.rule.max_body()
    }
}

/// Why no rule allows a call.
#[derive(Debug, Clone)]
pub struct Refusal {
    call: Box<Call>,
    near: Vec<NearMiss>,
}

/// A rule that would allow the call but for one thing.
#[derive(Debug, Clone)]
pub struct NearMiss {
    /// The rule.
    pub rule: Arc<Rule>,
    /// What keeps it from applying.
    pub miss: Miss,
}

/// What keeps a rule on the same path from applying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// It is for other methods.
    Method,
    /// It is for other callers.
    Caller,
    /// Both.
    MethodAndCaller,
}

/// Decides: the earliest rule that fits method, path and caller allows the call.
pub fn authorise(policy: &Policy, call: &Call) -> Result<Permit, Refusal> {
    let refuse = |near| Err(Refusal { call: Box::new(call.clone()), near });
    if !Methods::knows(&call.method) {
        return refuse(Vec::new());
    }
    let mut near = Vec::new();
    for rule in policy.on_path(call) {
        let miss = match (rule.allow().methods().contains(&call.method), rule.is_for(call.caller.as_ref())) {
            (true, true) => return Ok(Permit { call: call.clone(), rule: Arc::clone(rule) }),
            (false, true) => Miss::Method,
            (true, false) => Miss::Caller,
            (false, false) => Miss::MethodAndCaller,
        };
        if near.len() < MAX_NEAR {
            near.push(NearMiss { rule: Arc::clone(rule), miss });
        }
    }
    refuse(near)
}

impl Refusal {
    /// The rules that came nearest, in the order of the file.
    pub fn near(&self) -> &[NearMiss] {
        &self.near
    }

    /// The refusal that the caller sees. It tells the caller's own near misses only, not what others may do.
    pub fn problem(&self) -> Problem {
        let Call { method, upstream, path, .. } = self.call.as_ref();
        if !Methods::knows(method) {
            let text = "Use GET, HEAD, POST, PUT, PATCH or DELETE; no rule can allow another method.";
            return Problem::new(Code::MethodRefused, text);
        }
        let others = self.near.iter().filter(|near| near.miss == Miss::Method);
        let allowed = others.fold(Methods::default(), |sum, near| sum.and(near.rule.allow().methods()));
        let mut detail =
            format!("No rule of this site allows {method} {path} on {upstream} for this caller.");
        if allowed != Methods::default() {
            let _ = write!(detail, " On this path it may use {allowed}.");
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
}

/// More near misses than a person reads.
const MAX_NEAR: usize = 16;

#[cfg(test)]
mod tests;
