//! What no rule of any site can allow: calls that would hand out, change or go around credentials and rights.

use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use toml::Spanned;

use super::matcher::{Ends, Matcher};
use super::{CanonicalPath, Denial, DeniedTarget, Place, Reason};

/// The list as it is shipped: TOML, each entry with its reason.
const TEXT: &str = include_str!("../profiles/always-denied.toml");

/// Refuses a path that is on the list, in every spelling, and also below a context path of up to two segments that
/// the configuration does not know of.
pub fn always_denied(path: &CanonicalPath) -> Result<(), Reason> {
    let Some(list) = LIST.as_ref() else {
        // Can't be: the list is part of the program, and a test reads it. Without it nothing may pass.
        return Err(Reason::Method);
    };
    let mut found: Option<u32> = None;
    let mut first = |ends: &Ends| found = found.into_iter().chain(ends.all.first().copied()).min();
    for skip in 0..=MAX_CONTEXT {
        list.matcher.visit_wide(path, skip, &mut first);
    }
    // Nearly every path is done with at a glance; neither character is ever sent encoded.
    if path.as_str().bytes().zip(path.as_str().bytes().skip(1)).any(|pair| pair == (b'/', b'_')) {
        for skip in 0..=MAX_CONTEXT {
            if path.segments().skip(skip + 1).any(|segment| segment == WAY) {
                list.ways.visit_wide(path, skip, &mut first);
            }
        }
    }
    let end = path.as_str().bytes().rev().skip_while(|byte| *byte == b'/');
    if end.take_while(|byte| *byte != b'/').any(|byte| byte == b'.') {
        let named = path.segments().filter(|segment| !segment.is_empty()).count();
        list.names.visit_wide(path, named.saturating_sub(1), first);
    }
    match found.and_then(|number| list.denials.get(usize::try_from(number).ok()?)) {
        Some(denial) => Err(Reason::AlwaysDenied(Arc::clone(denial))),
        None => Ok(()),
    }
}

/// Its entries, for people.
pub fn always_denied_paths() -> impl Iterator<Item = &'static Arc<Denial>> {
    LIST.iter().flat_map(|list| &list.denials)
}

#[derive(Default)]
struct List {
    /// At the front of a path.
    matcher: Matcher,
    /// At its end, however deep; each has a dot.
    names: Matcher,
    /// At the front, where [`WAY`] follows somewhere.
    ways: Matcher,
    denials: Vec<Arc<Denial>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    denied: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    paths: Vec<Spanned<String>>,
    #[serde(default)]
    names: Vec<Spanned<String>>,
    #[serde(default)]
    ways: Vec<Spanned<String>>,
    why: String,
}

static LIST: LazyLock<Option<List>> = LazyLock::new(|| {
    let file: File = toml::from_str(TEXT).ok()?;
    let mut list = List::default();
    for Entry { paths, names, ways, why } in file.denied {
        for path in paths {
            let (denial, number) = list.add(&path, &why)?;
            list.matcher.insert_wide(denial.deny().pattern(), &[], number);
        }
        for name in names {
            let (denial, number) = list.add(&name, &why)?;
            list.names.insert_wide(denial.deny().pattern(), &[], number);
        }
        for way in ways {
            let (denial, number) = list.add(&way, &why)?;
            list.ways.insert_wide(denial.deny().pattern(), &[], number);
        }
    }
    Some(list)
});

impl List {
    fn add(&mut self, path: &Spanned<String>, why: &str) -> Option<(Arc<Denial>, u32)> {
        let before = TEXT.get(..path.span().start)?;
        let place = Place { file: "always-denied".into(), line: before.matches('\n').count() + 1 };
        let deny: DeniedTarget = format!("* {}", path.get_ref()).parse().ok()?;
        let denial = Arc::new(Denial::new(deny, why, None, place));
        let number = u32::try_from(self.denials.len()).ok()?;
        self.denials.push(Arc::clone(&denial));
        Some((denial, number))
    }
}

/// What follows this segment below `/s` is the path that Atlassian's applications answer.
const WAY: &str = "_";

/// An upstream whose url lacks its context path has it in the paths of its calls.
pub(super) const MAX_CONTEXT: usize = 2;

#[cfg(test)]
mod tests;
