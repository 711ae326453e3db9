//! `[policy]` and its rules.

use std::sync::Arc;

use super::{As, meant, only};
use crate::agent::policy::{Identity, Part, Place, Rule, Target};
use crate::common::ids::{CallerName, ServiceName, UpstreamName};
use crate::common::limits::ByteSize;
use crate::config::diagnose::{Located, Source, Span};
use crate::config::table::Table;

crate::read_as_text!(Target);

/// The names that rules may use.
pub(super) struct Known<'n> {
    pub(super) upstreams: &'n [UpstreamName],
    pub(super) services: &'n [ServiceName],
}

/// All rules without faults. A policy without rules refuses everything, and is none.
pub(super) fn rules<'d>(table: &mut Table<'d>, source: &'d Source<'d>, known: &Known<'_>) -> Vec<Rule> {
    let file: Arc<str> = source.name().rsplit('/').next().unwrap_or_default().into();
    let tables = table.tables("rule");
    if tables.len() > MAX_RULES {
        source.plain_fault(table.at(), format!("there are more than {MAX_RULES} rules"));
        tables.into_iter().for_each(Table::give_up);
        return Vec::new();
    }
    let mut rules: Vec<(Rule, Span)> = Vec::new();
    for mut table in tables {
        if let Some((rule, at)) = rule(&mut table, &file, known) {
            if let Some(before) = rules.iter().find(|(before, _)| hides(before, &rule)) {
                let line = before.0.place().line;
                let what = format!("this rule never decides: the one at line {line} fits every call it fits");
                source.fault(at, what, "move it before that one, or remove one of the two");
            }
            rules.push((rule, at));
        }
    }
    rules.into_iter().map(|(rule, _)| rule).collect()
}

fn rule(table: &mut Table<'_>, file: &Arc<str>, known: &Known<'_>) -> Option<(Rule, Span)> {
    let source = table.source();
    let allow: Option<Located<Target>> = table.required("allow", "\"GET /rest/api/2/issue/*\"");
    let why: Option<Located<String>> = table.required("why", "\"what this is for\"");
    let upstream: Option<Located<UpstreamName>> = table.optional("upstream");
    let callers: Option<Located<Vec<Located<CallerName>>>> = table.optional("caller");
    let identity: Option<As> = table.required("as", "{ service = \"NAME\" }");
    let max_body: Option<ByteSize> = table.optional("max-body");

    if let Some(why) = &why
        && why.value.trim().is_empty()
    {
        source.fault(why.at, "the reason is empty", "write what this rule is for: it is shown by explain");
    }
    if let Some(callers) = &callers {
        check_callers(source, callers);
    }
    let upstream = match (upstream, only(known.upstreams)) {
        (Some(upstream), _) => {
            if !known.upstreams.contains(&upstream.value) {
                let names = known.upstreams.iter().map(UpstreamName::as_str);
                let help = meant(upstream.value.as_str(), names, "upstream");
                source.fault(upstream.at, format!("there is no upstream “{}”", upstream.value), help);
            }
            Some(upstream.value)
        }
        (None, Some(only)) => Some(only.clone()),
        (None, None) => {
            if known.upstreams.len() > 1 {
                table.missing("upstream", "\"NAME\" (it may be left out only where there is one)");
            }
            None
        }
    };
    let identity = match identity? {
        As::User => Identity::User,
        As::Anonymous => Identity::Anonymous,
        As::Service(service) => {
            if !known.services.contains(&service.value) {
                let names = known.services.iter().map(ServiceName::as_str);
                let help = meant(service.value.as_str(), names, "service");
                source.fault(service.at, format!("there is no service “{}”", service.value), help);
            }
            Identity::Service(service.value)
        }
    };
    let allow = allow?;
    let place = Place { file: Arc::clone(file), line: source.line(allow.at) };
    let callers = callers.map(|callers| callers.value).unwrap_or_default();
    let rule = Rule::new(allow.value, why?.value, upstream?, identity, place)
        .for_callers(callers.into_iter().map(|caller| caller.value).collect())
        .with_max_body(max_body);
    Some((rule, allow.at))
}

fn check_callers(source: &Source<'_>, callers: &Located<Vec<Located<CallerName>>>) {
    if callers.value.is_empty() {
        // It could be meant as "nobody", and would mean "anybody".
        source.fault(
            callers.at,
            "the list of callers is empty",
            "name callers, or remove the key to allow any",
        );
    }
    for (index, caller) in callers.value.iter().enumerate() {
        if callers.value.iter().take(index).any(|before| before.value == caller.value) {
            source.fault(caller.at, format!("“{}” is listed twice", caller.value), "remove one of the two");
        }
    }
}

/// Whether the earlier rule takes every call from the later one, and that is not what its author can want: it is
/// the same rule again, or would do something else. A rule that is merely needless is left alone.
fn hides(before: &Rule, rule: &Rule) -> bool {
    let callers = before.callers().is_empty()
        || (!rule.callers().is_empty() && rule.callers().iter().all(|caller| before.is_for(Some(caller))));
    let same = before.allow().pattern() == rule.allow().pattern();
    let other = before.identity() != rule.identity() || before.max_body() != rule.max_body();
    callers
        && (same || other)
        && before.upstream() == rule.upstream()
        && rule.allow().methods().within(before.allow().methods())
        && covers(before.allow().pattern(), rule.allow().pattern())
}

/// Whether each path that fits the right pattern fits the left one too.
fn covers(left: &[Part], right: &[Part]) -> bool {
    match (left.split_first(), right.split_first()) {
        (None, None) | (Some((Part::Rest, _)), Some(_)) => true,
        (Some((Part::Any, left)), Some((Part::Any, right))) => covers(left, right),
        (Some((Part::Any, left)), Some((Part::Literal(text), right))) => {
            !text.is_empty() && covers(left, right)
        }
        (Some((Part::Literal(one), left)), Some((Part::Literal(other), right))) => {
            one == other && covers(left, right)
        }
        _ => false,
    }
}

const MAX_RULES: usize = 2_000;
