//! Reads JSON so that there is one reading: no key twice, and only so deep.
//!
//! RFC 8259, section 4, leaves open what a key that stands twice means; two programs that disagree about it are how
//! one of them is talked past the other.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The one document that the bytes are, nested at most so deep.
pub fn read(bytes: &[u8], deepest: usize) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Reader { depth: deepest, deepest }.deserialize(&mut reader)?;
    reader.end().map(|()| value)
}

/// Builds a value as serde_json does, but takes no key twice and goes only so deep.
#[derive(Clone, Copy)]
struct Reader {
    depth: usize,
    deepest: usize,
}

impl Reader {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth
            .map(|depth| Self { depth, ..self })
            .ok_or_else(|| E::custom(format_args!("the JSON is nested more than {} deep", self.deepest)))
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
                // The key is a stranger's: what would steer a terminal is shown escaped.
                let shown: String = key.chars().take(60).flat_map(char::escape_debug).collect();
                return Err(A::Error::custom(format_args!("the key “{shown}” stands twice in one object")));
            }
            let value = members.next_value_seed(below)?;
            read.insert(key, value);
        }
        Ok(read.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_reading_or_none() {
        assert_eq!(read(br#"{"a":[1,-2,1.5,"x",null,true]}"#, 2).unwrap()["a"][3], "x");
        for (text, says) in [
            (r#"{"a":1,"a":1}"#, "“a” stands twice"),
            (r#"{"a":1,"\u0061":1}"#, "“a” stands twice"),
            (r#"[{"b":{"a\u202e":1,"a\u202e":1}}]"#, "“a\\u{202e}” stands twice"),
            ("[[[1]]]", "more than 2 deep"),
            ("1 2", "trailing"),
            ("", "EOF"),
        ] {
            let fault = read(text.as_bytes(), if text.contains("[[") { 2 } else { 9 }).unwrap_err();
            assert!(fault.to_string().contains(says), "{text}: {fault}");
        }
    }
}
