//! Proposes the rule that a caller lacks, or says why it should have none.

use std::fmt::Write as _;

use http::Method;
use serde::Serialize;

use crate::agent::policy::explain::{ShownDenial, ShownRule};
use crate::agent::policy::profiles;
use crate::agent::policy::{CanonicalPath, Identity, Part, Policy, Rule, Target};
use crate::common::ids::{CallerName, UpstreamName};

/// A kind of call that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Who called.
    pub caller: CallerName,
    /// The application.
    pub upstream: UpstreamName,
    /// The method.
    pub method: Method,
    /// The path with its values taken out.
    pub shape: String,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "advice")]
pub enum Advice {
    /// Add this rule, if the call should pass.
    Add(Box<Proposal>),
    /// Nothing: a rule allows it by now.
    Allowed {
        /// Which.
        rule: ShownRule,
    },
    /// Look closer: a rule is about these calls, but asks for more than these had.
    LookCloser {
        /// Which.
        rule: ShownRule,
    },
    /// Nothing: it is denied, whatever any rule allows.
    Denied {
        /// By what.
        denial: ShownDenial,
    },
    /// Nothing: only the agent's own provisioning does this.
    HeldBack {
        /// The rule of the profile.
        rule: ShownRule,
    },
    /// Nothing: no rule could say this.
    Unsayable,
}

/// A rule to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// The lines to paste. What only a person can say is left empty, and is refused until it is filled in.
    pub toml: String,
    /// As whom, if the caller's other rules say.
    pub identity: Option<String>,
    /// The rule the identity is from.
    pub identity_from: Option<String>,
    /// Rules for other callers that allow just this.
    pub for_others: Vec<ShownRule>,
    /// Rules of shipped profiles that allow just this, with conditions thought out.
    pub in_profiles: Vec<ShownRule>,
}
