//! Tells two policies apart: what the file says now from what a running agent decides by.

use std::fmt::Write as _;

use crate::agent::policy::Policy;

/// The same for policies that decide alike and whose rules stand in the same places; made to be compared between
/// programs of one version, and kept nowhere.
pub fn digest(policy: &Policy) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for rule in policy.rules() {
        context.update(format!("{rule:?}\n").as_bytes());
    }
    for denial in policy.denials() {
        context.update(format!("{denial:?}\n").as_bytes());
    }
    context.update(policy.max_held_body().0.to_string().as_bytes());
    let hash = context.finish();
    hash.as_ref().iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
