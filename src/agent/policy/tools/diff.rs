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
