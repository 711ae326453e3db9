//! `policy suggest`: asks the running agent what it refused, and proposes rules by the configuration file.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::super::understood;
use super::arguments::Suggest;
use super::{asking, daemon};
use crate::agent::admin::refusals::{RefusalsReport, RefusedLine};
use crate::agent::config::Config;
use crate::agent::policy::tools::suggest::{Advice, Kind};
use crate::common::report::{Exit, Report};
use crate::net::local::Client;
use crate::terminal;

/// Asks and proposes.
pub(super) fn suggest(file: &Path, what: &Suggest, json: bool) -> Result<(), Report> {
    let config = Config::load(file).map_err(|report| daemon::beside(file, report))?;
    let caller = asking::caller(what.caller.as_deref())?;
    let client = Client::new(&config.admin_socket, super::super::PROGRAM);
    let document = terminal::block_on(async { client.get("/policy/refusals").await })?;
    let mut report: RefusalsReport = understood(document)?;
    if let Some(caller) = &caller {
        report.refused.retain(|line| line.caller == caller.as_str());
    }
    let mut advised = Vec::new();
    let mut shipped = HashMap::new();
    for line in &report.refused {
        let kind = kind(line)?;
        let shipped =
            shipped.entry(kind.upstream.clone()).or_insert_with(|| Config::shipped_rules(&kind.upstream));
        advised.push((line, asking::advice(&config, shipped, &kind)));
    }
    if json {
        let suggestions: Vec<_> =
            advised.iter().map(|(line, advice)| json!({ "refused": line, "advice": advice })).collect();
        terminal::say_json(&json!({
            "since": report.since,
            "suggestions": suggestions,
            "other": report.other,
        }));
    } else {
        terminal::say(&text(file, &report, &advised, caller.is_some()));
    }
    Ok(())
}

fn kind(line: &RefusedLine) -> Result<Kind, Report> {
    let unknown = |what: &str| {
        Report::new(
            Exit::Protocol,
            format!("the running agent names a refused call with a {what} that can't be"),
        )
        .with_remedy("The daemon is probably of another version: run `systemctl restart outhaul-agent`.")
    };
    Ok(Kind {
        caller: line.caller.parse().map_err(|_| unknown("caller"))?,
        upstream: line.upstream.parse().map_err(|_| unknown("upstream"))?,
        method: line.method.parse().map_err(|_| unknown("method"))?,
        shape: line.shape.clone(),
        code: line.code.clone(),
    })
}

fn text(file: &Path, report: &RefusalsReport, advised: &[(&RefusedLine, Advice)], one: bool) -> String {
    let mut text = String::new();
    if advised.is_empty() {
        let whose = if one { " of this caller's" } else { "" };
        let _ = writeln!(text, "Nothing{whose} was refused by the policy since {}.", report.since);
    } else {
        let _ = writeln!(text, "Refused by the policy since {}:", report.since);
    }
    for (line, advice) in advised {
        let times = if line.calls == 1 { "once" } else { &format!("{} times", line.calls) };
        let _ = writeln!(
            text,
            "\n{}  {} {} on {}  ({times}, last at {})",
            line.caller, line.method, line.shape, line.upstream, line.last
        );
        for part in advice.text(&file.display().to_string()).lines() {
            let _ = writeln!(text, "{}{part}", if part.is_empty() { "" } else { "  " });
        }
    }
    if report.other > 0 {
        let _ = writeln!(
            text,
            "\n{} more refused calls are counted without their paths: there are too many kinds of them, or no rule \
             could allow their method.",
            report.other
        );
    }
    text
}
