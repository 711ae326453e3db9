//! An explanation for people.

use std::fmt;

use super::{Explanation, ShownDenial, ShownRule};

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "refused" };
        writeln!(formatter, "{verdict}: {} {}", self.method, self.path)?;
        line(formatter, "upstream", self.upstream.as_str())?;
        match &self.caller {
            Some(caller) => line(formatter, "caller", caller.as_str())?,
            None => line(formatter, "caller", "one that no rule names (--caller NAME asks for another)")?,
        }
        if let Some(rule) = &self.rule {
            self::rule(formatter, rule)?;
        }
        if let Some(denial) = &self.denial {
            self::denial(formatter, denial)?;
        }
        if let Some(because) = &self.because {
            line(formatter, "but", because)?;
        }
        if let Some(answer) = &self.answer {
            writeln!(formatter, "  the caller sees {} {}: {}", answer.status, answer.code, answer.detail)?;
        }
        let silent = self.rule.is_none() && self.denial.is_none() && self.near.is_empty();
        if silent && self.answer.as_ref().is_some_and(|answer| answer.status == 403) {
            writeln!(formatter, "  no rule is about this path")?;
        }
        for near in &self.near {
            line(formatter, "near", &format!("{}: {} ({})", near.rule.place, near.rule.allow, near.because))?;
        }
        if let Some(hint) = &self.hint {
            line(formatter, "hint", hint)?;
        }
        Ok(())
    }
}

fn rule(formatter: &mut fmt::Formatter<'_>, rule: &ShownRule) -> fmt::Result {
    line(formatter, "rule", &format!("{}: {}", rule.place, rule.allow))?;
    line(formatter, "why", &rule.why)?;
    line(formatter, "for", &rule.who())?;
    line(formatter, "as", &rule.identity)?;
    for condition in &rule.conditions {
        line(formatter, "if", condition)?;
    }
    for term in &rule.terms {
        line(formatter, "terms", term)?;
    }
    if let Some(limit) = &rule.max_body {
        line(formatter, "max-body", limit)?;
    }
    Ok(())
}

fn denial(formatter: &mut fmt::Formatter<'_>, denial: &ShownDenial) -> fmt::Result {
    line(formatter, "denied", &format!("{}: {}", denial.place, denial.deny))?;
    line(formatter, "why", &denial.why)?;
    if !denial.callers.is_empty() {
        line(formatter, "for", &denial.who())?;
    }
    for condition in &denial.conditions {
        line(formatter, "if", condition)?;
    }
    Ok(())
}

/// A word, and what it says.
fn line(formatter: &mut fmt::Formatter<'_>, word: &str, says: &str) -> fmt::Result {
    writeln!(formatter, "  {word:<9} {says}")
}
