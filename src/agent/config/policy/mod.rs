//! `[policy]`, its rules and its profiles.

mod conditions;
pub(super) mod profile;
mod rule;

use super::{As, meant, only};
use crate::agent::policy::{Earlier, Identity, Policy};
use crate::common::ids::{CallerName, ServiceName, UpstreamName};
use crate::common::limits::ByteSize;
use crate::config::diagnose::{Located, Source};
use crate::config::table::Table;

/// The names that rules may use.
pub(super) struct Known<'n> {
    pub(super) upstreams: &'n [UpstreamName],
    pub(super) services: &'n [ServiceName],
}

/// All rules without faults: the file's own in their order, then those of its profiles. A policy without rules
/// refuses everything, and is none.
pub(super) fn policy<'d>(mut table: Table<'d>, source: &'d Source<'d>, known: &Known<'_>) -> Policy {
    let bounds = ByteSize::kib(1)..=Policy::MAX_HELD_BODY;
    let max_held_body = table.size("max-held-body", bounds, Policy::DEFAULT_HELD_BODY);
    let mut rules = Vec::new();
    let mut denials = Vec::new();
    let mut earlier = Earlier::default();
    let tables = table.tables("rule");
    if tables.len() > MAX_RULES {
        source.plain_fault(table.at(), format!("there are more than {MAX_RULES} rules"));
        tables.into_iter().for_each(Table::give_up);
        table.give_up();
        return Policy::default();
    }
    for mut table in tables {
        let read = rule::read(&mut table, known);
        denials.extend(read.denials);
        for Located { value: rule, at } in read.rules {
            if let Some(before) = earlier.hides(&rule) {
                let line = before.place().line;
                let what = format!("this rule never decides: the one at line {line} fits every call it fits");
                source.fault(at, what, "move it before that one, or remove one of the two");
            }
            rules.push(rule);
        }
    }
    profile::add(&mut table, known, &mut rules);
    if rules.len() + denials.len() > MAX_RULES {
        let what = format!("there are more than {MAX_RULES} rules, those of the profiles counted");
        source.plain_fault(table.at(), what);
    }
    Policy::with_denials(rules, denials).with_max_held_body(max_held_body)
}

/// A service that is not there is a fault.
fn identity(given: As, source: &Source<'_>, known: &Known<'_>) -> Identity {
    match given {
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
    }
}

/// An upstream that is not there is a fault.
fn check_upstream(upstream: &Located<UpstreamName>, source: &Source<'_>, known: &Known<'_>) {
    if !known.upstreams.contains(&upstream.value) {
        let names = known.upstreams.iter().map(UpstreamName::as_str);
        let help = meant(upstream.value.as_str(), names, "upstream");
        source.fault(upstream.at, format!("there is no upstream “{}”", upstream.value), help);
    }
}

/// The key `caller`.
fn callers(table: &mut Table<'_>) -> Vec<CallerName> {
    // An empty list could be meant as "nobody", and would mean "anybody".
    list(table, "caller", "name callers, or remove the key to allow any")
}

/// A list without repetitions. One that is there and empty is a fault, because it would mean the same as none.
fn list<T>(table: &mut Table<'_>, key: &'static str, when_empty: &str) -> Vec<T>
where
    T: crate::config::value::FromValue + PartialEq + ListItem,
{
    let source = table.source();
    let Some(given) = table.optional::<Located<Vec<Located<T>>>>(key) else { return Vec::new() };
    if given.value.is_empty() {
        source.fault(given.at, format!("the list of {key} is empty"), when_empty);
    }
    for (index, item) in given.value.iter().enumerate() {
        if given.value.iter().take(index).any(|before| before.value == item.value) {
            let what = format!("“{}” is listed twice", item.value.shown());
            source.fault(item.at, what, "remove one of the two");
        }
    }
    given.value.into_iter().map(|item| item.value).collect()
}

/// How an item of a list is shown.
trait ListItem {
    fn shown(&self) -> &str;
}

impl ListItem for CallerName {
    fn shown(&self) -> &str {
        self.as_str()
    }
}

impl ListItem for String {
    fn shown(&self) -> &str {
        self
    }
}

/// No policy has more rules.
const MAX_RULES: usize = 10_000;

#[cfg(test)]
mod tests;
