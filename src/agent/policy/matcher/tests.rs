use proptest::prelude::*;

use super::super::target::Target;
use super::*;
use crate::common::ids::CallerName;

fn pattern(path: &str) -> Vec<Part> {
    format!("GET {path}").parse::<Target>().unwrap().pattern().to_vec()
}

fn find(patterns: &[&str], path: &str) -> Vec<u32> {
    let mut matcher = Matcher::default();
    for (path, number) in patterns.iter().zip(0..) {
        matcher.insert(&pattern(path), &[], number);
    }
    let mut found = Vec::new();
    matcher.visit(&CanonicalPath::parse(path).unwrap(), |ends| found.extend(&ends.all));
    found.sort_unstable();
    found
}

fn find_wide(patterns: &[&str], path: &str) -> Vec<u32> {
    let mut matcher = Matcher::default();
    for (path, number) in patterns.iter().zip(0..) {
        matcher.insert_wide(&pattern(path), &[], number);
    }
    let mut found = Vec::new();
    matcher.visit_wide(&CanonicalPath::parse(path).unwrap(), 0, |ends| found.extend(&ends.all));
    found.sort_unstable();
    found.dedup();
    found
}

#[test]
fn patterns_fit_what_they_say() {
    let patterns =
        ["/a/*/c", "/a/b/c", "/a/**", "/**", "/a", "/a/", "/*", "/", "/x.*", "/*.y", "/x*y", "/a/x*/c"];
    for (path, expected) in [
        ("/a/b/c", &[0, 1, 2, 3][..]),
        ("/a/x/c", &[0, 2, 3]),
        ("/a/xy/c", &[0, 2, 3, 11]),
        ("/a/x/d", &[2, 3]),
        ("/a", &[3, 4, 6]),
        ("/a/", &[2, 3, 5]),
        ("/", &[3, 7]),
        ("/b", &[3, 6]),
        ("/A", &[3, 6]),
        ("/b/c", &[3]),
        ("/a/b/c/", &[2, 3]),
        ("/a/*", &[2, 3]),
        ("/x.", &[3, 6]),
        ("/x.z", &[3, 6, 8]),
        ("/x.y", &[3, 6, 8, 9, 10]),
        ("/.y", &[3, 6]),
        ("/xy", &[3, 6]),
        ("/x%C3%A9y", &[3, 6, 10]),
    ] {
        assert_eq!(find(&patterns, path), expected, "{path}");
    }
}

#[test]
fn what_is_denied_is_denied_in_every_spelling() {
    let patterns = ["/rest/Pat/**", "/admin", "/a/*/b/", "/v/2.*/x"];
    for (path, expected) in [
        ("/rest/pat", &[0][..]),
        ("/rest/pat/", &[0]),
        ("/REST/PAT/1", &[0]),
        ("/rest/%70at/1/2/", &[0]),
        ("/rest/pat.json", &[0]),
        ("/rest/pat.json/", &[0]),
        ("/rest/p%C5%BF", &[]),
        ("/rest/patx", &[]),
        ("/rest", &[]),
        ("/Admin/", &[1]),
        ("/admin.XML", &[1]),
        ("/admin/x", &[]),
        ("/a/x/b", &[2]),
        ("/a/x/B/", &[2]),
        ("/a/x/b/c", &[]),
        ("/v/2.0/x", &[3]),
        ("/v/2.0.1/X.json", &[3]),
        ("/v/2/x", &[]),
        ("/", &[]),
    ] {
        assert_eq!(find_wide(&patterns, path), expected, "{path}");
    }
    // A long s has the capital S.
    assert_eq!(find_wide(&["/secure"], "/%C5%BFecure"), [0]);
    assert_eq!(find_wide(&["/"], "/"), [0]);
}

#[test]
fn many_rules_on_one_path_are_told_apart_by_caller() {
    let mut matcher = Matcher::default();
    for number in 0..10_000 {
        matcher.insert(&pattern("/a/*"), &[format!("c{number}").parse().unwrap()], number);
    }
    matcher.insert(&pattern("/a/*"), &[], 10_000);
    let caller: CallerName = "c7777".parse().unwrap();
    let mut found = Vec::new();
    matcher
        .visit(&CanonicalPath::parse("/a/b").unwrap(), |ends| found.extend(ends.of(Some(&caller)).concat()));
    assert_eq!(found, [10_000, 7_777]);
}

/// The plain reading of a pattern, to compare the tree with.
fn fits(pattern: &[Part], segments: &[&str]) -> bool {
    match (pattern.split_first(), segments.split_first()) {
        (None, None) | (Some((Part::Rest, _)), Some(_)) => true,
        (Some((Part::Any, pattern)), Some((segment, segments))) => {
            !segment.is_empty() && fits(pattern, segments)
        }
        (Some((Part::Glob(before, after), pattern)), Some((segment, segments))) => {
            segment.len() > before.len() + after.len()
                && segment.starts_with(&**before)
                && segment.ends_with(&**after)
                && fits(pattern, segments)
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
        patterns in proptest::collection::vec("(/(a|b|ab|\\*|a\\*|\\*b|a\\*b)){0,4}(/a|/\\*|/\\*\\*|/|/b\\*)", 0..20),
        path in "(/[abc]{1,3}){0,5}(/[abc]{1,2}|/)",
    ) {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let canonical = CanonicalPath::parse(&path).unwrap();
        let segments: Vec<&str> = canonical.segments().collect();
        let expected: Vec<u32> = patterns.iter().zip(0..)
            .filter(|(path, _)| fits(&pattern(path), &segments))
            .map(|(_, number)| number).collect();
        prop_assert_eq!(find(&patterns, &path), expected);
    }

    #[test]
    fn whatever_fits_plainly_fits_widely(
        patterns in proptest::collection::vec("(/(a|B|\\*|a\\*)){0,3}(/a|/\\*|/\\*\\*|/)", 0..12),
        path in "(/[abAB]{1,2}){0,4}(/[aA.]{1,3}[ab]|/)",
    ) {
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let plain = find(&patterns, &path);
        let wide = find_wide(&patterns, &path);
        prop_assert!(plain.iter().all(|number| wide.contains(number)), "{plain:?} {wide:?}");
        let shouted = find_wide(&patterns, &path.to_uppercase());
        prop_assert_eq!(wide, shouted);
    }
}
