//! `check-config`: the file, and everything on this machine that it names.

use std::path::Path;

use serde_json::json;

use crate::agent::config::Config;
use crate::common::report::{Exit, Report};
use crate::terminal;

/// Looks at all of it; fails if anything is wrong.
pub fn check_config(file: &Path, json: bool) -> Result<(), Report> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(report) if json => {
            terminal::say_json(
                &json!({ "file": file.display().to_string(), "ok": false, "fault": report.to_string() }),
            );
            return Err(report);
        }
        Err(report) => return Err(report),
    };
    let findings = config.check();
    let wrong = findings.iter().filter(|finding| finding.fault.is_some()).count();
    if json {
        let shown = file.display().to_string();
        terminal::say_json(&json!({ "file": shown, "ok": wrong == 0, "findings": findings }));
    } else {
        let mut rows = vec![vec!["configuration file".to_owned(), "ok".to_owned()]];
        rows.extend(findings.iter().map(|finding| {
            let hint = finding.hint.as_ref().map(|hint| format!("note: {hint}."));
            let said = finding.fault.clone().or(hint).unwrap_or_else(|| "ok".to_owned());
            vec![finding.subject.clone(), said]
        }));
        terminal::say(&terminal::table(&rows));
    }
    if wrong == 0 {
        return Ok(());
    }
    let things = if wrong == 1 { "thing" } else { "things" };
    Err(Report::new(Exit::Config, format!("{} names {wrong} {things} that can't be used", file.display()))
        .with_remedy("Each is named above, with what to do."))
}
