//! What a condition asks of a value: in a query, or in a JSON body.

use std::fmt;

use serde_json::Value;

/// What is asked of one parameter of a query or one place in a body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    /// It is there, whatever it is.
    Present,
    /// It is not there.
    Absent,
    /// It is there, and one of these.
    Is(Vec<Wanted>),
    /// It is not there, or one of these.
    AbsentOr(Vec<Wanted>),
}

/// A value that would do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// A text of this pattern.
    Text(Pattern),
    /// This whole number.
    Number(i64),
    /// `true` or `false`.
    Truth(bool),
}

/// A text in which `*` stands for any characters, or none; `\*` and `\\` stand for themselves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    /// What stands between the stars.
    pieces: Vec<Box<str>>,
}

impl Test {
    /// Judges what is there; `fits` says whether one of these fits it.
    pub(super) fn holds<V>(&self, there: Option<V>, fits: impl FnOnce(&[Wanted], V) -> bool) -> bool {
        match (self, there) {
            (Self::Present, there) => there.is_some(),
            (Self::Absent, there) => there.is_none(),
            (Self::AbsentOr(_), None) => true,
            (Self::Is(_), None) => false,
            (Self::Is(wanted) | Self::AbsentOr(wanted), Some(value)) => fits(wanted, value),
        }
    }
}

impl Wanted {
    /// Whether a parameter's value is this.
    pub(super) fn is_text(&self, value: &str) -> bool {
        match self {
            Self::Text(pattern) => pattern.fits(value),
            Self::Number(number) => value.parse() == Ok(*number) && value == number.to_string(),
            Self::Truth(truth) => value == if *truth { "true" } else { "false" },
        }
    }

    /// Whether a value in JSON is this. A number written as a text is a text.
    pub(super) fn is_json(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Text(pattern), Value::String(text)) => pattern.fits(text),
            (Self::Number(wanted), Value::Number(number)) => number.as_i64() == Some(*wanted),
            (Self::Truth(wanted), Value::Bool(truth)) => wanted == truth,
            _ => false,
        }
    }
}

impl Pattern {
    /// Reads a pattern. Every text is one.
    pub fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut piece = String::new();
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '*' => pieces.push(std::mem::take(&mut piece).into()),
                '\\' => piece.push(chars.next_if(|next| matches!(next, '*' | '\\')).unwrap_or('\\')),
                other => piece.push(other),
            }
        }
        pieces.push(piece.into());
        Self { text: text.into(), pieces }
    }

    /// Whether the text has this shape.
    pub fn fits(&self, text: &str) -> bool {
        let Some((first, rest)) = self.pieces.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else { return **first == *text };
        let Some(mut text) = text.strip_prefix(&**first).and_then(|text| text.strip_suffix(&**last)) else {
            return false;
        };
        // Each piece as early as it can be: leaves most for the next.
        for piece in middle {
            match text.split_once(&**piece) {
                Some((_, after)) => text = after,
                None => return false,
            }
        }
        true
    }
}

impl fmt::Display for Test {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => formatter.write_str("be there"),
            Self::Absent => formatter.write_str("not be there"),
            Self::Is(wanted) => write!(formatter, "be {}", listed(wanted)),
            Self::AbsentOr(wanted) => write!(formatter, "be {} or not be there", listed(wanted)),
        }
    }
}

fn listed(wanted: &[Wanted]) -> String {
    wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(pattern) => write!(formatter, "\"{}\"", pattern.text),
            Self::Number(number) => number.fmt(formatter),
            Self::Truth(truth) => truth.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_fit_what_they_say() {
        for (pattern, fits, misses) in [
            ("DEMO", &["DEMO"][..], &["demo", "DEMO ", "", "XDEMO"][..]),
            ("", &[""], &["a"]),
            ("*", &["", "a", "a b\n"], &[]),
            ("a*", &["a", "ab"], &["ba", ""]),
            ("*a", &["a", "ba"], &["ab"]),
            ("a*a", &["aa", "aba"], &["a", "ab"]),
            ("a*b*c", &["abc", "a_b_c", "abbc"], &["ac", "acb", "abcd"]),
            ("**", &["", "x"], &[]),
            ("a\\*", &["a*"], &["ab", "a\\*", "a"]),
            ("\\\\*", &["\\", "\\x"], &["x", "*"]),
            ("\\a", &["\\a"], &["a"]),
            ("é*", &["é", "éa"], &["e"]),
        ] {
            let read = Pattern::new(pattern);
            for text in fits {
                assert!(read.fits(text), "{pattern} {text}");
            }
            for text in misses {
                assert!(!read.fits(text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn kinds_are_not_mixed() {
        let number = Wanted::Number(10);
        assert!(number.is_text("10") && !number.is_text("010") && !number.is_text("+10"));
        assert!(number.is_json(&10.into()) && !number.is_json(&"10".into()) && !number.is_json(&10.5.into()));
        let truth = Wanted::Truth(true);
        assert!(truth.is_text("true") && !truth.is_text("TRUE"));
        assert!(truth.is_json(&true.into()) && !truth.is_json(&"true".into()));
        let text = Wanted::Text(Pattern::new("10"));
        assert!(text.is_json(&"10".into()) && !text.is_json(&10.into()) && !text.is_json(&Value::Null));
    }

    /// The plain reading, which tries everything.
    fn plain(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| plain(rest, &text[skip..])),
            Some((char, rest)) => text.first() == Some(char) && plain(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn stars_fit_as_when_everything_is_tried(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::new(&pattern).fits(&text), plain(&chars(&pattern), &chars(&text)));
        }
    }
}
