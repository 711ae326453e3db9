//! Any request target: it is refused, or has one reading, and what is sent reads the same.

use outhaul::agent::policy::{CanonicalPath, Query};

/// One run.
pub(super) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (path, query) = text.split_once('?').map_or((&*text, None), |(path, query)| (path, Some(query)));
    if let Ok(query) = Query::parse(query) {
        assert!(query.as_str().is_none_or(|query| query.bytes().all(|byte| byte.is_ascii_graphic())));
    }
    let Ok(path) = CanonicalPath::parse(path) else { return };
    assert_eq!(CanonicalPath::parse(path.as_str()).as_ref(), Ok(&path), "sent reads differently");
    let segments: Vec<&str> = path.segments().collect();
    let (last, before) = segments.split_last().unwrap();
    assert!(before.iter().all(|segment| !segment.is_empty()), "two slashes in a row");
    for segment in before.iter().chain([last]) {
        assert!(!matches!(*segment, "." | ".."), "a dot segment");
        assert!(!segment.contains(['/', '\\', ';']) && !segment.chars().any(char::is_control), "{segment:?}");
    }
    assert!(path.as_str().bytes().all(|byte| byte.is_ascii_graphic() && !b"\\;#?".contains(&byte)));
}
