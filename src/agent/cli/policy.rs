//! `policy explain|list`: from the file, without a daemon.

use std::path::Path;

use http::Method;
use serde_json::json;

use super::{Explain, Policy};
use crate::agent::config::Config;
use crate::agent::policy::explain::{ShownRule, explain};
use crate::common::ids::{CallerName, UpstreamName};
use crate::common::report::{Exit, Report};
use crate::terminal;

/// Does one of them.
pub fn policy(file: &Path, what: &Policy, json: bool) -> Result<(), Report> {
    let config = Config::load(file)?;
    match what {
        Policy::Explain(call) => decide(&config, call, json),
        Policy::List => {
            list(&config, json);
            Ok(())
        }
    }
}

/// Whether the call is allowed is in the text, not in the exit code: asking succeeded either way.
fn decide(config: &Config, call: &Explain, json: bool) -> Result<(), Report> {
    let usage = |error: &(dyn std::error::Error + 'static)| Report::from_error(Exit::Usage, error);
    let method: Method = call.method.to_ascii_uppercase().parse().map_err(|_| {
        Report::new(Exit::Usage, format!("“{}” is no HTTP method", call.method))
            .with_remedy("Write the method first, then the path: `policy explain GET /rest/api/2/myself`.")
    })?;
    let caller = call.caller.as_deref().map(str::parse::<CallerName>).transpose();
    let caller = caller.map_err(|error| usage(&error))?;
    let upstream = upstream(config, call.upstream.as_deref())?;
    let explanation = explain(&config.policy, &method, &upstream, &call.path, caller.as_ref());
    if json {
        terminal::say_json(&json!(explanation));
    } else {
        terminal::say(&explanation.to_string());
    }
    Ok(())
}

fn upstream(config: &Config, given: Option<&str>) -> Result<UpstreamName, Report> {
    let names: Vec<&UpstreamName> = config.upstreams.iter().map(|upstream| &upstream.name).collect();
    let there_are = || {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        format!("The configuration has: {}.", names.join(", "))
    };
    match (given, names.as_slice()) {
        (Some(given), _) => {
            names.iter().find(|name| name.as_str() == given).map(|name| (*name).clone()).ok_or_else(|| {
                Report::new(Exit::Usage, format!("there is no upstream “{given}”")).with_remedy(there_are())
            })
        }
        (None, [only]) => Ok((*only).clone()),
        (None, _) => {
            Err(Report::new(Exit::Usage, "this site has several upstreams: name one with --upstream")
                .with_remedy(there_are()))
        }
    }
}

fn list(config: &Config, json: bool) {
    let rules: Vec<ShownRule> = config.policy.rules().iter().map(|rule| ShownRule::of(rule)).collect();
    if json {
        terminal::say_json(&json!(rules));
        return;
    }
    if rules.is_empty() {
        terminal::say("No rules: every call is refused. Write [[policy.rule]] tables to allow some.");
        return;
    }
    let mut rows = vec![["RULE", "UPSTREAM", "CALLERS", "AS", "WHY", "WHERE"].map(str::to_owned).to_vec()];
    rows.extend(rules.into_iter().map(|rule| {
        let callers: Vec<&str> = rule.callers.iter().map(CallerName::as_str).collect();
        let callers = if callers.is_empty() { "any".to_owned() } else { callers.join(", ") };
        vec![rule.allow, rule.upstream.to_string(), callers, rule.identity, rule.why, rule.place]
    }));
    terminal::say(&terminal::table(&rows));
    terminal::say("Whatever no rule allows is refused.");
}
