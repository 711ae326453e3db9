//! Calls that administer people, rights or the application itself: a rule that reaches them asks for more than a key
//! that whoever ends TLS has seen.

mod overlap;

use std::sync::LazyLock;

use http::Method;
use serde::Deserialize;

use super::always::MAX_CONTEXT;
use super::matcher::{Ends, Matcher};
use super::{CanonicalPath, Demand, DeniedTarget, Rule, Target};
use overlap::overlaps;

/// The list as it is shipped: TOML, each entry with what its calls change.
const TEXT: &str = include_str!("../profiles/guarded.toml");

/// What such a call must bring, where its rule does not say.
pub const GUARDED_DEMANDS: [Demand; 2] = [Demand::Signed, Demand::PassThrough];

/// What a call would change, where it is on the list.
pub fn guarded(method: &Method, path: &CanonicalPath) -> Option<&'static str> {
    let Some(list) = LIST.as_ref() else {
        // Can't be: the list is part of the program, and a test reads it. Without it every call is as if on it.
        return Some("what can't be told");
    };
    let mut found: Option<u32> = None;
    let mut each = |ends: &Ends| {
        let fits = |number: &&u32| list.entry(**number).is_some_and(|entry| entry.fits(method));
        found = found.into_iter().chain(ends.all.iter().find(fits).copied()).min();
    };
    for skip in 0..=MAX_CONTEXT {
        list.matcher.visit_wide(path, skip, &mut each);
    }
    list.entry(found?).map(|entry| entry.what)
}

/// What calls by this rule may change, where its methods and path reach any that are on the list.
pub fn reaches_guarded(target: &Target) -> Option<&'static str> {
    let list = LIST.as_ref()?;
    let reached = |entry: &&Entry| {
        let methods = entry.call.methods();
        methods.meets(target.methods()) && overlaps(target.pattern(), entry.call.pattern())
    };
    list.entries.iter().find(reached).map(|entry| entry.what)
}

/// The list, for people: each call, and what it changes.
pub fn guarded_calls() -> impl Iterator<Item = (&'static str, &'static str)> {
    LIST.iter().flat_map(|list| &list.entries).map(|entry| (entry.call.as_str(), entry.what))
}

impl Rule {
    /// What its calls may change that takes a proof by default; nothing where the rule itself says what it takes.
    pub fn guards(&self) -> Option<&'static str> {
        let terms = self.terms();
        let silent = terms.require.is_empty() && !terms.accept_relay_trust;
        silent.then(|| reaches_guarded(self.allow())).flatten()
    }
}

struct List {
    matcher: Matcher,
    entries: Vec<Entry>,
}

struct Entry {
    call: Target,
    what: &'static str,
}

impl Entry {
    fn fits(&self, method: &Method) -> bool {
        self.call.methods().contains(method)
    }
}

impl List {
    fn entry(&self, number: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(number).ok()?)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'t> {
    #[serde(borrow)]
    guarded: Vec<Group<'t>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group<'t> {
    what: &'t str,
    calls: Vec<&'t str>,
}

static LIST: LazyLock<Option<List>> = LazyLock::new(|| {
    let file: File<'static> = toml::from_str(TEXT).ok()?;
    let mut list = List { matcher: Matcher::default(), entries: Vec::new() };
    for Group { what, calls } in file.guarded {
        for call in calls {
            let DeniedTarget(call) = call.parse().ok()?;
            let number = u32::try_from(list.entries.len()).ok()?;
            list.matcher.insert_wide(call.pattern(), &[], number);
            list.entries.push(Entry { call, what });
        }
    }
    Some(list)
});

#[cfg(test)]
mod tests;
