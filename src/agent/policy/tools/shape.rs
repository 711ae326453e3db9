//! The shape of a path: its segments with every value taken out, so that `/issue/TEST-1` and `/issue/ABC-22` are one.
//!
//! What stays are the words of the interface; what looks like somebody's data becomes `*`: issue keys, project and
//! plan keys, numbers, UUIDs, long hexadecimal numbers, names with other letters than the interface's own words
//! have, and whatever follows a word after which only a name can come. So a shape is what a rule would say, and
//! holds next to nothing about whom a call was for.

use super::super::path::CanonicalPath;
use super::super::target::MAX_PARTS;

/// The shape, written as a rule's path; none where the path is too long or too deep to be worth one.
pub fn shape(path: &CanonicalPath) -> Option<String> {
    let segments: Vec<&str> = path.segments().collect();
    if segments.len() > MAX_PARTS {
        return None;
    }
    let mut shape = String::new();
    for (index, segment) in segments.iter().enumerate() {
        let before = |steps: usize| index.checked_sub(steps).and_then(|at| segments.get(at)).copied();
        let is_version = index == 2 && before(2) == Some("rest") && is_version(segment);
        shape.push('/');
        if !segment.is_empty() && !is_version && is_value(segment, before(1), before(2)) {
            shape.push('*');
        } else {
            // A word of plain letters: its one spelling is itself.
            shape.push_str(segment);
        }
    }
    (shape.len() <= MAX_SHAPE).then_some(shape)
}

/// `/rest/api/2`, `/rest/agile/1.0`, `/rest/api/latest`.
fn is_version(segment: &str) -> bool {
    let number = |part: &str| matches!(part.len(), 1..=2) && part.bytes().all(|byte| byte.is_ascii_digit());
    segment == "latest" || (segment.split('.').count() <= 3 && segment.split('.').all(number))
}

fn is_value(segment: &str, before: Option<&str>, before_that: Option<&str>) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !segment.bytes().all(word)
        || segment.len() > MAX_WORD
        || before.is_some_and(|before| NAMES_FOLLOW.contains(&before))
        || before_that.is_some_and(|before| NAMES_FOLLOW_NEXT.contains(&before))
        || is_number(segment)
        || is_key(segment)
        || is_hex(segment)
}

/// Whole numbers, and versions of artifacts and times such as `1.0.3` or `2024-05-23`.
fn is_number(segment: &str) -> bool {
    segment.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && segment.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte))
        && segment.bytes().any(|byte| byte.is_ascii_digit())
}

/// `TEST`, `TEST-1`, `PROJ-PLAN-12`, `JIRAUSER10100`: no word of an interface is in capitals. And an issue's key in
/// small letters, which Jira takes too.
fn is_key(segment: &str) -> bool {
    let capitals = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let letter = segment.starts_with(|first: char| first.is_ascii_alphabetic());
    let lower = segment
        .split_once('-')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    letter && (segment.bytes().all(capitals) || lower)
}

/// UUIDs (RFC 9562, section 4), and hexadecimal numbers of 16 digits and more.
fn is_hex(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = segment.bytes().filter(|byte| *byte == b'-').count();
    digits >= 16 && digits + dashes == segment.len() && segment.bytes().any(|byte| byte.is_ascii_digit())
}

/// Words of the applications' interfaces after which comes a name that somebody chose.
const NAMES_FOLLOW: &[&str] = &["properties", "property", "repos", "session", "spaces"];
/// The same one segment on: `/secure/attachment/10000/name.txt`.
const NAMES_FOLLOW_NEXT: &[&str] = &["attachment", "thumbnail", "attachments"];

