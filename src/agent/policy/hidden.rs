//! Finds rules that can never decide, because an earlier one takes every call they fit.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::matcher::Tree;
use super::{Rule, Tests};
use crate::common::ids::{CallerName, UpstreamName};

/// The rules so far, in order. Each further one costs about the same.
#[derive(Debug, Default)]
pub struct Earlier {
    trees: HashMap<UpstreamName, Tree<Bucket>>,
    rules: Vec<Rule>,
}

/// Rules by one of their callers, or none, and by their tests, or none.
type Bucket = HashMap<(Option<CallerName>, u64), Vec<usize>>;

impl Earlier {
    /// Adds a rule; gives the earlier one that takes every call from it, if that is not what its author can want:
    /// the two are the same, or the later one would do something else. A rule that is merely needless is left alone.
    pub fn hides(&mut self, rule: &Rule) -> Option<&Rule> {
        let hidden = self.find(rule);
        let number = self.rules.len();
        let bucket = self.trees.entry(rule.upstream().clone()).or_default().at(rule.allow().pattern());
        let tests = digest(rule.tests());
        if rule.callers().is_empty() {
            bucket.entry((None, tests)).or_default().push(number);
        }
        for caller in rule.callers() {
            bucket.entry((Some(caller.clone()), tests)).or_default().push(number);
        }
        self.rules.push(rule.clone());
        hidden.and_then(|number| self.rules.get(number))
    }

    fn find(&self, rule: &Rule) -> Option<usize> {
        // Who takes calls from all its callers takes those of its first.
        let callers = [None, rule.callers().first().cloned()];
        let callers = callers.get(..if rule.callers().is_empty() { 1 } else { 2 }).unwrap_or_default();
        let tests = [digest(&Tests::default()), digest(rule.tests())];
        let keys: Vec<_> =
            callers.iter().flat_map(|caller| tests.map(|tests| (caller.clone(), tests))).collect();
        let mut found: Option<usize> = None;
        self.trees.get(rule.upstream())?.visit_covering(rule.allow().pattern(), |bucket| {
            for numbers in keys.iter().filter_map(|key| bucket.get(key)) {
                let hides =
                    |number: &&usize| self.rules.get(**number).is_some_and(|before| hides(before, rule));
                found = numbers.iter().find(hides).copied().into_iter().chain(found).min();
            }
        });
        found
    }
}

/// Whether the earlier rule, whose pattern covers the later one's, takes every call from it.
fn hides(before: &Rule, rule: &Rule) -> bool {
    let callers = before.callers().is_empty()
        || (!rule.callers().is_empty() && rule.callers().iter().all(|caller| before.is_for(Some(caller))));
    let same = before.allow().pattern() == rule.allow().pattern() && before.tests() == rule.tests();
    let other = before.identity() != rule.identity() || before.terms() != rule.terms();
    callers
        && (same || other)
        && (before.tests() == rule.tests() || *before.tests() == Tests::default())
        && rule.allow().methods().within(before.allow().methods())
}

fn digest(tests: &Tests) -> u64 {
    let mut hasher = DefaultHasher::new();
    tests.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, MediaType, Place};
    use super::*;
    use proptest::prelude::*;

    fn rule(line: usize, allow: &str, identity: Identity, callers: &[&str]) -> Rule {
        let place = Place { file: "x".into(), line };
        Rule::new(allow.parse().unwrap(), "w", "jira".parse().unwrap(), identity, place)
            .for_callers(callers.iter().map(|caller| caller.parse().unwrap()).collect())
    }

    fn hidden(rules: &[Rule]) -> Vec<(usize, usize)> {
        let mut earlier = Earlier::default();
        let hidden = rules.iter().filter_map(|rule| {
            let before = earlier.hides(rule)?;
            Some((rule.place().line, before.place().line))
        });
        hidden.collect()
    }

    #[test]
    fn the_rule_that_can_not_decide_is_found() {
        let anonymous = || Identity::Anonymous;
        for (before, callers, after, others, expected) in [
            ("GET /a", &[][..], "GET /a", &["x"][..], true),
            ("GET /a", &["x"], "GET /a", &[], false),
            ("GET /a", &["x", "y"], "GET /a", &["y"], true),
            ("GET /a", &["x"], "GET /a", &["x", "y"], false),
            ("GET /a", &[], "POST /a", &[], false),
            ("GET|POST /a", &[], "POST /a", &[], true),
        ] {
            let rules = [rule(1, before, anonymous(), callers), rule(2, after, anonymous(), others)];
            assert_eq!(!hidden(&rules).is_empty(), expected, "{before} {callers:?}, {after} {others:?}");
        }
        for (before, after, expected) in [
            ("/**", "/a/b", true),
            ("/*", "/a", true),
            ("/*", "/a/b", false),
            ("/*", "/a/", false),
            ("/a*", "/ab", true),
            ("/a*", "/a", false),
            ("/a*", "/abc*d", true),
            ("/a*d", "/ab*", false),
            ("/*", "/a*", true),
            ("/a*", "/*", false),
            ("/a/**", "/a/*", true),
            ("/a/**", "/a/", true),
            ("/a/*", "/a/**", false),
            ("/a", "/**", false),
        ] {
            let of = |path: &str, identity| rule(1, &format!("GET {path}"), identity, &[]);
            let rules = [of(before, Identity::User), of(after, anonymous())];
            assert_eq!(!hidden(&rules).is_empty(), expected, "{before} {after}");
            let rules = [of(before, anonymous()), of(after, anonymous())];
            assert!(hidden(&rules).is_empty(), "merely needless");
        }
    }

    #[test]
    fn a_rule_with_tests_hides_only_what_has_the_same() {
        let json: MediaType = "application/json".parse().unwrap();
        let tested = || Tests { content_types: vec![json.clone()], ..Tests::default() };
        let with = |line, tests| rule(line, "POST /a", Identity::Anonymous, &[]).with_tests(tests);
        assert_eq!(hidden(&[with(1, tested()), with(2, Tests::default())]), []);
        assert_eq!(hidden(&[with(1, tested()), with(2, tested())]), [(2, 1)]);
        let wide = rule(1, "POST /a", Identity::User, &[]);
        assert_eq!(hidden(&[wide, with(2, tested())]), [(2, 1)]);
    }

    proptest! {
        #[test]
        fn what_is_hidden_is_never_first(
            patterns in proptest::collection::vec("(/(a|ab|\\*|a\\*)){0,2}(/a|/\\*|/\\*\\*|/|/a\\*)", 2..6),
            path in "(/[ab]{1,2}){0,3}(/[ab]{1,2}|/)",
        ) {
            use super::super::*;
            // Each as another service, so that whatever covers also hides.
            let service = |line: usize| Identity::Service(format!("s{line}").parse().unwrap());
            let rules: Vec<Rule> = patterns.iter().enumerate()
                .map(|(line, path)| rule(line, &format!("GET {path}"), service(line), &[])).collect();
            let hidden = hidden(&rules);
            let call = Call::new(Method::GET, "jira".parse().unwrap(),
                CanonicalPath::parse(&path).unwrap(), Query::none(), None);
            if let Ok(first) = decide(&Policy::compile(rules), &call) {
                prop_assert!(hidden.iter().all(|(line, _)| *line != first.place().line));
            }
        }
    }
}
