//! One `[[policy.rule]]`.

use std::sync::Arc;

use super::{As, Known, ListItem, callers, check_upstream, conditions, identity, list, only};
use crate::agent::policy::{
    Demand, Denial, DeniedTarget, Identity, MAX_COUNT, MediaType, Place, Rate, Rule, Target, Terms, Tests,
    reaches_guarded,
};
use crate::common::ids::UpstreamName;
use crate::config::diagnose::{Located, Source, Span};
use crate::config::table::Table;

crate::read_as_text!(Target, DeniedTarget, MediaType, Demand, Rate);

/// What one table holds: its `allow` or `deny` may be a list.
#[derive(Default)]
pub(super) struct Read {
    pub(super) rules: Vec<Located<Rule>>,
    pub(super) denials: Vec<Denial>,
}

/// Reads a rule. Where anything is wrong with it, it holds nothing.
pub(super) fn read(table: &mut Table<'_>, known: &Known<'_>) -> Read {
    let source = table.source();
    if let Some(deny) = table.optional::<Vec<Located<DeniedTarget>>>("deny") {
        if table.has("allow") {
            let help = "write two tables [[policy.rule]]";
            source.fault(table.at(), "a rule either allows or denies", help);
        }
        let denials = denials(table, deny, known);
        return Read { denials: denials.unwrap_or_default(), ..Read::default() };
    }
    let rules = rules(table, known);
    Read { rules: rules.unwrap_or_default(), ..Read::default() }
}

fn rules(table: &mut Table<'_>, known: &Known<'_>) -> Option<Vec<Located<Rule>>> {
    let source = table.source();
    let allow: Option<Vec<Located<Target>>> = table.required("allow", "\"GET /rest/api/2/issue/*\"");
    let why = why(table);
    let given: Option<Located<UpstreamName>> = table.optional("upstream");
    let callers = callers(table);
    let identity =
        table.required::<As>("as", "{ service = \"NAME\" }").map(|given| identity(given, source, known));
    let tests = tests(table);
    let reaches = allow.iter().flatten().any(|target| reaches_guarded(&target.value).is_some());
    let terms = terms(table, identity.as_ref(), reaches);
    let upstream = match (given, only(known.upstreams)) {
        (Some(upstream), _) => {
            check_upstream(&upstream, source, known);
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
    let (why, upstream, identity, tests) = (why?, upstream?, identity?, tests?);
    let rule = |Located { value, at }: Located<Target>| {
        let rule = Rule::new(value, why.clone(), upstream.clone(), identity.clone(), place(source, at))
            .for_callers(callers.clone())
            .with_tests(tests.clone())
            .with_terms(terms.clone());
        Located { value: rule, at }
    };
    Some(allow?.into_iter().map(rule).collect())
}

fn denials(
    table: &mut Table<'_>,
    deny: Vec<Located<DeniedTarget>>,
    known: &Known<'_>,
) -> Option<Vec<Denial>> {
    let source = table.source();
    let why = why(table);
    let upstream: Option<Located<UpstreamName>> = table.optional("upstream");
    if let Some(upstream) = &upstream {
        check_upstream(upstream, source, known);
    }
    let callers = callers(table);
    let query = conditions::query(table)?;
    if query.only.is_some() {
        let help = "deny what query names, or allow only what query-only names";
        source.fault(table.at(), "query-only says what is allowed, and this rule denies", help);
    }
    let (why, upstream) = (why?, upstream.map(|upstream| upstream.value));
    let denial = |Located { value, at }: Located<DeniedTarget>| {
        Denial::new(value, why.clone(), upstream.clone(), place(source, at))
            .for_callers(callers.clone())
            .with_query(query.clone())
    };
    Some(deny.into_iter().map(denial).collect())
}

/// The key `why`.
pub(super) fn why(table: &mut Table<'_>) -> Option<String> {
    let why: Located<String> = table.required("why", "\"what this is for\"")?;
    if why.value.trim().is_empty() {
        let help = "write what this rule is for: it is shown by explain";
        table.source().fault(why.at, "the reason is empty", help);
    }
    Some(why.value)
}

/// The keys that say which calls a rule fits, beside its target and callers.
pub(super) fn tests(table: &mut Table<'_>) -> Option<Tests> {
    let source = table.source();
    let at = table.at();
    let content_types: Vec<MediaType> =
        list(table, "content-type", "name media types, or remove the key to allow any");
    let query = conditions::query(table);
    let body = conditions::body(table);
    let tests = Tests { content_types, query: query?, body: body? };
    if !tests.body.is_empty() && !tests.content_types.iter().all(MediaType::is_json) {
        let help = "name JSON types only, or remove the key: application/json is meant then";
        source.fault(at, "conditions on the body need a content-type that is JSON", help);
    }
    Some(tests)
}

/// The keys that say what a rule asks of the calls it fits.
fn terms(table: &mut Table<'_>, identity: Option<&Identity>, reaches_guarded: bool) -> Terms {
    let proofs = proofs(table, identity, reaches_guarded);
    let has_rate = table.has("rate");
    let rate: Option<Rate> = table.optional("rate");
    let has_burst = table.has("burst");
    let burst = table.integer("burst", 1..=u64::from(MAX_COUNT), 1);
    if has_burst && !has_rate {
        let help = "add rate = \"60/m\", or remove it";
        table.source().fault(table.at(), "there is a burst, but no rate", help);
    }
    let burst = u32::try_from(burst).ok().filter(|_| has_burst);
    let rate = rate.map(|rate| burst.map_or(rate, |burst| rate.with_burst(burst)));
    Terms { rate, max_body: table.optional("max-body"), ..proofs }
}

/// Those of them that ask for proofs. Rules ask for some by themselves: those as the person, and those that reach what
/// administrators do. Any other has nothing to relax.
pub(super) fn proofs(table: &mut Table<'_>, identity: Option<&Identity>, reaches_guarded: bool) -> Terms {
    let require: Vec<Demand> = list(table, "require", "name proofs, or remove the key to ask for none");
    let accept: Option<Located<bool>> = table.optional("accept-relay-trust");
    if let Some(accept) = &accept
        && identity.is_some_and(|identity| *identity != Identity::User)
        && !reaches_guarded
    {
        let help = "remove it: this rule asks for no such proof";
        let what =
            "accept-relay-trust is for rules as \"user\", and for those that reach what administrators do";
        table.source().fault(accept.at, what, help);
    }
    let accept_relay_trust = accept.is_some_and(|accept| accept.value);
    Terms { require, accept_relay_trust, ..Terms::default() }
}

/// Where a value stands, as shown to people.
pub(super) fn place(source: &Source<'_>, at: Span) -> Place {
    let file: Arc<str> = source.name().rsplit('/').next().unwrap_or_default().into();
    Place { file, line: source.line(at) }
}

impl ListItem for MediaType {
    fn shown(&self) -> &str {
        self.as_str()
    }
}

impl ListItem for Demand {
    fn shown(&self) -> &str {
        self.as_str()
    }
}
