//! Finds the rules for a path: a tree of segments, so that the cost does not grow with the number of rules.

use std::collections::HashMap;

use super::path::CanonicalPath;
use super::rule::Part;

/// The patterns of one upstream's rules.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    root: Node,
}

/// Where a run of segments leads.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    any: Option<Box<Node>>,
    /// Rules whose pattern ends here.
    here: Vec<usize>,
    /// Rules whose pattern goes on with `**`.
    rest: Vec<usize>,
}

impl Matcher {
    /// Adds a rule's pattern under the rule's number.
    pub(super) fn insert(&mut self, pattern: &[Part], rule: usize) {
        let mut node = &mut self.root;
        for part in pattern {
            node = match part {
                Part::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Part::Any => node.any.get_or_insert_default(),
                Part::Rest => {
                    node.rest.push(rule);
                    return;
                }
            };
        }
        node.here.push(rule);
    }

    /// The numbers of all rules whose pattern the path fits, in their own order.
    pub(super) fn find(&self, path: &CanonicalPath) -> Vec<usize> {
        let mut found = Vec::new();
        // At each segment all nodes that the path so far leads to: at most as many as there are patterns.
        let mut nodes = vec![&self.root];
        for segment in path.segments() {
            let mut next = Vec::with_capacity(nodes.len() + 1);
            for node in nodes {
                found.extend_from_slice(&node.rest);
                next.extend(node.literals.get(segment));
                if !segment.is_empty() {
                    next.extend(node.any.as_deref());
                }
            }
            nodes = next;
            if nodes.is_empty() {
                break;
            }
        }
        for node in nodes {
            found.extend_from_slice(&node.here);
        }
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::Allow;
    use super::*;
    use proptest::prelude::*;

    fn matcher(patterns: &[&str]) -> Matcher {
        let mut matcher = Matcher::default();
        for (index, pattern) in patterns.iter().enumerate() {
            matcher.insert(format!("GET {pattern}").parse::<Allow>().unwrap().pattern(), index);
        }
        matcher
    }

    #[test]
    fn patterns_fit_what_they_say() {
        let patterns = ["/a/*/c", "/a/b/c", "/a/**", "/**", "/a", "/a/", "/*", "/"];
        let matcher = matcher(&patterns);
        for (path, expected) in [
            ("/a/b/c", &[0, 1, 2, 3][..]),
            ("/a/x/c", &[0, 2, 3]),
            ("/a/x/d", &[2, 3]),
            ("/a", &[3, 4, 6]),
            ("/a/", &[2, 3, 5]),
            ("/", &[3, 7]),
            ("/b", &[3, 6]),
            ("/A", &[3, 6]),
            ("/b/c", &[3]),
            ("/a/b/c/", &[2, 3]),
            ("/a/*", &[2, 3]),
        ] {
            assert_eq!(matcher.find(&CanonicalPath::parse(path).unwrap()), expected, "{path}");
        }
    }

    /// The plain reading of a pattern, to compare the tree with.
    fn fits(pattern: &[Part], segments: &[&str]) -> bool {
        match (pattern.split_first(), segments.split_first()) {
            (None, None) | (Some((Part::Rest, _)), Some(_)) => true,
            (Some((Part::Any, pattern)), Some((segment, segments))) => {
                !segment.is_empty() && fits(pattern, segments)
            }
            (Some((Part::Literal(text), pattern)), Some((segment, segments))) => {
                **text == **segment && fits(pattern, segments)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_tree_agrees_with_the_plain_reading(
            patterns in proptest::collection::vec("(/(a|b|\\*)){0,4}(/a|/\\*|/\\*\\*|/)", 0..20),
            path in "(/[abc]){0,5}(/[abc]|/)",
        ) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let path = CanonicalPath::parse(&path).unwrap();
            let segments: Vec<&str> = path.segments().collect();
            let expected: Vec<usize> = patterns.iter().enumerate()
                .filter(|(_, pattern)| {
                    let allow: Allow = format!("GET {pattern}").parse().unwrap();
                    fits(allow.pattern(), &segments)
                })
                .map(|(index, _)| index).collect();
            prop_assert_eq!(matcher(&patterns).find(&path), expected);
        }
    }
}
