use proptest::prelude::*;

use super::*;

#[path = "../../../../tests/vectors/read_paths.rs"]
mod vectors;

use vectors::{Fate, spellings};

#[test]
fn every_spelling_is_read_as_written_down() {
    let (mut counts, mut wrong) = ((0, 0), Vec::new());
    for spelling in &spellings() {
        let parsed = CanonicalPath::parse(&spelling.raw);
        let fits = match (&spelling.fate, &parsed) {
            (Fate::Allowed { sent, segments }, Ok(path)) => {
                check(path);
                counts.0 += 1;
                path.as_str() == sent && path.segments().eq(segments)
            }
            (Fate::Refused(reason), Err(fault)) => {
                counts.1 += 1;
                fault.as_str() == reason
            }
            _ => false,
        };
        if !fits {
            wrong.push(format!("{}\n    is {parsed:?}", spelling.line));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(counts.0 >= 150 && counts.1 >= 250, "{counts:?}");
}

#[test]
fn every_reason_has_its_spellings() {
    // Too long and the query's own reasons are no matter of a line.
    let elsewhere = [PathFault::TooLong, PathFault::Query, PathFault::QueryCredentials];
    let spellings = spellings();
    for fault in ALL.iter().filter(|fault| !elsewhere.contains(fault)) {
        let count = spellings
            .iter()
            .filter(|spelling| matches!(&spelling.fate, Fate::Refused(reason) if reason == fault.as_str()))
            .count();
        assert!(count >= 6, "{}: {count}", fault.as_str());
    }
}

/// Two spellings that are sent alike are matched alike, and the other way round: no segment has two spellings.
#[test]
fn one_reading_has_one_spelling() {
    let mut read = std::collections::HashMap::new();
    for spelling in spellings() {
        if let Fate::Allowed { sent, segments } = spelling.fate {
            assert_eq!(read.entry(sent).or_insert_with(|| segments.clone()), &segments, "{}", spelling.line);
        }
    }
    let distinct: std::collections::HashSet<_> = read.values().collect();
    assert_eq!(distinct.len(), read.len());
}

const ALL: [PathFault; 16] = [
    PathFault::NotAbsolute,
    PathFault::AbsoluteForm,
    PathFault::EmptySegment,
    PathFault::DotSegment,
    PathFault::EncodedSlash,
    PathFault::Control,
    PathFault::DoubleEncoding,
    PathFault::Semicolon,
    PathFault::Backslash,
    PathFault::BadPercent,
    PathFault::BadUtf8,
    PathFault::Unencoded,
    PathFault::Fragment,
    PathFault::TooLong,
    PathFault::Query,
    PathFault::QueryCredentials,
];

#[test]
fn an_empty_path_and_an_endless_one_are_refused() {
    assert_eq!(CanonicalPath::parse(""), Err(PathFault::NotAbsolute));
    assert!(CanonicalPath::parse(&format!("/{}", "a".repeat(MAX_PATH - 1))).is_ok());
    assert_eq!(CanonicalPath::parse(&format!("/{}", "a".repeat(MAX_PATH))), Err(PathFault::TooLong));
}

#[test]
fn each_fault_becomes_a_problem_that_says_what_to_do() {
    let problem = PathFault::Semicolon.problem();
    assert_eq!(problem.code, Code::AmbiguousPath);
    assert_eq!(problem.detail, "The path holds a semicolon. Send the path in its plain form.");
    assert_eq!(PathFault::Query.problem().code, Code::BadRequest);
}

fn check(path: &CanonicalPath) {
    let again = CanonicalPath::parse(path.as_str()).unwrap();
    assert_eq!(&again, path, "sent is a fixpoint with the same segments");
    let segments: Vec<&str> = path.segments().collect();
    assert!(!segments.is_empty());
    for (index, segment) in segments.iter().enumerate() {
        assert!(!segment.is_empty() || index == segments.len() - 1);
        assert!(*segment != "." && *segment != "..");
        assert!(!segment.contains(['/', '\\', ';']) && !segment.chars().any(char::is_control));
    }
    assert!(path.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !b"\\;#?\"<>".contains(&byte)));
}

proptest! {
    #[test]
    fn any_text_is_refused_or_has_one_reading(text in "/?\\PC{0,40}") {
        if let Ok(path) = CanonicalPath::parse(&text) { check(&path); }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(path) = CanonicalPath::parse(&String::from_utf8_lossy(&bytes)) { check(&path); }
        let latin: String = bytes.iter().copied().map(char::from).collect();
        if let Ok(path) = CanonicalPath::parse(&latin) { check(&path); }
    }

    #[test]
    fn any_escapes_are_refused_or_have_one_reading(text in "(/|%[0-9a-f]{2}|%25|\\.|%2e|;|a|%c3%a9){0,12}") {
        if let Ok(path) = CanonicalPath::parse(&format!("/{text}")) { check(&path); }
    }

    #[test]
    fn whatever_segments_are_allowed_arrive_unchanged(segments in proptest::collection::vec("[a-z %?#é€+\"]{1,8}", 1..6)) {
        let mut text = String::new();
        for segment in &segments {
            text.push('/');
            for byte in segment.bytes() { let _ = write!(text, "%{byte:02x}"); }
        }
        if let Ok(path) = CanonicalPath::parse(&text) {
            prop_assert_eq!(path.segments().map(str::to_owned).collect::<Vec<_>>(), segments);
            check(&path);
        }
    }
}
