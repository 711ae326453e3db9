//! What a rule may ask of a query.
//!
//! Conditions look at decoded pairs. Where applications could read a pair in two ways, a rule that looks at it does
//! not guess: the call is refused. Without such a rule nothing is decoded, and any query passes.

use std::borrow::Cow;
use std::fmt;

use super::super::value::Test;
use super::Query;

/// All that is asked of a query; each must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct QueryTest {
    /// `query`: parameters by name.
    pub tests: Vec<(Box<str>, Test)>,
    /// `query-only`: no other parameters than these and those of `tests`.
    pub only: Option<Vec<Box<str>>>,
}

/// Why a query can't be judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum QueryFault {
    /// `%` without two hex digits.
    #[error("a % in the query is not followed by two hex digits")]
    Percent,
    /// Some servers split pairs there.
    #[error("the query holds a semicolon: send it as %3B")]
    Semicolon,
    /// A space to some, a plus to others.
    #[error("the name of a parameter holds a +: send a space as %20 and a plus as %2B")]
    Plus,
    /// Bytes that can't be shown, let alone compared.
    #[error("a parameter that the rule looks at holds a control character, or is not UTF-8")]
    Text,
    /// Some take the first, some the last.
    #[error("the parameter “{0}” stands there more than once, and the rule looks at it")]
    Twice(Box<str>),
}

/// The condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryMiss<'t> {
    /// This one.
    Test(&'t str, &'t Test),
    /// A parameter that `query-only` does not name.
    Unlisted(String),
}

/// Which way to err where a `+` could be a space or a plus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Reading {
    /// Each reading must fit: for rules that allow.
    Every,
    /// One reading is enough: for rules that deny.
    Some,
}

impl QueryTest {
    /// Whether it asks nothing.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty() && self.only.is_none()
    }

    /// The first condition that does not hold.
    pub(in super::super) fn first_miss(
        &self,
        query: &Query,
        reading: Reading,
    ) -> Result<Option<QueryMiss<'_>>, QueryFault> {
        if self.is_empty() {
            return Ok(None);
        }
        let raw = query.as_str().unwrap_or("");
        if raw.contains(';') {
            return Err(QueryFault::Semicolon);
        }
        let mut found: Vec<Option<&str>> = vec![None; self.tests.len()];
        let mut unlisted = None;
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.contains('+') {
                return Err(QueryFault::Plus);
            }
            let name = text(name)?;
            decode(value)?;
            let slot = self.tests.iter().zip(&mut found).find(|((wanted, _), _)| **wanted == *name);
            match (slot, &self.only) {
                (Some((_, Some(_))), _) => {
                    return Err(QueryFault::Twice(name.chars().take(60).collect::<String>().into()));
                }
                (Some((_, slot)), _) => *slot = Some(value),
                (None, Some(only)) if !only.iter().any(|listed| **listed == *name) => {
                    unlisted.get_or_insert_with(|| name.chars().take(60).collect());
                }
                (None, _) => {}
            }
        }
        for ((name, test), value) in self.tests.iter().zip(found) {
            let readings = value.map(readings).transpose()?;
            let holds = test.holds(readings, |wanted, (space, plus)| {
                let fits = |value: &str| wanted.iter().any(|wanted| wanted.is_text(value));
                match (plus, reading) {
                    (None, _) => fits(&space),
                    (Some(plus), Reading::Every) => fits(&space) && fits(&plus),
                    (Some(plus), Reading::Some) => fits(&space) || fits(&plus),
                }
            });
            if !holds {
                return Ok(Some(QueryMiss::Test(name, test)));
            }
        }
        Ok(unlisted.map(QueryMiss::Unlisted))
    }
}

/// A value with `+` as a space, and where that differs, with `+` as itself.
fn readings(value: &str) -> Result<(Cow<'_, str>, Option<Cow<'_, str>>), QueryFault> {
    if !value.contains('+') {
        return Ok((text(value)?, None));
    }
    let space = text(&value.replace('+', "%20"))?.into_owned();
    Ok((space.into(), Some(text(value)?)))
}

/// Percent-decodes what a condition looks at.
fn text(raw: &str) -> Result<Cow<'_, str>, QueryFault> {
    let text = match decode(raw)? {
        Cow::Borrowed(_) => Cow::Borrowed(raw),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| QueryFault::Text)?),
    };
    if text.chars().any(char::is_control) { Err(QueryFault::Text) } else { Ok(text) }
}

/// Percent-decodes strictly.
fn decode(raw: &str) -> Result<Cow<'_, [u8]>, QueryFault> {
    if !raw.contains('%') {
        return Ok(raw.as_bytes().into());
    }
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let (high, low) = (digit(bytes.next()), digit(bytes.next()));
            let value = high.zip(low).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            value.ok_or(QueryFault::Percent)?
        } else {
            byte
        };
        decoded.push(byte);
    }
    Ok(decoded.into())
}

impl fmt::Display for QueryTest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> =
            self.tests.iter().map(|(name, test)| format!("{name} must {test}")).collect();
        if let Some(only) = &self.only {
            let names = self.tests.iter().map(|(name, _)| name).chain(only);
            let names: Vec<&str> = names.map(|name| &**name).collect();
            parts.push(match names.as_slice() {
                [] => "no parameter".to_owned(),
                names => format!("no parameters but {}", names.join(", ")),
            });
        }
        formatter.write_str(&parts.join("; "))
    }
}

impl fmt::Display for QueryMiss<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(name, test) => write!(formatter, "{name} must {test}"),
            Self::Unlisted(name) => write!(formatter, "the parameter “{name}” is not among those it takes"),
        }
    }
}
