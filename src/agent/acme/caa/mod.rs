//! Who may issue for a name, as its CAA records say: the lines to set, and what those that are set mean.
//!
//! A relay that is hostile can answer tls-alpn-01 (RFC 8737) for every name that leads to it. What keeps it from a
//! certificate is the account: RFC 8657 binds a name to one account of one authority, and to one way of validation.
//! Pure; the records are looked up elsewhere (RFC 8659 section 3: at the name, then at each of its parents).

mod evaluate;
mod value;

pub use evaluate::{Finding, OpenTo, evaluate};

/// One CAA record (RFC 8659 section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// An authority that does not know the tag must not issue.
    pub critical: bool,
    /// What it is about: `issue`, `issuewild`, `iodef`, …
    pub tag: String,
    /// What it says.
    pub value: Vec<u8>,
}

/// Whom the records should let issue.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What the authority calls itself in CAA records; any of them does.
    pub identities: &'a [String],
    /// The URI of this agent's account there.
    pub account: &'a str,
}

/// The method that the agent answers.
pub const METHOD: &str = "tls-alpn-01";

/// The lines to set for a name, as in a zone file. One is enough; the first name of the authority is its usual one.
/// Nothing where the authority's name is not known, or the account's URI can't stand in a record.
pub fn lines(name: &str, wanted: &Wanted<'_>) -> Vec<String> {
    if !value::fits(wanted.account) {
        return Vec::new();
    }
    let line = |identity: &String| {
        format!(
            "{name}. IN CAA 0 issue \"{identity}; accounturi={}; validationmethods={METHOD}\"",
            wanted.account
        )
    };
    wanted.identities.first().map(line).into_iter().collect()
}

/// The names to ask for records, in order: the name itself, then its parents, without the root.
pub fn climb(name: &str) -> impl Iterator<Item = &str> {
    let name = name.trim_end_matches('.');
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
