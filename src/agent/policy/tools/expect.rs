//! Calls that a policy must allow or refuse, and whether it does.

use crate::agent::policy::Policy;
use crate::agent::policy::tools::asked::{Asked, decide};

/// One call and what must come of it.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The call.
    pub call: Asked,
    /// Whether it must be allowed.
    pub allowed: bool,
    /// The deciding rule: its place, or its `allow` or `deny` as written.
    pub rule: Option<String>,
    /// The code that the caller must see.
    pub code: Option<String>,
    /// As whom it must be made, as `explain` shows it: `service reader`.
    pub identity: Option<String>,
}

impl Expectation {
    /// What is otherwise than expected, in words; nothing if all is as expected.
    pub fn judge(&self, policy: &Policy) -> Option<String> {
        let decision = decide(policy, &self.call);
        let what = |wanted: &str| Some(format!("{wanted} was expected, but {}", decision.words()));
        if self.allowed != decision.rule().is_some() {
            return what(if self.allowed { "allow" } else { "deny" });
        }
        if let Some(rule) = &self.rule
            && !decision.is_by(rule)
        {
            return what(&format!("the rule {rule}"));
        }
        if let Some(code) = &self.code
            && decision.code().is_none_or(|is| is.as_str() != code)
        {
            return what(&format!("the code {code}"));
        }
        if let Some(identity) = &self.identity
            && decision.identity().as_ref() != Some(identity)
        {
            let is = decision.identity().unwrap_or_else(|| "nobody".to_owned());
            return what(&format!("a call as {identity} and not as {is}"));
        }
        None
    }
}
