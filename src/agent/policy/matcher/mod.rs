//! Finds the rules for a path: a tree of segments, so that the cost does not grow with the number of rules.
//!
//! At the end of each pattern the rules are sorted by caller, so that many rules for the same path and different
//! callers cost no more than one.

use std::borrow::Cow;
use std::collections::HashMap;

use super::path::CanonicalPath;
use super::target::Part;
use crate::common::ids::CallerName;

/// The patterns of one upstream's rules, each under the number of its rule.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    root: Node,
}

/// Where a run of segments leads.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    globs: Globs,
    any: Option<Box<Node>>,
    /// Rules whose pattern ends here.
    here: Ends,
    /// Rules whose pattern goes on with `**`.
    rest: Ends,
}

/// Segments by how they begin and end.
#[derive(Debug, Default)]
struct Globs {
    /// The lengths that occur: a few, however many globs there are.
    lengths: Vec<(usize, usize)>,
    nodes: HashMap<Box<str>, HashMap<Box<str>, Node>>,
}

/// The rules whose pattern ends at one place.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// All, in order.
    pub(super) all: Vec<u32>,
    anybody: Vec<u32>,
    named: HashMap<CallerName, Vec<u32>>,
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

impl Globs {
    fn node(&mut self, before: &str, after: &str) -> &mut Node {
        let lengths = (before.len(), after.len());
        if !self.lengths.contains(&lengths) {
            self.lengths.push(lengths);
        }
        self.nodes.entry(before.into()).or_default().entry(after.into()).or_default()
    }

    fn find<'n>(&'n self, segment: &str, mut each: impl FnMut(&'n Node)) {
        for (before, after) in &self.lengths {
            let Some(end) = segment.len().checked_sub(*after).filter(|end| end > before) else { continue };
            let parts = segment.get(..*before).zip(segment.get(end..));
            let node = parts.and_then(|(before, after)| self.nodes.get(before)?.get(after));
            if let Some(node) = node {
                each(node);
            }
        }
    }
}

impl Matcher {
    /// Adds a rule's pattern under the rule's number. Numbers must come in order.
    pub(super) fn insert(&mut self, pattern: &[Part], callers: &[CallerName], rule: u32) {
        let mut node = &mut self.root;
        for part in pattern {
            node = match part {
                Part::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Part::Glob(before, after) => node.globs.node(before, after),
                Part::Any => node.any.get_or_insert_default(),
                Part::Rest => {
                    node.rest.push(rule, callers);
                    return;
                }
            };
        }
        node.here.push(rule, callers);
    }

    /// The same for a pattern that [`Matcher::visit_wide`] is to find.
    pub(super) fn insert_wide(&mut self, pattern: &[Part], callers: &[CallerName], rule: u32) {
        let folded = |text: &str| fold(text).into_owned().into();
        let folded = pattern.iter().map(|part| match part {
            Part::Literal(text) => Part::Literal(folded(text)),
            Part::Glob(before, after) => Part::Glob(folded(before), folded(after)),
            other => other.clone(),
        });
        let mut folded: Vec<Part> = folded.collect();
        // A slash at the end makes no difference.
        folded.pop_if(|last| *last == Part::Literal("".into()));
        self.insert(&folded, callers, rule);
    }

    /// Visits each place where a pattern ends that the path fits.
    pub(super) fn visit<'m>(&'m self, path: &CanonicalPath, mut each: impl FnMut(&'m Ends)) {
        visit(&self.root, path.segments(), &mut each);
    }

    /// The same, for rules that deny: whatever an application might take for the path counts as the path. Case makes
    /// no difference, nor does a slash at the end, nor an extension (Atlassian's REST layer takes `.json` off); and
    /// `**` may stand for nothing. `skip` segments are left out at the front.
    pub(super) fn visit_wide<'m>(
        &'m self,
        path: &CanonicalPath,
        skip: usize,
        mut each: impl FnMut(&'m Ends),
    ) {
        visit_wide(&self.root, path.segments().skip(skip), &mut each);
    }
}

// As deep as the deepest pattern, which is bounded; each node at most once.
fn visit<'n, 'p>(
    node: &'n Node,
    mut segments: impl Iterator<Item = &'p str> + Clone,
    each: &mut impl FnMut(&'n Ends),
) {
    let Some(segment) = segments.next() else {
        each(&node.here);
        return;
    };
    each(&node.rest);
    if let Some(next) = node.literals.get(segment) {
        visit(next, segments.clone(), each);
    }
    if !segment.is_empty() {
        node.globs.find(segment, |next| visit(next, segments.clone(), each));
        if let Some(next) = &node.any {
            visit(next, segments, each);
        }
    }
}

fn visit_wide<'n, 'p>(
    node: &'n Node,
    mut segments: impl Iterator<Item = &'p str> + Clone,
    each: &mut impl FnMut(&'n Ends),
) {
    each(&node.rest);
    let segment = match segments.next() {
        None | Some("") => {
            each(&node.here);
            return;
        }
        Some(segment) => segment,
    };
    if !node.literals.is_empty() || !node.globs.lengths.is_empty() {
        let segment = fold(segment);
        let is_last = segments.clone().next().is_none_or(str::is_empty);
        let stem = segment.rsplit_once('.').map(|(stem, _)| stem).filter(|stem| is_last && !stem.is_empty());
        for spelling in [Some(&*segment), stem].into_iter().flatten() {
            if let Some(next) = node.literals.get(spelling) {
                visit_wide(next, segments.clone(), each);
            }
            node.globs.find(spelling, |next| visit_wide(next, segments.clone(), each));
        }
    }
    if let Some(next) = &node.any {
        visit_wide(next, segments, each);
    }
}

/// One spelling for all cases. By way of the capitals, because some letters have more than one small one.
fn fold(segment: &str) -> Cow<'_, str> {
    if segment.is_ascii() && !segment.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return segment.into();
    }
    segment.to_uppercase().to_lowercase().into()
}

#[cfg(test)]
mod tests;
