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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::policy::{Identity, Place, Rule, Trust};

    fn expectation(call: &str, allowed: bool) -> Expectation {
        let (method, target) = call.split_once(' ').unwrap();
        let call = Asked {
            method: method.parse().unwrap(),
            upstream: "jira".parse().unwrap(),
            target: target.to_owned(),
            caller: None,
            person: None,
            content_type: None,
            body: None,
            trust: Trust::default(),
        };
        Expectation { call, allowed, rule: None, code: None, identity: None }
    }

    #[test]
    fn what_is_otherwise_is_said_with_what_decided() {
        let place = Place { file: "agent.toml".into(), line: 7 };
        let identity = Identity::Service("x".parse().unwrap());
        let rule = Rule::new("GET /a/*".parse().unwrap(), "w", "jira".parse().unwrap(), identity, place);
        let policy = Policy::compile(vec![rule]);
        let by = |rule: &str| Expectation { rule: Some(rule.to_owned()), ..expectation("GET /a/b", true) };
        let coded = |code: &str| Expectation { code: Some(code.to_owned()), ..expectation("GET /b", false) };
        let named =
            |name: &str| Expectation { identity: Some(name.to_owned()), ..expectation("GET /a/b", true) };
        for (expectation, says) in [
            (expectation("GET /a/b", true), None),
            (expectation("GET /b", false), None),
            (by("agent.toml:7"), None),
            (by("GET /a/*"), None),
            (coded("policy-refused"), None),
            (named("service x"), None),
            (
                expectation("GET /a/b", false),
                Some("deny was expected, but allowed by agent.toml:7 (GET /a/*) as service x"),
            ),
            (
                expectation("POST /a/b", true),
                Some("allow was expected, but refused as policy-refused: no rule fits; near: agent.toml:7"),
            ),
            (
                expectation("GET /a/..", true),
                Some("but refused as ambiguous-path: A segment of the path is . or .."),
            ),
            (by("agent.toml:8"), Some("the rule agent.toml:8 was expected, but allowed by agent.toml:7")),
            (
                coded("method-refused"),
                Some(
                    "the code method-refused was expected, but refused as policy-refused: no rule is about this path",
                ),
            ),
            (named("anonymous"), Some("a call as anonymous and not as service x was expected")),
        ] {
            let said = expectation.judge(&policy);
            match (&said, says) {
                (None, None) => {}
                (Some(said), Some(says)) => assert!(said.contains(says), "{said}"),
                _ => panic!("{says:?}: {said:?}"),
            }
        }
    }
}
