//! Check `config`: the file, and everything on this machine that it names.

use super::{Context, Finding};
use crate::common::report::Report;

const CHECK: &str = "config";

/// What `check-config` looks at, but for the store's key, which has a check of its own.
pub(super) fn check(context: &Context) -> Vec<Finding> {
    let file = context.file.display();
    let found = context.config.check().into_iter().filter(|found| found.subject != "store key");
    let (hints, faults): (Vec<_>, Vec<_>) = found.partition(|found| found.hint.is_some());
    let mut findings: Vec<Finding> = faults
        .into_iter()
        .filter_map(|found| Some((found.subject, found.fault?)))
        .map(|(subject, fault)| {
            let action = format!(
                "Put that right, or change what {file} names; `outhaul-agent check-config` shows all."
            );
            Finding::failure(CHECK, format!("{subject}: {fault}"), action)
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("{file} and all that it names are sound")));
    }
    let hints = hints.into_iter().filter_map(|found| Some(format!("{}: {}.", found.subject, found.hint?)));
    findings.extend(hints.map(|hint| Finding::note(CHECK, hint)));
    findings
}

/// For a file that can't be read, or has faults.
pub(super) fn unreadable(report: &Report) -> Finding {
    Finding::reported(CHECK, report, "Correct the file; nothing else can be looked at before.")
}
