//! Conditions on a JSON body, and the one reading of it.
//!
//! Applications differ about JSON that says a thing twice: one takes the first of two equal keys, another the last.
//! So a body with such keys anywhere is refused, as is one that is nested too deep or is no JSON at all, wherever
//! a condition looks at it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use super::value::Test;
use crate::common::strict_json;

/// All that is asked of a body; each must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct BodyTest(pub Vec<(Pointer, Test)>);

/// A place in a JSON document (RFC 6901): `/fields/project/key`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer {
    text: Box<str>,
    keys: Vec<Box<str>>,
}

/// A text that is no pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no JSON pointer: write the keys with a slash before each, as in \"/fields/project/key\"")]
pub struct PointerFault(String);

/// A body that was read to its end, and taken apart.
#[derive(Debug, Clone)]
pub struct HeldBody(Arc<Result<Option<Value>, JsonFault>>);

/// Why a body can't be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonFault(String);

impl HeldBody {
    /// Reads a whole body.
    pub fn read(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self(Arc::new(Ok(None)));
        }
        let read = strict_json::read(bytes, MAX_DEPTH).map(Some);
        Self(Arc::new(read.map_err(|error| JsonFault(error.to_string().chars().take(200).collect()))))
    }

    fn document(&self) -> Result<Option<&Value>, JsonFault> {
        self.0.as_ref().as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}

impl BodyTest {
    /// Whether it asks nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first condition that does not hold. No body fits nothing.
    pub(super) fn first_miss(&self, body: &HeldBody) -> Result<Option<&(Pointer, Test)>, JsonFault> {
        let document = body.document()?;
        let holds = |(pointer, test): &&(Pointer, Test)| {
            let Some(document) = document else { return false };
            test.holds(pointer.find(document), |wanted, value| {
                wanted.iter().any(|wanted| wanted.is_json(value))
            })
        };
        Ok(self.0.iter().find(|test| !holds(test)))
    }
}

impl Pointer {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn find<'v>(&self, document: &'v Value) -> Option<&'v Value> {
        self.keys.iter().try_fold(document, |value, key| match value {
            Value::Object(members) => members.get(&**key),
            // RFC 6901, section 4: no leading zeros.
            Value::Array(items) if **key == *"0" || !key.starts_with(['0', '+']) => {
                items.get(key.parse::<usize>().ok()?)
            }
            _ => None,
        })
    }
}

impl FromStr for Pointer {
    type Err = PointerFault;
    fn from_str(text: &str) -> Result<Self, PointerFault> {
        let fault = || PointerFault(text.chars().take(80).collect());
        let mut keys = text.split('/');
        if keys.next() != Some("") || text.is_empty() {
            return Err(fault());
        }
        let keys: Option<Vec<Box<str>>> = keys.map(|key| unescape(key).map(Into::into)).collect();
        let keys = keys.filter(|keys| keys.len() <= MAX_DEPTH).ok_or_else(fault)?;
        Ok(Self { text: text.into(), keys })
    }
}

/// `~1` is a slash and `~0` a tilde; nothing else may follow one.
fn unescape(key: &str) -> Option<String> {
    let mut pieces = key.split('~');
    let mut whole = pieces.next()?.to_owned();
    for piece in pieces {
        let (mark, rest) = piece.split_at_checked(1)?;
        whole.push(match mark {
            "0" => '~',
            "1" => '/',
            _ => return None,
        });
        whole.push_str(rest);
    }
    Some(whole)
}

impl fmt::Display for BodyTest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (pointer, test)) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { ", " };
            write!(formatter, "{between}{} must {test}", pointer.as_str())?;
        }
        Ok(())
    }
}

/// No body that is looked into is nested deeper.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests;
