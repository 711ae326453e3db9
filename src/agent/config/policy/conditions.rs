//! The keys `query`, `query-only` and `body`: tables whose keys people choose.

use toml::de::{DeTable, DeValue};

use crate::agent::policy::{BodyTest, Pattern, Pointer, QueryTest, Test, Wanted};
use crate::config::diagnose::{Located, Source, Span};
use crate::config::table::Table;
use crate::config::value::FromValue;

/// `query` and `query-only`.
pub(super) fn query(table: &mut Table<'_>) -> Option<QueryTest> {
    let source = table.source();
    let had = table.has("query");
    let given: Option<Entries> = table.optional("query");
    let has_only = table.has("query-only");
    let at = table.at();
    // Unlike other lists this one may be empty: then the query may hold nothing else.
    let only: Option<Vec<Located<String>>> = table.optional("query-only");
    if had && given.is_none() || has_only && only.is_none() {
        return None;
    }
    let mut tests: Vec<(Box<str>, Test)> = Vec::new();
    for (name, test) in given.unwrap_or_default().0 {
        if name.value.is_empty() || name.value.chars().any(char::is_control) {
            source.fault(name.at, "this is no name of a parameter", "write it decoded, as in expand");
        }
        tests.push((name.value.into(), test));
    }
    let only = only.map(|only| only.into_iter().map(|name| name.value.into()).collect());
    if had && tests.is_empty() {
        source.fault(at, "query is empty", "name parameters, or write query-only = [] to allow none");
    }
    Some(QueryTest { tests, only })
}

/// `body`.
pub(super) fn body(table: &mut Table<'_>) -> Option<BodyTest> {
    let source = table.source();
    if !table.has("body") {
        // Asked for nonetheless, so that it is among the keys that are known.
        let _ = table.optional::<Entries>("body");
        return Some(BodyTest::default());
    }
    let at = table.at();
    let entries: Entries = table.optional("body")?;
    if entries.0.is_empty() {
        source.fault(at, "body is empty", "name places, as in { \"/fields/project/key\" = \"DEMO\" }");
    }
    let mut tests = Vec::new();
    for (name, test) in entries.0 {
        match name.value.parse::<Pointer>() {
            Ok(pointer) => tests.push((pointer, test)),
            Err(fault) => source.plain_fault(name.at, fault.to_string()),
        }
    }
    Some(BodyTest(tests))
}

/// A table from names to tests, in the file's order.
#[derive(Default)]
struct Entries(Vec<(Located<String>, Test)>);

impl FromValue for Entries {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let DeValue::Table(entries) = value else {
            source.fault(at, "conditions stand in a table", "write { name = \"value\" }");
            return None;
        };
        let count = entries.len();
        if count > MAX_TESTS {
            source.plain_fault(at, format!("there are more than {MAX_TESTS} conditions"));
            return None;
        }
        let read = entries.into_iter().filter_map(|(name, value)| {
            let name = Located { value: name.get_ref().to_string(), at: name.span().into() };
            let at = value.span().into();
            Some((name, Test::from_value(value.into_inner(), at, source)?))
        });
        let mut read: Vec<_> = read.collect();
        read.sort_by_key(|(name, _)| name.at.start);
        (read.len() == count).then_some(Self(read))
    }
}

impl FromValue for Test {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let DeValue::Table(entries) = value else {
            return wanted(value, at, source).map(Self::Is);
        };
        special(entries, at, source)
    }
}

/// `{ absent = true }`, `{ present = true }` and `{ optional = … }`.
fn special<'d>(entries: DeTable<'d>, at: Span, source: &'d Source<'d>) -> Option<Test> {
    let mut table = Table::inline(source, entries, at);
    let absent: Option<bool> = table.optional("absent");
    let present: Option<bool> = table.optional("present");
    let optional: Option<Values> = table.optional("optional");
    let is_empty = table.is_empty();
    match (absent, present, optional) {
        (Some(true), None, None) => Some(Test::Absent),
        (None, Some(true), None) => Some(Test::Present),
        (None, None, Some(values)) => Some(Test::AbsentOr(values.0)),
        _ => {
            // An unknown key has its own fault.
            if is_empty {
                let help = "write { absent = true }, { present = true } or { optional = [ … ] }";
                source.fault(at, "this condition says nothing", help);
            }
            None
        }
    }
}

struct Values(Vec<Wanted>);

impl FromValue for Values {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        wanted(value, at, source).map(Self)
    }
}

fn wanted<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Vec<Wanted>> {
    let values: Vec<Wanted> = FromValue::from_value(value, at, source)?;
    if values.is_empty() {
        source.fault(at, "the list of values is empty", "name values, or write { absent = true }");
        return None;
    }
    Some(values)
}

impl FromValue for Wanted {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        match &value {
            DeValue::String(text) => Some(Self::Text(Pattern::new(text))),
            DeValue::Boolean(truth) => Some(Self::Truth(*truth)),
            DeValue::Integer(number) => {
                let read = i64::from_str_radix(number.as_str(), number.radix()).ok();
                if read.is_none() {
                    source.plain_fault(at, format!("{number} is too large a number"));
                }
                read.map(Self::Number)
            }
            _ => {
                let help = "write a text, a whole number, true or false, or a list of them";
                source.fault(at, "this can't be compared with", help);
                None
            }
        }
    }
}

/// More than a person reads.
const MAX_TESTS: usize = 100;
