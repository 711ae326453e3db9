//! What a rule matches is exactly what is sent: each path written in any spelling, decided by rules, made a target, and
//! read again as a plain server would.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::agent::policy::{
    Call, CanonicalPath, Content, Identity, Meters, Part, Place, Policy, Query, Refusal, Rule, Trust,
    authorise,
};
use crate::common::clock::Clock;

const PATTERNS: [&str; 8] = ["/a", "/a/", "/a/*", "/a/*/c", "/a/b/c", "/%C3%A9%20b/*", "/a/**", "/"];

fn policy() -> Policy {
    let rule = |pattern: &&str| {
        let place = Place { file: "agent.toml".into(), line: 1 };
        let allow = format!("GET {pattern}").parse().unwrap();
        Rule::new(allow, "a test", "jira".parse().unwrap(), Identity::Anonymous, place)
    };
    Policy::compile(PATTERNS.iter().map(rule).collect())
}

/// The plain reading of a pattern.
fn fits(pattern: &[Part], segments: &[String]) -> bool {
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

/// A plain server's reading: split, then decode.
fn read(path: &str) -> Vec<String> {
    path.strip_prefix('/').unwrap().split('/').map(decode).collect()
}

fn decode(segment: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            decoded.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
            rest = &tail[2..];
        } else {
            decoded.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(decoded).unwrap()
}

/// A path in some spelling: each byte as it is, or encoded in one of two ways.
fn spelled() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        4 => Just("a".to_owned()), 2 => Just("b".to_owned()), 2 => Just("c".to_owned()),
        1 => Just("é b".to_owned()), 1 => Just(String::new()), 1 => "[.;/\\\\%2ef+\u{ff0e}a]{0,4}", 1 => "\\PC{1,4}",
    ];
    let byte_ways = proptest::collection::vec(0_u8..8, 24);
    let segments = proptest::collection::vec((segment, byte_ways), 0..5);
    segments.prop_map(|segments| {
        let mut path = String::new();
        for (segment, ways) in segments {
            path.push('/');
            for (byte, way) in segment.bytes().zip(ways.into_iter().cycle()) {
                match way {
                    0 => write!(path, "%{byte:02x}").unwrap(),
                    1 => write!(path, "%{byte:02X}").unwrap(),
                    _ if byte.is_ascii() && byte != b' ' => path.push(char::from(byte)),
                    _ => write!(path, "%{byte:02X}").unwrap(),
                }
            }
        }
        if path.is_empty() { "/".to_owned() } else { path }
    })
}

fn decide(policy: &Policy, call: Call) -> Result<Permit, Refusal> {
    authorise(policy, &Meters::default(), call, Clock::manual().now())
}

fn call(path: CanonicalPath, query: Option<&str>) -> Call {
    Call {
        method: Method::GET,
        upstream: "jira".parse().unwrap(),
        path,
        query: Query::parse(query).unwrap(),
        caller: None,
        trust: Trust::default(),
        content: Content::default(),
        body: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_a_rule_matches_is_what_is_sent(path in spelled(), query in proptest::option::of("[a-z=&%0-9?/;+]{0,20}")) {
        let Ok(read_path) = CanonicalPath::parse(&path) else { return Ok(()) };
        let policy = policy();
        let expected: Vec<String> = read_path.segments().map(str::to_owned).collect();
        let decided = decide(&policy, call(read_path, query.as_deref()));
        let first = policy.rules().iter().find(|rule| fits(rule.allow().pattern(), &expected));
        prop_assert_eq!(decided.is_ok(), first.is_some(), "{}", path);
        let Ok(permit) = decided else { return Ok(()) };

        let sent = target(&permit);
        let (sent_path, sent_query) =
            sent.split_once('?').map_or((sent.as_str(), None), |(path, query)| (path, Some(query)));
        prop_assert_eq!(sent_query, query.as_deref());
        let seen = read(sent_path);
        prop_assert_eq!(&seen, &expected);
        prop_assert!(fits(permit.rule().allow().pattern(), &seen));
        // And a second agent in the line would read the same.
        let again = CanonicalPath::parse(sent_path).unwrap();
        prop_assert_eq!(again.as_str(), sent_path);
        prop_assert!(again.segments().eq(permit.path().segments()));
    }
}

#[test]
fn the_strategy_meets_both_verdicts_and_every_pattern() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let policy = policy();
    let (mut refused, mut denied, mut allowed) = (0, 0, std::collections::HashSet::new());
    for _ in 0..4000 {
        let path = spelled().new_tree(&mut runner).unwrap().current();
        match CanonicalPath::parse(&path) {
            Err(_) => refused += 1,
            Ok(path) => match decide(&policy, call(path, None)) {
                Err(_) => denied += 1,
                Ok(permit) => drop(allowed.insert(format!("{:?}", permit.rule().allow()))),
            },
        }
    }
    assert!(refused > 100 && denied > 100, "{refused} {denied}");
    assert!(allowed.len() >= PATTERNS.len() - 1, "{allowed:?}");
}
