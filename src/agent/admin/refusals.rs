//! What the policy refused since the agent started: one definition for the daemon that counts and the command that
//! suggests rules.

use serde::{Deserialize, Serialize};

/// All that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalsReport {
    /// When counting began: when the process started, RFC 3339.
    pub since: String,
    /// The kinds of calls, the most frequent first.
    pub refused: Vec<RefusedLine>,
    /// Calls that found no place among them.
    pub other: u64,
}

/// One caller's refused calls of one kind. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLine {
    /// Who called.
    pub caller: String,
    /// The application.
    pub upstream: String,
    /// The method.
    pub method: String,
    /// The path with its values taken out, as a rule would say it.
    pub shape: String,
    /// How many.
    pub calls: u64,
    /// The code of the last refusal.
    pub code: String,
    /// The first of them.
    pub first: String,
    /// The last of them.
    pub last: String,
}
