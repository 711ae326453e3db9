//! Conditions on a JSON body, and the one reading of it.
//!
//! Applications differ about JSON that says a thing twice: one takes the first of two equal keys, another the last.
//! So a body with such keys anywhere is refused, as is one that is nested too deep or is no JSON at all, wherever
//! a condition looks at it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::value::Test;

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
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let read = Reader { depth: MAX_DEPTH }.deserialize(&mut reader);
        let read = read.and_then(|value| reader.end().map(|()| Some(value)));
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

/// Builds a value as serde_json does, but takes no key twice and goes only so deep.
#[derive(Clone, Copy)]
struct Reader {
    depth: usize,
}

impl Reader {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth
            .map(|depth| Self { depth })
            .ok_or_else(|| E::custom(format_args!("the JSON is nested more than {MAX_DEPTH} deep")))
    }
}

impl<'de> DeserializeSeed<'de> for Reader {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(truth.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            read.push(item);
        }
        Ok(read.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut read = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if read.contains_key(&key) {
                let shown: String = key.chars().take(60).collect();
                return Err(A::Error::custom(format_args!("the key “{shown}” stands twice in one object")));
            }
            let value = members.next_value_seed(below)?;
            read.insert(key, value);
        }
        Ok(read.into())
    }
}

/// No body that is looked into is nested deeper.
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::value::{Pattern, Wanted};
    use super::*;
    use proptest::prelude::*;

    fn test(pointer: &str, test: Test) -> BodyTest {
        BodyTest(vec![(pointer.parse().unwrap(), test)])
    }

    fn text(text: &str) -> Vec<Wanted> {
        vec![Wanted::Text(Pattern::new(text))]
    }

    fn fits(test: &BodyTest, body: &str) -> Option<bool> {
        test.first_miss(&HeldBody::read(body.as_bytes())).ok().map(|miss| miss.is_none())
    }

    #[test]
    fn a_place_is_compared_with_what_it_should_be() {
        let key = test("/fields/project/key", Test::Is(text("DEMO")));
        for (body, expected) in [
            (r#"{"fields":{"project":{"key":"DEMO"},"summary":"x"}}"#, Some(true)),
            (r#" {"fields" : {"project":{"k\u0065y":"D\u0045MO"}}} "#, Some(true)),
            (r#"{"fields":{"project":{"key":"OTHER"}}}"#, Some(false)),
            (r#"{"fields":{"project":{"key":["DEMO"]}}}"#, Some(false)),
            (r#"{"fields":{"project":{"id":"1"}}}"#, Some(false)),
            (r#"{"fields":{"project":null}}"#, Some(false)),
            ("{}", Some(false)),
            ("[]", Some(false)),
            ("", Some(false)),
        ] {
            assert_eq!(fits(&key, body), expected, "{body}");
        }
    }

    #[test]
    fn what_applications_could_read_differently_is_not_judged() {
        let any = test("/a", Test::Present);
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":1,"b":{"c":[{"d":1,"d":1}]}}"#,
            r#"{"a":1}x"#,
            r#"{"a":1}{"a":2}"#,
            "\u{feff}{\"a\":1}",
            r#"{"a":1,}"#,
            "{a:1}",
            "{'a':1}",
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":1/*"*/}"#,
            "a=1",
            "{\"a\":\"\n\"}",
        ] {
            assert_eq!(fits(&any, body), None, "{body}");
        }
        assert!(HeldBody::read(b"{\"a\":\"\xff\"}").document().is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let zero = test("/0", Test::Present);
        assert_eq!(fits(&zero, &nested(MAX_DEPTH)), Some(true));
        assert_eq!(fits(&zero, &nested(MAX_DEPTH + 1)), None);
        assert_eq!(fits(&zero, &nested(100_000)), None);
    }

    #[test]
    fn absent_and_optional_mean_what_they_say() {
        let absent = test("/a/b", Test::Absent);
        assert_eq!(fits(&absent, r#"{"a":{}}"#), Some(true));
        assert_eq!(fits(&absent, r#"{"a":{"b":null}}"#), Some(false));
        assert_eq!(fits(&absent, ""), Some(false), "no body is no JSON");
        let optional = test("/a", Test::AbsentOr(vec![Wanted::Truth(false)]));
        assert_eq!(fits(&optional, "{}"), Some(true));
        assert_eq!(fits(&optional, r#"{"a":false}"#), Some(true));
        assert_eq!(fits(&optional, r#"{"a":true}"#), Some(false));
        assert_eq!(fits(&optional, r#"{"a":null}"#), Some(false));
    }

    #[test]
    fn pointers_read_as_rfc_6901_says() {
        for (pointer, body, found) in [
            ("/a~1b", r#"{"a/b":1}"#, true),
            ("/m~0n", r#"{"m~n":1}"#, true),
            ("/", r#"{"":1}"#, true),
            ("/a/1", r#"{"a":[0,1]}"#, true),
            ("/a/01", r#"{"a":[0,1]}"#, false),
            ("/a/+1", r#"{"a":[0,1]}"#, false),
            ("/a/-", r#"{"a":[0,1]}"#, false),
            ("/a/1", r#"{"a":{"1":0}}"#, true),
        ] {
            assert_eq!(fits(&test(pointer, Test::Present), body), Some(found), "{pointer}");
        }
        for bad in ["", "a", "a/b", "/a~", "/a~2", "/~"] {
            assert!(bad.parse::<Pointer>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = test("/a", Test::Present).first_miss(&HeldBody::read(&bytes));
        }

        #[test]
        fn what_is_read_is_what_serde_json_reads(body in r#"[\[\]{}":,a01]{0,24}"#) {
            // Where we read, the common reader reads the same.
            if let Ok(Some(value)) = HeldBody::read(body.as_bytes()).document() {
                prop_assert_eq!(value, &serde_json::from_str::<Value>(&body).unwrap());
            }
        }
    }
}
