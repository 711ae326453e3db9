//! `profiles` and `[policy.profile.NAME]`: the shipped sets of rules, and for whom they count here.

use super::{As, Known, callers, check_upstream, identity, only, rule};
use crate::agent::policy::profiles::{self, Profile};
use crate::agent::policy::tools::suggest::Shipped;
use crate::agent::policy::{Identity, Place, Rule, Target, Terms, Tests};
use crate::common::ids::{CallerName, UpstreamName};
use crate::common::report::Report;
use crate::config::diagnose::{Located, Span};
use crate::config::table::{Table, nearest};

/// A rule of a profile, before it is known for whom and as whom.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) allow: Target,
    pub(super) why: String,
    pub(super) place: Place,
    tests: Tests,
    pub(super) part: Option<String>,
}

/// What `[policy.profile.NAME]` says.
struct Options {
    upstreams: Vec<UpstreamName>,
    callers: Vec<CallerName>,
    identity: Identity,
    terms: Terms,
    parts: Vec<Located<String>>,
}

/// Adds the rules of the profiles that the table names.
pub(super) fn add(table: &mut Table<'_>, known: &Known<'_>, rules: &mut Vec<Rule>) {
    let source = table.source();
    let named: Vec<Located<String>> = table.or("profiles", Vec::new());
    let mut options = table.named_tables("profile");
    for (index, Located { value: name, at }) in named.iter().enumerate() {
        if named.iter().take(index).any(|before| before.value == *name) {
            source.fault(*at, format!("“{name}” is listed twice"), "remove one of the two");
            continue;
        }
        let own = options.iter().position(|(other, _)| other.value == *name);
        let own = own.map(|position| options.swap_remove(position).1);
        let Some(profile) = find(name, *at, table) else {
            own.into_iter().for_each(Table::give_up);
            continue;
        };
        let Some(options) = options_of(name, *at, own, table, known) else { continue };
        match template(profile) {
            Ok(templates) => instantiate(profile, &templates, &options, table, rules),
            Err(report) => source.plain_fault(*at, report.to_string()),
        }
    }
    for (name, table) in options {
        let what = format!("“{}” is not among the profiles", name.value);
        source.fault(name.at, what, format!("add it: profiles = [\"{}\"]", name.value));
        table.give_up();
    }
}

