//! What a check found, and how it is shown.

use std::fmt::Write as _;

use serde::Serialize;

use crate::common::report::Report;

/// How bad it is. In the order of badness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing to do.
    Note,
    /// Works, but not as it should, or not for long.
    Warning,
    /// Does not work.
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check: `relay: TLS`. The names stand in docs/doctor.md.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found, in a sentence. Without secrets.
    pub text: String,
    /// What to do; always there for a warning or a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, text: text.into(), action: None }
    }

    /// Worth knowing.
    pub fn note(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, level: Level::Note, text: text.into(), action: None }
    }

    /// Not as it should be, and what to do.
    pub fn warning(check: &'static str, text: impl Into<String>, action: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, text: text.into(), action: Some(action.into()) }
    }

    /// Does not work, and what to do.
    pub fn failure(check: &'static str, text: impl Into<String>, action: impl Into<String>) -> Self {
        Self { check, level: Level::Failure, text: text.into(), action: Some(action.into()) }
    }

    /// From a report: its remedy is the action, and `otherwise` where it has none.
    pub fn reported(check: &'static str, report: &Report, otherwise: &str) -> Self {
        Self::failure(check, report.what().trim_end(), report.remedy().unwrap_or(otherwise))
    }
}

/// An error with its causes, as a sentence.
pub(super) fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    Report::from_error(crate::common::report::Exit::Found, error).what().to_owned()
}

/// What another machine sent, fit to be shown.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(200).collect()
}

/// All findings for a person: a line for each, and below it what to do.
pub(super) fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "WARNING",
            Level::Failure => "FAILED",
        };
        let indent = " ".repeat(9 + width + 2);
        let words = finding.text.replace('\n', &format!("\n{indent}"));
        let _ = writeln!(text, "{level:<7}  {:<width$}  {words}", finding.check);
        if let Some(action) = &finding.action {
            let action = action.replace('\n', &format!("\n{indent}   "));
            let _ = writeln!(text, "{indent}-> {action}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_below_what_is_wrong() {
        let findings = [
            Finding::ok("config", "fine"),
            Finding::failure("relay: TCP", "no way\nat all", "Open the firewall.\nThen again."),
        ];
        assert_eq!(
            text(&findings),
            "ok       config      fine\n\
             FAILED   relay: TCP  no way\n                     at all\n                     \
             -> Open the firewall.\n                        Then again.\n"
        );
    }

    #[test]
    fn what_others_send_can_not_play_tricks_on_a_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\r\n\u{9b}c"), "a[2Jbc");
        assert_eq!(shown(&"x".repeat(1000)).len(), 200);
    }
}
