//! What the records that were found mean for this agent, and for everybody else.

use super::value::Issue;
use super::{METHOD, Record, Wanted};

/// One thing that the records say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// This account may issue by this agent's way, and nobody else may.
    Bound,
    /// Nothing is said at the name or above: anyone may issue.
    Absent,
    /// There are records, but none says who may issue: anyone may.
    NobodyNamed,
    /// This agent's account can't issue: the next renewal will fail.
    Shut,
    /// An authority has to know a property that it may not know; then it must refuse.
    Critical {
        /// The property's tag.
        tag: String,
    },
    /// Somebody else may issue too.
    Open {
        /// The record's value.
        value: String,
        /// Who.
        to: OpenTo,
    },
    /// This account is bound, but any way of validation will do.
    AnyMethod,
}

/// Who else may issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenTo {
    /// Any account of this agent's authority.
    AnyAccount,
    /// Another account of it: another agent's, or a stranger's.
    OtherAccount,
    /// Another authority.
    OtherAuthority,
}

/// Looks at the records at the first name that had any (RFC 8659 section 3).
pub fn evaluate(records: &[Record], wanted: &Wanted<'_>) -> Vec<Finding> {
    if records.is_empty() {
        return vec![Finding::Absent];
    }
    let mut findings = Vec::new();
    for record in records.iter().filter(|record| record.critical) {
        if !KNOWN.iter().any(|known| record.tag.eq_ignore_ascii_case(known)) {
            findings.push(Finding::Critical { tag: shown(record.tag.as_bytes()) });
        }
    }
    let issue: Vec<&Record> =
        records.iter().filter(|record| record.tag.eq_ignore_ascii_case("issue")).collect();
    if issue.is_empty() {
        findings.push(Finding::NobodyNamed);
        return findings;
    }
    let (mut may, mut by_method) = (false, false);
    for record in issue {
        // A malformed one lets nobody issue.
        let Some(value) = Issue::parse(&record.value).filter(|value| !value.issuer.is_empty()) else {
            continue;
        };
        let open = |to| Finding::Open { value: shown(&record.value), to };
        let mut ours = |value: &Issue<'_>| {
            let by_us = value.methods.as_ref().is_none_or(|methods| methods.contains(&METHOD));
            may |= by_us;
            by_method |= by_us && value.methods.as_ref().is_some_and(|methods| methods.len() == 1);
        };
        if !wanted.identities.iter().any(|known| known.eq_ignore_ascii_case(value.issuer)) {
            findings.push(open(OpenTo::OtherAuthority));
        } else if value.account.is_none() {
            ours(&value);
            findings.push(open(OpenTo::AnyAccount));
        } else if value.account == Some(wanted.account) {
            ours(&value);
        } else {
            findings.push(open(OpenTo::OtherAccount));
        }
    }
    if !may {
        findings.insert(0, Finding::Shut);
    } else if findings.is_empty() {
        findings.push(if by_method { Finding::Bound } else { Finding::AnyMethod });
    }
    findings
}

/// Of others, safe to print.
fn shown(value: &[u8]) -> String {
    value.iter().take(MAX_SHOWN).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect()
}

const KNOWN: [&str; 3] = ["issue", "issuewild", "iodef"];
const MAX_SHOWN: usize = 300;