/// No word of an interface is longer.
const MAX_WORD: usize = 48;
/// A longer one helps nobody.
const MAX_SHAPE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::policy::{Part, Target};
    use proptest::prelude::*;

    fn of(path: &str) -> Option<String> {
        shape(&CanonicalPath::parse(path).unwrap())
    }

    #[test]
    fn words_stay_and_values_go() {
        for (path, expected) in [
            ("/rest/api/2/issue/TEST-1/comment", "/rest/api/2/issue/*/comment"),
            ("/rest/api/2/issue/test-1/comment", "/rest/api/2/issue/*/comment"),
            ("/rest/api/2/issue/10100/comment/10200", "/rest/api/2/issue/*/comment/*"),
            (
                "/rest/api/2/issue/createmeta/TEST/issuetypes/10001",
                "/rest/api/2/issue/createmeta/*/issuetypes/*",
            ),
            ("/rest/api/2/issue/picker", "/rest/api/2/issue/picker"),
            ("/rest/api/latest/myself", "/rest/api/latest/myself"),
            ("/rest/agile/1.0/board/12/sprint", "/rest/agile/1.0/board/*/sprint"),
            ("/rest/servicedeskapi/request/12", "/rest/servicedeskapi/request/*"),
            ("/rest/servicedeskapi/12", "/rest/servicedeskapi/12"),
            ("/rest/api/2/project/TEST/role/10002", "/rest/api/2/project/*/role/*"),
            ("/rest/api/2/user/properties/outhaul.id", "/rest/api/2/user/properties/*"),
            ("/rest/api/2/user/session/bob", "/rest/api/2/user/session/*"),
            ("/rest/api/2/user/assignable/search", "/rest/api/2/user/assignable/search"),
            (
                "/rest/api/1.0/projects/PRJ/repos/my-repo/pull-requests/3",
                "/rest/api/1.0/projects/*/repos/*/pull-requests/*",
            ),
            ("/rest/api/latest/result/PROJ-PLAN-12", "/rest/api/latest/result/*"),
            ("/rest/api/user/~bob", "/rest/api/user/*"),
            ("/rest/api/space/~bob", "/rest/api/space/*"),
            ("/secure/attachment/10000/plan.pdf", "/secure/attachment/*/*"),
            ("/secure/attachment/10000/my%20plan.pdf", "/secure/attachment/*/*"),
            ("/secure/useravatar", "/secure/useravatar"),
            ("/x/3f2504e0-4f89-11d3-9a0c-0305e82c3301", "/x/*"),
            ("/x/JIRAUSER10100/y", "/x/*/y"),
            ("/x/deadbeefdeadbeef1", "/x/*"),
            ("/x/a*b", "/x/*"),
            ("/x/%C3%A4", "/x/*"),
            ("/x/alice@corp.example", "/x/*"),
            ("/x/", "/x/"),
            ("/", "/"),
        ] {
            assert_eq!(of(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn what_is_too_much_has_no_shape() {
        assert_eq!(of(&"/a".repeat(MAX_PARTS + 1)), None);
        assert_eq!(of(&"/abcdefghijklmnopqrstu".repeat(30)), None);
    }

    proptest! {
        /// Whatever a stranger sends, its shape can stand in a rule and on a terminal, and the rule fits the path.
        #[test]
        fn a_shape_is_a_rules_path_that_fits(path in "(/(rest|api|2|issue|[A-Z]{2,4}-[0-9]{1,3}|[a-z*~.@]{1,6}|%C3%A4)){1,8}/?") {
            let Ok(path) = CanonicalPath::parse(&path) else { return Ok(()) };
            let Some(shape) = shape(&path) else { return Ok(()) };
            prop_assert!(shape.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)), "{}", shape);
            let allow: Target = format!("GET {shape}").parse().unwrap();
            prop_assert_eq!(allow.pattern().len(), path.segments().count());
            let fits = allow.pattern().iter().zip(path.segments()).all(|(part, segment)| match part {
                Part::Literal(text) => **text == *segment,
                Part::Any => !segment.is_empty(),
                Part::Rest | Part::Glob(..) => false,
            });
            prop_assert!(fits, "{}", shape);
        }
    }
}
