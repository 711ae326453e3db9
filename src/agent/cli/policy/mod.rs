//! `policy explain|list|test|diff`: from files, without a daemon; `policy suggest` asks the running one.

mod arguments;
mod asking;
mod daemon;
mod diff;
mod expectations;
mod explain;
mod headers;
mod suggest;
mod test;

use std::path::Path;

use serde_json::json;

pub use arguments::{Diff, Explain, Policy, Proof, Suggest, Test};

use crate::agent::config::Config;
use crate::agent::policy::explain::{ShownDenial, ShownRule};
use crate::common::ids::CallerName;
use crate::common::report::Report;
use crate::terminal;

/// Does one of them.
pub fn policy(file: &Path, what: &Policy, json: bool) -> Result<(), Report> {
    match what {
        Policy::Explain(call) => explain::run(file, call, json),
        Policy::List => {
            list(&Config::load(file)?, json);
            Ok(())
        }
        Policy::Test(what) => test::test(&Config::load(file)?, what, json),
        Policy::Diff(what) => diff::diff(what, json),
        Policy::Suggest(what) => suggest::suggest(file, what, json),
    }
}

fn list(config: &Config, json: bool) {
    let rules: Vec<ShownRule> = config.policy.rules().iter().map(|rule| ShownRule::of(rule)).collect();
    let denials: Vec<ShownDenial> =
        config.policy.denials().iter().map(|denial| ShownDenial::of(denial)).collect();
    if json {
        terminal::say_json(&json!({ "denied": denials, "rules": rules }));
        return;
    }
    let who = |callers: &[CallerName]| match callers {
        [] => "any".to_owned(),
        callers => callers.iter().map(CallerName::as_str).collect::<Vec<_>>().join(", "),
    };
    if !denials.is_empty() {
        let mut rows = vec![["DENIED", "UPSTREAM", "CALLERS", "WHY", "WHERE"].map(str::to_owned).to_vec()];
        rows.extend(denials.into_iter().map(|denial| {
            let upstream = denial.upstream.map_or_else(|| "any".to_owned(), |upstream| upstream.to_string());
            vec![denial.deny, upstream, who(&denial.callers), denial.why, denial.place]
        }));
        terminal::say(&terminal::table(&rows));
        terminal::say("");
    }
    if rules.is_empty() {
        terminal::say("No rules: every call is refused. Write [[policy.rule]] tables to allow some.");
        return;
    }
    let mut rows = vec![["RULE", "UPSTREAM", "CALLERS", "AS", "WHY", "WHERE"].map(str::to_owned).to_vec()];
    rows.extend(rules.into_iter().map(|rule| {
        let more = if rule.conditions.is_empty() && rule.terms.is_empty() { "" } else { " (and more)" };
        vec![
            format!("{}{more}", rule.allow),
            rule.upstream.to_string(),
            who(&rule.callers),
            rule.identity,
            rule.why,
            rule.place,
        ]
    }));
    terminal::say(&terminal::table(&rows));
    terminal::say(
        "Whatever no rule allows is refused. “and more”: `policy explain` shows what else it asks.",
    );
}
