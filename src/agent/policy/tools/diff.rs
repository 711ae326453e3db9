//! What two policies decide differently about the same calls.

use serde::Serialize;

use super::asked::{Asked, decide};
use crate::agent::policy::Policy;

/// One call that is decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What changes.
    pub change: Kind,
    /// What the old policy does, in words.
    pub old: String,
    /// What the new policy does, in words.
    pub new: String,
}

/// What may change about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It passed, and would not.
    Refused,
    /// It did not pass, and would.
    Allowed,
    /// It would be made as somebody else.
    Identity,
    /// Another rule would allow it, or the same rule on other terms.
    Rule,
    /// It would be refused with another code.
    Code,
}

/// What changes for a call, if anything does. That a rule stands in another line is no change.
/// The call is given twice, as each configuration reads its address.
pub fn compare(old: &Policy, new: &Policy, before: &Asked, after: &Asked) -> Option<Change> {
    let (before, after) = (decide(old, before), decide(new, after));
    let change = match (before.rule(), after.rule()) {
        (Some(_), None) => Kind::Refused,
        (None, Some(_)) => Kind::Allowed,
        (Some(one), Some(other)) if one.identity() != other.identity() => Kind::Identity,
        (Some(one), Some(other)) if one.fingerprint() != other.fingerprint() => Kind::Rule,
        (None, None) if before.code() != after.code() => Kind::Code,
        _ => return None,
    };
    Some(Change { change, old: before.words(), new: after.words() })
}

impl Kind {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Refused => "newly refused",
            Self::Allowed => "newly allowed",
            Self::Identity => "another identity",
            Self::Rule => "another rule",
            Self::Code => "another refusal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::policy::{Identity, Place, Rule, Trust};
    use crate::common::limits::ByteSize;

    fn rule(line: usize, allow: &str, service: &str) -> Rule {
        let place = Place { file: "agent.toml".into(), line };
        let identity = Identity::Service(service.parse().unwrap());
        Rule::new(allow.parse().unwrap(), format!("reason {line}"), "jira".parse().unwrap(), identity, place)
    }

    fn change(old: Vec<Rule>, new: Vec<Rule>, call: &str) -> Option<Kind> {
        let (method, target) = call.split_once(' ').unwrap();
        let asked = Asked {
            method: method.parse().unwrap(),
            upstream: "jira".parse().unwrap(),
            target: target.to_owned(),
            caller: None,
            person: None,
            content_type: None,
            body: None,
            trust: Trust::default(),
        };
        let (old, new) = (Policy::compile(old), Policy::compile(new));
        compare(&old, &new, &asked, &asked).map(|change| change.change)
    }

    #[test]
    fn each_kind_of_change_is_told_and_a_moved_rule_is_none() {
        let one = || vec![rule(1, "GET /a/*", "x")];
        let small = vec![rule(1, "GET /a/*", "x").with_max_body(Some(ByteSize::kib(1)))];
        for (old, new, call, expected) in [
            (one(), vec![], "GET /a/b", Some(Kind::Refused)),
            (vec![], one(), "GET /a/b", Some(Kind::Allowed)),
            (one(), vec![rule(1, "GET /a/*", "y")], "GET /a/b", Some(Kind::Identity)),
            (one(), vec![rule(1, "GET /a/b", "x")], "GET /a/b", Some(Kind::Rule)),
            (one(), small, "GET /a/b", Some(Kind::Rule)),
            (one(), vec![rule(9, "GET /a/*", "x")], "GET /a/b", None),
            (one(), vec![rule(1, "POST /b", "x"), rule(5, "GET /a/*", "x")], "GET /a/b", None),
            (one(), vec![], "GET /b", None),
            (one(), one(), "GET /a/../b", None),
        ] {
            assert_eq!(change(old, new, call), expected, "{call}");
        }
        let place = Place { file: "agent.toml".into(), line: 1 };
        let person =
            Rule::new("GET /a/b".parse().unwrap(), "w", "jira".parse().unwrap(), Identity::User, place);
        assert_eq!(
            change(vec![], vec![person], "GET /a/b"),
            Some(Kind::Code),
            "trust-required is another refusal"
        );
    }
}
