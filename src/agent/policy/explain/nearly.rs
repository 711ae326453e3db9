//! Rules whose path a call misses by one thing: a slash at the end, or one segment.

use crate::agent::policy::{CanonicalPath, Part};

/// By what a path misses a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Near {
    /// The path has a slash at its end and the pattern has none.
    SlashTooMany,
    /// The other way round.
    SlashTooFew,
    /// One segment is another.
    Segment {
        /// How unlike the two are: 0 is nearest.
        distance: usize,
        /// What the pattern has there.
        wanted: String,
        /// What the path has there.
        given: String,
    },
}

/// By what one thing the path misses the pattern; nothing if it fits, or misses it by more.
pub(super) fn nearly(pattern: &[Part], path: &CanonicalPath) -> Option<Near> {
    let segments: Vec<&str> = path.segments().collect();
    let misses = misses(pattern, &segments);
    if let Some((last, rest)) = segments.split_last()
        && last.is_empty()
        && !rest.is_empty()
        && self::misses(pattern, rest).is_some_and(|misses| misses.is_empty())
    {
        return Some(Near::SlashTooMany);
    }
    let longer: Vec<&str> = segments.iter().copied().chain([""]).collect();
    let ends_in_slash =
        pattern.last().is_some_and(|part| matches!(part, Part::Literal(text) if text.is_empty()));
    if ends_in_slash && self::misses(pattern, &longer).is_some_and(|misses| misses.is_empty()) {
        return Some(Near::SlashTooFew);
    }
    // One segment of one is another path altogether.
    let misses = misses.filter(|_| segments.len() > 1)?;
    let [(part, given)] = misses.as_slice() else { return None };
    let wanted = match part {
        Part::Literal(text) if !text.is_empty() => text.to_string(),
        Part::Glob(before, after) => format!("{before}*{after}"),
        _ => return None,
    };
    if given.is_empty() {
        return None;
    }
    let distance = distance(&wanted, given);
    // Two words that have little in common are two resources, and no slip.
    let alike = 2 * distance <= wanted.chars().count().max(given.chars().count()) + 1;
    alike.then(|| Near::Segment { distance, wanted, given: (*given).to_owned() })
}

/// The parts that the segments do not fit, if there are as many of both.
fn misses<'a>(pattern: &'a [Part], segments: &[&'a str]) -> Option<Vec<(&'a Part, &'a str)>> {
    let (parts, rest) = match pattern.split_last() {
        Some((Part::Rest, parts)) => (parts, true),
        _ => (pattern, false),
    };
    if parts.len() != segments.len() && !(rest && segments.len() > parts.len()) {
        return None;
    }
    let pairs = parts.iter().zip(segments.iter().copied());
    Some(pairs.filter(|(part, segment)| !fits(part, segment)).collect())
}

fn fits(part: &Part, segment: &str) -> bool {
    match part {
        Part::Literal(text) => **text == *segment,
        Part::Glob(before, after) => {
            segment.len() > before.len() + after.len()
                && segment.starts_with(&**before)
                && segment.ends_with(&**after)
        }
        Part::Any | Part::Rest => !segment.is_empty(),
    }
}

/// Roughly how many letters differ: what is left between a common beginning and a common end. Equal but for capitals
/// counts as one, and so do the two spellings of a version.
fn distance(one: &str, other: &str) -> usize {
    if one.eq_ignore_ascii_case(other) || (one == "latest" || other == "latest") {
        return 1;
    }
    let start = one.chars().zip(other.chars()).take_while(|(left, right)| left == right).count();
    let shorter = one.chars().count().min(other.chars().count());
    let backwards = one.chars().rev().zip(other.chars().rev());
    let end = backwards.take(shorter - start).take_while(|(left, right)| left == right).count();
    one.chars().count().max(other.chars().count()) - start - end
}

impl std::fmt::Display for Near {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SlashTooMany => formatter.write_str("its path has no slash at the end"),
            Self::SlashTooFew => formatter.write_str("its path has a slash at the end"),
            Self::Segment { wanted, given, .. } => {
                write!(formatter, "its path has {} where the call has {}", clip(wanted), clip(given))
            }
        }
    }
}

fn clip(text: &str) -> String {
    let shown = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let mut clipped: String = text.chars().take(60).map(shown).collect();
    if text.chars().nth(60).is_some() {
        clipped.push('…');
    }
    format!("“{clipped}”")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::policy::Target;

    fn says(pattern: &str, path: &str) -> String {
        let target: Target = format!("GET {pattern}").parse().unwrap();
        let near = nearly(target.pattern(), &CanonicalPath::parse(path).unwrap());
        near.map_or_else(|| "-".to_owned(), |near| near.to_string())
    }

    #[test]
    fn one_thing_is_near_and_two_are_not() {
        for (pattern, path, expected) in [
            ("/rest/api/2/issue/*/comment", "/rest/api/2/issue/A-1/comment", "-"),
            ("/rest/api/2/issue/*/comment", "/rest/api/2/issue/A-1/comment/", "no slash at the end"),
            ("/rest/plugins/", "/rest/plugins", "has a slash at the end"),
            (
                "/rest/api/2/issue/*/comment",
                "/rest/api/2/issue/A-1/comments",
                "“comment” where the call has “comments”",
            ),
            (
                "/rest/api/2/issue/*/comment",
                "/rest/api/latest/issue/A-1/comment",
                "“2” where the call has “latest”",
            ),
            ("/rest/api/2/**", "/rest/API/2/a/b", "“api” where the call has “API”"),
            ("/rest/api/2/**", "/rest/api/2", "-"),
            ("/rest/api/2/issue/*/comment", "/rest/api/3/issue/A-1/comments", "-"),
            ("/rest/api/2/issue/*/comment", "/rest/api/2/issue/A-1", "-"),
            ("/status", "/stats", "-"),
            ("/status", "/status/", "no slash"),
            ("/", "/x", "-"),
            ("/x/outhaul.*", "/x/outhaul", "“outhaul.*” where the call has “outhaul”"),
            ("/rest/api/2/search", "/rest/api/2/user", "-"),
        ] {
            let says = says(pattern, path);
            assert!(
                says == expected || (expected != "-" && says.contains(expected)),
                "{pattern} {path}: {says}"
            );
        }
    }

    #[test]
    fn what_is_alike_comes_first() {
        assert_eq!(distance("comment", "comments"), 1);
        assert_eq!(distance("comment", "Comment"), 1);
        assert_eq!(distance("2", "latest"), 1);
        assert_eq!(distance("issue", "tissue"), 1);
        assert_eq!(distance("aaa", "aa"), 1);
        assert!(distance("comment", "worklog") > 4);
    }
}
