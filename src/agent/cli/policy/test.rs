//! `policy test FILE`.

use std::fmt::Write as _;

use serde_json::json;

use super::arguments::Test;
use super::asking::Site;
use super::expectations;
use crate::agent::config::Config;
use crate::agent::policy::explain::printable;
use crate::common::report::{Exit, Report};
use crate::terminal;

/// Fails with 1 if an expectation does not hold.
pub(super) fn test(config: &Config, what: &Test, json: bool) -> Result<(), Report> {
    let expected = expectations::load(&what.file, &Site::of(config))?;
    let judged = expected.iter().map(|one| (one, one.expectation.judge(&config.policy)));
    let wrong: Vec<_> = judged.filter_map(|(one, what)| what.map(|what| (one, what))).collect();
    let file = what.file.display().to_string();
    if json {
        let mismatches: Vec<_> = wrong
            .iter()
            .map(
                |(one, what)| json!({ "line": one.line, "call": one.call, "why": one.why, "mismatch": what }),
            )
            .collect();
        terminal::say_json(
            &json!({ "file": file, "expectations": expected.len(), "mismatches": mismatches }),
        );
    } else {
        let mut text = String::new();
        for (one, what) in &wrong {
            let caller = one.expectation.call.caller.as_ref();
            let caller = caller.map(|caller| format!(" as {caller}")).unwrap_or_default();
            let why = one.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            let _ = writeln!(text, "{file}:{}: {}{caller}: {what}{why}", one.line, printable(&one.call));
        }
        if wrong.is_empty() {
            let _ = writeln!(text, "All {} expectations hold.", expected.len());
        }
        terminal::say(&text);
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let text = format!("{} of {} expectations do not hold", wrong.len(), expected.len());
    Err(Report::new(Exit::Found, text).with_remedy(format!(
        "Change the policy or the table; `outhaul-agent policy explain METHOD PATH` tells more about each call in {file}."
    )))
}
