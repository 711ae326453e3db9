//! Whether a rule's path can reach one of the list: for what is told to people before any call is made. What decides
//! a call is its own path.

use super::super::target::Part;
use super::MAX_CONTEXT;

/// Whether any path might fit both. Where that can't be told, it might.
pub(super) fn overlaps(rule: &[Part], guarded: &[Part]) -> bool {
    (0..=MAX_CONTEXT.min(rule.len())).any(|skip| {
        let (context, rest) = rule.split_at(skip);
        is_context(context) && meet(rest, guarded)
    })
}

/// Whether these segments may be a context path. None is called like what the applications have below theirs.
fn is_context(parts: &[Part]) -> bool {
    let own = |text: &str| BELOW.iter().any(|own| text.eq_ignore_ascii_case(own));
    !parts.iter().any(|part| matches!(part, Part::Rest) || matches!(part, Part::Literal(text) if own(text)))
}

/// What applications have below their context path.
const BELOW: [&str; 6] = ["rest", "secure", "plugins", "download", "s", "status"];

fn meet(rule: &[Part], guarded: &[Part]) -> bool {
    match (rule.split_first(), guarded.split_first()) {
        (Some((Part::Rest, _)), _) | (_, Some((Part::Rest, _))) | (None, None) => true,
        // A slash at the end makes no difference.
        (Some((Part::Literal(text), [])), None) => text.is_empty(),
        (Some((one, rule)), Some((other, guarded))) => meets(one, other) && meet(rule, guarded),
        _ => false,
    }
}

fn meets(rule: &Part, guarded: &Part) -> bool {
    let Part::Literal(wanted) = guarded else { return true };
    let wanted = wanted.to_lowercase();
    match rule {
        Part::Any | Part::Rest => true,
        Part::Literal(text) => {
            let text = text.to_lowercase();
            let stem = text.rsplit_once('.').map_or(text.as_str(), |(stem, _)| stem);
            text == wanted || stem == wanted || (wanted == LATEST && begins_with_digit(&text))
        }
        Part::Glob(before, _) => {
            let before = before.to_lowercase();
            wanted.starts_with(&before)
                || before.starts_with(&wanted)
                || (wanted == LATEST && begins_with_digit(&before))
        }
    }
}

fn begins_with_digit(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}

/// Stands for every version in the list.
const LATEST: &str = "latest";
