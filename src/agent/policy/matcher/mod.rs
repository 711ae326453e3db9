//! Finds the rules for a path: a tree of segments, so that the cost does not grow with the number of rules.
//!
//! At the end of each pattern the rules are sorted by caller, so that many rules for the same path and different
//! callers cost no more than one.

mod tree;

use fnv::FnvHashMap;

use super::path::CanonicalPath;
use super::target::Part;
use crate::common::ids::CallerName;
pub(super) use tree::Tree;

/// The patterns of one upstream's rules, each under the number of its rule.
#[derive(Debug, Default)]
pub(super) struct Matcher(Tree<Ends>);

/// The rules whose pattern ends at one place.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// All, in order.
    pub(super) all: Vec<u32>,
    anybody: Vec<u32>,
    named: FnvHashMap<CallerName, Vec<u32>>,
}

impl Ends {
    fn push(&mut self, rule: u32, callers: &[CallerName]) {
        self.all.push(rule);
        if callers.is_empty() {
            self.anybody.push(rule);
        }
        for caller in callers {
            self.named.entry(caller.clone()).or_default().push(rule);
        }
    }

    /// Those for this caller, as two lists that are each in order.
    pub(super) fn of(&self, caller: Option<&CallerName>) -> [&[u32]; 2] {
        let named = caller.and_then(|caller| self.named.get(caller));
        [&self.anybody, named.map_or(&[], Vec::as_slice)]
    }
}

impl Matcher {
    /// Adds a rule's pattern under the rule's number. Numbers must come in order.
    pub(super) fn insert(&mut self, pattern: &[Part], callers: &[CallerName], rule: u32) {
        self.0.at(pattern).push(rule, callers);
    }

    /// The same for a pattern that [`Matcher::visit_wide`] is to find.
    pub(super) fn insert_wide(&mut self, pattern: &[Part], callers: &[CallerName], rule: u32) {
        self.0.at(&tree::widened(pattern)).push(rule, callers);
    }

    /// Visits each place where a pattern ends that the path fits.
    pub(super) fn visit<'m>(&'m self, path: &CanonicalPath, each: impl FnMut(&'m Ends)) {
        self.0.visit(path.segments(), each);
    }

    /// The same, for rules that deny: whatever an application might take for the path counts as the path. `skip`
    /// segments are left out at the front.
    pub(super) fn visit_wide<'m>(&'m self, path: &CanonicalPath, skip: usize, each: impl FnMut(&'m Ends)) {
        self.0.visit_wide(path.segments().skip(skip), each);
    }
}

#[cfg(test)]
mod tests;