fn find(name: &str, at: Span, table: &Table<'_>) -> Option<&'static Profile> {
    let source = table.source();
    let names = || profiles::ALL.iter().filter(|profile| profile.for_callers).map(|profile| profile.name);
    match profiles::find(name) {
        Some(profile) if profile.for_callers => Some(profile),
        Some(_) => {
            let what = format!("“{name}” is for the agent's own provisioning, and never for callers");
            source.fault(at, what, "remove it: nothing has to be allowed for provisioning");
            None
        }
        None => {
            let names: Vec<&str> = names().collect();
            let help = match nearest(name, &names) {
                Some(near) => format!("did you mean “{near}”?"),
                None => format!("there are: {}", names.join(", ")),
            };
            source.fault(at, format!("there is no profile “{name}”"), help);
            None
        }
    }
}

fn options_of(
    name: &str,
    at: Span,
    own: Option<Table<'_>>,
    above: &Table<'_>,
    known: &Known<'_>,
) -> Option<Options> {
    let source = above.source();
    let mut given = Vec::new();
    let (mut from, mut terms, mut parts) = (Vec::new(), Terms::default(), Vec::new());
    let mut as_whom = Some(Identity::User);
    let place = own.as_ref().map_or(at, Table::at);
    if let Some(mut own) = own {
        let had = own.has("as");
        given = own.or::<Vec<Located<UpstreamName>>>("upstream", Vec::new());
        from = callers(&mut own);
        let whom = own.optional::<As>("as").map(|given| identity(given, source, known));
        as_whom = if had { whom } else { as_whom };
        terms = rule::proofs(&mut own, as_whom.as_ref(), false);
        parts = own.or("with", Vec::new());
    }
    for upstream in &given {
        check_upstream(upstream, source, known);
    }
    let mut upstreams: Vec<UpstreamName> = given.into_iter().map(|upstream| upstream.value).collect();
    if upstreams.is_empty() {
        match only(known.upstreams) {
            Some(only) => upstreams.push(only.clone()),
            None if known.upstreams.len() > 1 => {
                let what = format!("the profile {name} does not say for which upstream it is");
                let help = format!("add upstream = \"NAME\" under [policy.profile.{name}]");
                source.fault(place, what, help);
            }
            None => {}
        }
    }
    Some(Options { upstreams, callers: from, identity: as_whom?, terms, parts })
}

fn instantiate(
    profile: &Profile,
    templates: &[Template],
    options: &Options,
    table: &Table<'_>,
    rules: &mut Vec<Rule>,
) {
    for part in &options.parts {
        if !templates.iter().any(|template| template.part.as_ref() == Some(&part.value)) {
            let mut parts: Vec<&str> =
                templates.iter().filter_map(|template| template.part.as_deref()).collect();
            parts.dedup();
            let what = format!("{} has no part “{}”", profile.name, part.value);
            let help = if parts.is_empty() {
                "remove it: this profile has no optional parts".to_owned()
            } else {
                format!("there are: {}", parts.join(", "))
            };
            table.source().fault(part.at, what, help);
        }
    }
    let is_on = |template: &&Template| {
        template.part.as_ref().is_none_or(|part| options.parts.iter().any(|on| on.value == *part))
    };
    for upstream in &options.upstreams {
        for template in templates.iter().filter(is_on) {
            let Template { allow, why, place, tests, .. } = template.clone();
            let rule = Rule::new(allow, why, upstream.clone(), options.identity.clone(), place)
                .for_callers(options.callers.clone())
                .with_tests(tests)
                .with_terms(options.terms.clone());
            rules.push(rule);
        }
    }
}

/// The rules of all profiles as they would count for an application, for suggestions; each once.
pub(in crate::agent::config) fn shipped(upstream: &UpstreamName) -> Vec<Shipped> {
    let mut shipped: Vec<Shipped> = Vec::new();
    for profile in profiles::ALL {
        // A test reads them all: one that can't be read suggests nothing.
        let templates = template(profile).unwrap_or_default();
        let count = templates.len();
        for Template { allow, why, place, tests, part } in templates {
            // What it includes is another profile's.
            if shipped.iter().any(|before| *before.rule.place() == place) {
                continue;
            }
            let rule = Rule::new(allow, why, upstream.clone(), Identity::User, place).with_tests(tests);
            shipped.push(Shipped {
                profile: profile.name,
                for_callers: profile.for_callers,
                part,
                rule,
                count,
            });
        }
    }
    shipped
}

/// The rules of a profile, those that it includes first.
pub(super) fn template(profile: &Profile) -> Result<Vec<Template>, Report> {
    let mut included = Vec::new();
    let shown = format!("profile {}", profile.name);
    let own = crate::config::parse(&shown, profile.text, |top, source| {
        for name in top.or::<Vec<Located<String>>>("includes", Vec::new()) {
            // One level: what is included includes nothing.
            match profiles::find(&name.value).filter(|other| other.name != profile.name) {
                Some(profile) => included.push(profile),
                None => source.fault(name.at, "there is no such profile", "name another"),
            }
        }
        let mut templates = Vec::new();
        for mut table in top.tables("rule") {
            let allow: Option<Vec<Located<Target>>> = table.required("allow", "\"GET /status\"");
            let why = rule::why(&mut table);
            let tests = rule::tests(&mut table);
            let part: Option<String> = table.optional("part");
            let (Some(why), Some(tests)) = (why, tests) else { continue };
            templates.extend(allow.unwrap_or_default().into_iter().map(|allow| Template {
                place: rule::place(source, allow.at),
                allow: allow.value,
                why: why.clone(),
                tests: tests.clone(),
                part: part.clone(),
            }));
        }
        Some(templates)
    })?;
    let mut templates = Vec::new();
    for profile in included {
        templates.extend(template(profile)?);
    }
    templates.extend(own);
    Ok(templates)
}
