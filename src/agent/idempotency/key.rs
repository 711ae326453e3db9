//! The header field: a structured-field string as the draft has it, or the bare key that most programs send.

use http::{HeaderMap, HeaderName};
use ring::digest::{self, SHA256};

use crate::common::ids::{CallerName, UpstreamName};

/// `Idempotency-Key`.
pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// What a caller names one call by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<str>);

/// Where a key means something, and the key: two callers may choose the same, and one caller for two applications.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Whose it is.
    pub caller: CallerName,
    /// For which application.
    pub upstream: UpstreamName,
    /// SHA-256 of these two and the key, which itself is kept nowhere.
    pub key: [u8; 32],
}

impl Scope {
    /// Of this key.
    pub fn new(caller: CallerName, upstream: UpstreamName, key: &Key) -> Self {
        let mut context = digest::Context::new(&SHA256);
        for part in [caller.as_str(), upstream.as_str(), key.as_str()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        // SHA-256 has 32 bytes.
        let key = context.finish().as_ref().try_into().unwrap_or_default();
        Self { caller, upstream, key }
    }
}

/// Why a field is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// More than one field.
    #[error("there is more than one Idempotency-Key")]
    Several,
    /// Nothing in it.
    #[error("the Idempotency-Key is empty")]
    Empty,
    /// Too long.
    #[error("the Idempotency-Key is longer than {MAX_KEY} characters")]
    TooLong,
    /// A character that may not stand there, or quotes that do not end.
    #[error("the Idempotency-Key is neither one quoted string nor visible ASCII without quotes and commas")]
    Malformed,
}

impl Key {
    /// Reads the field of a request; none where there is none.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, KeyFault> {
        let mut fields = headers.get_all(HEADER).iter();
        let Some(field) = fields.next() else { return Ok(None) };
        if fields.next().is_some() {
            return Err(KeyFault::Several);
        }
        Self::parse(field.as_bytes()).map(Some)
    }

    /// Reads one field's value. `"a"` and `a` are the same key.
    pub fn parse(value: &[u8]) -> Result<Self, KeyFault> {
        let value = value.trim_ascii();
        let key = match value.strip_prefix(b"\"") {
            Some(rest) => quoted(rest)?,
            None => bare(value)?,
        };
        match key.len() {
            0 => Err(KeyFault::Empty),
            length if length > MAX_KEY => Err(KeyFault::TooLong),
            _ => Ok(Self(key.into())),
        }
    }

    /// The key itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A String of RFC 9651, section 3.3.3, after its first quote. Parameters are refused: none is defined.
fn quoted(mut rest: &[u8]) -> Result<String, KeyFault> {
    let mut key = String::new();
    loop {
        let (&byte, tail) = rest.split_first().ok_or(KeyFault::Malformed)?;
        rest = tail;
        match byte {
            b'"' if rest.is_empty() => return Ok(key),
            b'\\' => {
                let (&escaped, tail) = rest.split_first().ok_or(KeyFault::Malformed)?;
                if !matches!(escaped, b'"' | b'\\') {
                    return Err(KeyFault::Malformed);
                }
                rest = tail;
                key.push(char::from(escaped));
            }
            b'"' => return Err(KeyFault::Malformed),
            b' '..=b'~' => key.push(char::from(byte)),
            _ => return Err(KeyFault::Malformed),
        }
    }
}

/// A comma could be two fields that something on the way made one of.
fn bare(value: &[u8]) -> Result<String, KeyFault> {
    let fine = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',');
    if !value.iter().all(fine) {
        return Err(KeyFault::Malformed);
    }
    String::from_utf8(value.to_vec()).map_err(|_| KeyFault::Malformed)
}

/// No key is longer; a UUID has 36.
const MAX_KEY: usize = 255;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn quoted_and_bare_are_one_key() {
        for (value, key) in [
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ("  a  ", "a"),
            ("\"a b\"", "a b"),
            ("\"a\\\"b\\\\c\"", "a\"b\\c"),
            ("\"a,b\"", "a,b"),
            ("a;b=c", "a;b=c"),
            ("a\\b", "a\\b"),
            ("!#$%&'()*+-./:<=>?@[]^_`{|}~", "!#$%&'()*+-./:<=>?@[]^_`{|}~"),
        ] {
            assert_eq!(
                Key::parse(value.as_bytes()).map(|key| key.as_str().to_owned()).as_deref(),
                Ok(key),
                "{value}"
            );
        }
        let longest = "k".repeat(MAX_KEY);
        assert!(Key::parse(longest.as_bytes()).is_ok());
        assert!(Key::parse(format!("\"{longest}\"").as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = "k".repeat(MAX_KEY + 1);
        for (value, fault) in [
            ("", KeyFault::Empty),
            ("   ", KeyFault::Empty),
            ("\"\"", KeyFault::Empty),
            ("\"", KeyFault::Malformed),
            ("\"a", KeyFault::Malformed),
            ("\"a\\\"", KeyFault::Malformed),
            ("\"a\\n\"", KeyFault::Malformed),
            ("\"a\"b", KeyFault::Malformed),
            ("\"a\";b=1", KeyFault::Malformed),
            ("\"a\", \"b\"", KeyFault::Malformed),
            ("a\"", KeyFault::Malformed),
            ("a b", KeyFault::Malformed),
            ("a,b", KeyFault::Malformed),
            ("a, b", KeyFault::Malformed),
            ("ä", KeyFault::Malformed),
            ("\"ä\"", KeyFault::Malformed),
            ("a\tb", KeyFault::Malformed),
            ("\"a\tb\"", KeyFault::Malformed),
            ("a\u{7f}", KeyFault::Malformed),
            (long.as_str(), KeyFault::TooLong),
        ] {
            assert_eq!(Key::parse(value.as_bytes()), Err(fault), "{value}");
        }
        assert_eq!(Key::parse(b"a\xff"), Err(KeyFault::Malformed));
    }

    #[test]
    fn one_field_and_no_more() {
        let mut headers = HeaderMap::new();
        assert_eq!(Key::read(&headers), Ok(None));
        headers.append(HEADER, HeaderValue::from_static("a"));
        assert_eq!(Key::read(&headers).unwrap().unwrap().as_str(), "a");
        headers.append(HEADER, HeaderValue::from_static("a"));
        assert_eq!(Key::read(&headers), Err(KeyFault::Several));
    }

    proptest::proptest! {
        #[test]
        fn no_field_panics(value in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            if let Ok(key) = Key::parse(&value) {
                proptest::prop_assert!((1..=MAX_KEY).contains(&key.as_str().len()));
            }
        }

        #[test]
        fn every_visible_key_passes_in_quotes(key in "[ -~]{1,255}") {
            let value = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            let read = Key::parse(value.as_bytes()).unwrap();
            proptest::prop_assert_eq!(read.as_str(), key);
        }
    }
}
