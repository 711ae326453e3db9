//! The tree itself, with anything at the ends of its patterns.

use std::borrow::Cow;

use fnv::FnvHashMap;

use super::super::target::Part;

/// Patterns, and what lies at the end of each.
#[derive(Debug, Default)]
pub(in super::super) struct Tree<L> {
    root: Node<L>,
}

/// Where a run of segments leads.
#[derive(Debug, Default)]
struct Node<L> {
    literals: FnvHashMap<Box<str>, Node<L>>,
    globs: Globs<L>,
    any: Option<Box<Node<L>>>,
    /// For patterns that end here.
    here: L,
    /// For patterns that go on with `**`.
    rest: L,
}

/// Segments by how they begin and end.
#[derive(Debug, Default)]
struct Globs<L> {
    /// The lengths that occur: a few, however many globs there are.
    lengths: Vec<(usize, usize)>,
    nodes: FnvHashMap<Box<str>, FnvHashMap<Box<str>, Node<L>>>,
}

impl<L: Default> Globs<L> {
    fn node(&mut self, before: &str, after: &str) -> &mut Node<L> {
        let lengths = (before.len(), after.len());
        if !self.lengths.contains(&lengths) {
            self.lengths.push(lengths);
        }
        self.nodes.entry(before.into()).or_default().entry(after.into()).or_default()
    }
}

impl<L> Globs<L> {
    /// Each glob that the segment fits.
    fn of_segment<'n>(&'n self, segment: &str, mut each: impl FnMut(&'n Node<L>)) {
        for (before, after) in &self.lengths {
            let Some(end) = segment.len().checked_sub(*after).filter(|end| end > before) else { continue };
            let parts = segment.get(..*before).zip(segment.get(end..));
            if let Some(node) = parts.and_then(|(before, after)| self.nodes.get(before)?.get(after)) {
                each(node);
            }
        }
    }

    /// Each glob that every segment of this glob fits.
    fn of_glob<'n>(&'n self, (first, last): (&str, &str), mut each: impl FnMut(&'n Node<L>)) {
        for (before, after) in &self.lengths {
            let start = last.len().checked_sub(*after);
            let parts = first.get(..*before).zip(start.and_then(|start| last.get(start..)));
            if let Some(node) = parts.and_then(|(before, after)| self.nodes.get(before)?.get(after)) {
                each(node);
            }
        }
    }
}

impl<L: Default> Tree<L> {
    /// What lies at the end of a pattern.
    pub(in super::super) fn at(&mut self, pattern: &[Part]) -> &mut L {
        let mut node = &mut self.root;
        for part in pattern {
            node = match part {
                Part::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Part::Glob(before, after) => node.globs.node(before, after),
                Part::Any => node.any.get_or_insert_default(),
                Part::Rest => return &mut node.rest,
            };
        }
        &mut node.here
    }
}

impl<L> Tree<L> {
    /// Visits the end of each pattern that these segments fit.
    pub(super) fn visit<'n, 'p>(
        &'n self,
        segments: impl Iterator<Item = &'p str> + Clone,
        mut each: impl FnMut(&'n L),
    ) {
        visit(&self.root, segments, &mut each);
    }

    /// Visits the end of each pattern, made by [`widened`], that an application might take these segments for. Case
    /// makes no difference, nor does a slash at the end, nor an extension (Atlassian's REST layer takes `.json`
    /// off); and `**` may stand for nothing.
    pub(super) fn visit_wide<'n, 'p>(
        &'n self,
        segments: impl Iterator<Item = &'p str> + Clone,
        mut each: impl FnMut(&'n L),
    ) {
        visit_wide(&self.root, segments, &mut each);
    }

    /// Visits the end of each pattern that fits whatever this pattern fits.
    pub(in super::super) fn visit_covering<'n>(&'n self, pattern: &[Part], mut each: impl FnMut(&'n L)) {
        visit_covering(&self.root, pattern, &mut each);
    }
}

// All three go as deep as the deepest pattern, which is bounded, and to each node at most once.

fn visit<'n, 'p, L>(
    node: &'n Node<L>,
    mut segments: impl Iterator<Item = &'p str> + Clone,
    each: &mut impl FnMut(&'n L),
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
        node.globs.of_segment(segment, |next| visit(next, segments.clone(), each));
        if let Some(next) = &node.any {
            visit(next, segments, each);
        }
    }
}

fn visit_wide<'n, 'p, L>(
    node: &'n Node<L>,
    mut segments: impl Iterator<Item = &'p str> + Clone,
    each: &mut impl FnMut(&'n L),
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
        let stem = if is_last { segment.rsplit_once('.') } else { None };
        let stem = stem.map(|(stem, _)| stem).filter(|stem| !stem.is_empty());
        for spelling in [Some(&*segment), stem].into_iter().flatten() {
            if let Some(next) = node.literals.get(spelling) {
                visit_wide(next, segments.clone(), each);
            }
            node.globs.of_segment(spelling, |next| visit_wide(next, segments.clone(), each));
        }
    }
    if let Some(next) = &node.any {
        visit_wide(next, segments, each);
    }
}

fn visit_covering<'n, L>(node: &'n Node<L>, pattern: &[Part], each: &mut impl FnMut(&'n L)) {
    let Some((part, pattern)) = pattern.split_first() else {
        each(&node.here);
        return;
    };
    each(&node.rest);
    match part {
        Part::Literal(text) => {
            if let Some(next) = node.literals.get(text) {
                visit_covering(next, pattern, each);
            }
            if text.is_empty() {
                return;
            }
            node.globs.of_segment(text, |next| visit_covering(next, pattern, each));
        }
        Part::Glob(before, after) => {
            node.globs.of_glob((before, after), |next| visit_covering(next, pattern, each));
        }
        Part::Any => {}
        Part::Rest => return,
    }
    if let Some(next) = &node.any {
        visit_covering(next, pattern, each);
    }
}

/// A pattern as [`Tree::visit_wide`] expects it.
pub(super) fn widened(pattern: &[Part]) -> Vec<Part> {
    let folded = |text: &str| fold(text).into_owned().into();
    let part = |part: &Part| match part {
        Part::Literal(text) => Part::Literal(folded(text)),
        Part::Glob(before, after) => Part::Glob(folded(before), folded(after)),
        other => other.clone(),
    };
    let mut pattern: Vec<Part> = pattern.iter().map(part).collect();
    pattern.pop_if(|last| *last == Part::Literal("".into()));
    pattern
}

/// One spelling for all cases. By way of the capitals, because some letters have more than one small one.
fn fold(segment: &str) -> Cow<'_, str> {
    if segment.is_ascii() && !segment.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return segment.into();
    }
    segment.to_uppercase().to_lowercase().into()
}
