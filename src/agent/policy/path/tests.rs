use proptest::prelude::*;

use super::*;

const VECTORS: &str = include_str!("../../../../tests/vectors/paths.txt");

/// The file's own escapes for what would not survive an editor.
fn raw(text: &str) -> String {
    let mut raw = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        raw.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let code = after.strip_prefix('x').and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        if let Some(code) = code {
            raw.push(char::from(code));
            rest = &after[3..];
        } else if let Some(after) = after.strip_prefix('s') {
            raw.push(' ');
            rest = after;
        } else {
            raw.push('\\');
            rest = after;
        }
    }
    raw + rest
}

#[test]
fn every_spelling_is_read_as_written_down() {
    let mut count = 0;
    for line in VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(rest) = line.strip_prefix("allow ") {
            let (given, sent) = rest.split_once(" => ").unwrap();
            let path = CanonicalPath::parse(&raw(given)).unwrap_or_else(|fault| panic!("{line}: {fault}"));
            assert_eq!(path.as_str(), sent, "{line}");
        } else {
            let (reason, given) = line.strip_prefix("refuse ").unwrap().split_once(' ').unwrap();
            let fault = CanonicalPath::parse(&raw(given)).err().map(PathFault::as_str);
            assert_eq!(fault, Some(reason), "{line}");
        }
        count += 1;
    }
    assert!(count >= 80, "{count}");
}

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
