//! What no rule of any site can allow: calls that would hand out, change or go around credentials and rights.

use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use toml::Spanned;

use super::matcher::Matcher;
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
    for skip in 0..=MAX_CONTEXT {
        list.matcher.visit_wide(path, skip, |ends| {
            found = found.into_iter().chain(ends.all.first().copied()).min();
        });
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

struct List {
    matcher: Matcher,
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
    paths: Vec<Spanned<String>>,
    why: String,
}

static LIST: LazyLock<Option<List>> = LazyLock::new(|| {
    let file: File = toml::from_str(TEXT).ok()?;
    let mut list = List { matcher: Matcher::default(), denials: Vec::new() };
    for entry in file.denied {
        for path in entry.paths {
            let before = TEXT.get(..path.span().start)?;
            let place = Place { file: "always-denied".into(), line: before.matches('\n').count() + 1 };
            let deny: DeniedTarget = format!("* {}", path.get_ref()).parse().ok()?;
            let denial = Denial::new(deny, entry.why.clone(), None, place);
            let number = u32::try_from(list.denials.len()).ok()?;
            list.matcher.insert_wide(denial.deny().pattern(), &[], number);
            list.denials.push(Arc::new(denial));
        }
    }
    Some(list)
});

/// An upstream whose url lacks its context path has it in the paths of its calls.
const MAX_CONTEXT: usize = 2;

#[cfg(test)]
mod tests;
