//! The person a call is made for: `{provider}:{subject}`, as in the header `Outhaul-Act-As`.
//!
//! The provider says in whose name space the subject stands (`teams`, `entra`, `scim`); the subject is that
//! provider's own name for the person and means nothing else. How both are written is in `docs/act-as.md`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::ids::Provider;

/// A person as a provider names them. Cheap to clone; two are the same if they mean the same text, however it was
/// percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActAs {
    /// Decoded, with the first colon between the two.
    text: Arc<str>,
}

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this names no person: {0}. Write provider:subject, such as teams:4f2c…, the subject percent-encoded"
)]
pub struct ActAsFault(&'static str);

impl ActAs {
    /// The person whom this provider calls so; `subject` is not encoded.
    pub fn new(provider: &Provider, subject: &str) -> Result<Self, ActAsFault> {
        Self::of(provider.as_str(), subject)
    }

    /// From the header: visible ASCII, the subject percent-encoded where it holds anything else, or a `%`.
    pub fn parse(value: &str) -> Result<Self, ActAsFault> {
        let (provider, subject) = value.split_once(':').ok_or(ActAsFault("there is no colon in it"))?;
        if provider.parse::<Provider>().is_err() {
            return Err(ActAsFault("the provider is not 1 to 63 characters a-z, 0-9 and -"));
        }
        if !subject.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ActAsFault("a letter outside visible ASCII must be percent-encoded"));
        }
        if subject.len() > 3 * MAX_SUBJECT {
            return Err(TOO_LONG);
        }
        if !subject.contains('%') {
            return Self::of(provider, subject);
        }
        let well_encoded = subject.split('%').skip(1).all(|after| {
            after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
        if !well_encoded {
            return Err(ActAsFault("a % in it is not followed by two hexadecimal digits"));
        }
        let decoded = percent_decode_str(subject).decode_utf8();
        Self::of(provider, &decoded.map_err(|_| ActAsFault("its percent-encoding is not UTF-8"))?)
    }

    fn of(provider: &str, subject: &str) -> Result<Self, ActAsFault> {
        if subject.is_empty() {
            return Err(ActAsFault("the subject is empty"));
        }
        if subject.len() > MAX_SUBJECT {
            return Err(TOO_LONG);
        }
        if subject.chars().any(char::is_control) || subject.trim() != subject {
            return Err(ActAsFault("the subject holds control characters, or begins or ends with a space"));
        }
        Ok(Self { text: format!("{provider}:{subject}").into() })
    }

    /// Who says so.
    pub fn provider(&self) -> &str {
        self.text.split_once(':').map_or("", |(provider, _)| provider)
    }

    /// The provider's name for the person, decoded.
    pub fn subject(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, subject)| subject)
    }
}

/// As in the header: one line of visible ASCII.
impl fmt::Display for ActAs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        utf8_percent_encode(&self.text, ENCODED).fmt(formatter)
    }
}

impl FromStr for ActAs {
    type Err = ActAsFault;
    fn from_str(text: &str) -> Result<Self, ActAsFault> {
        Self::parse(text)
    }
}

impl TryFrom<String> for ActAs {
    type Error = ActAsFault;
    fn try_from(text: String) -> Result<Self, ActAsFault> {
        Self::parse(&text)
    }
}

impl From<ActAs> for String {
    fn from(act_as: ActAs) -> Self {
        act_as.to_string()
    }
}

const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
/// In bytes of UTF-8.
const MAX_SUBJECT: usize = 255;
const TOO_LONG: ActAsFault = ActAsFault("the subject is longer than 255 bytes");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_names_somebody_is_read_once_and_the_same() {
        let longest = "x".repeat(255);
        for (value, provider, subject, shown) in [
            ("teams:29:1abc-_/+=", "teams", "29:1abc-_/+=", "teams:29:1abc-_/+="),
            ("entra:a%40b", "entra", "a@b", "entra:a@b"),
            ("entra:a@b", "entra", "a@b", "entra:a@b"),
            ("x-1:J%C3%BCrgen%20M", "x-1", "Jürgen M", "x-1:J%C3%BCrgen%20M"),
            ("x:100%25", "x", "100%", "x:100%25"),
            ("x:%2541", "x", "%41", "x:%2541"),
            (&format!("x:{longest}"), "x", longest.as_str(), &format!("x:{longest}")),
        ] {
            let act_as = ActAs::parse(value).unwrap();
            assert_eq!((act_as.provider(), act_as.subject()), (provider, subject), "{value}");
            assert_eq!(act_as.to_string(), shown);
            assert_eq!(ActAs::new(&provider.parse().unwrap(), subject).unwrap(), act_as);
        }
    }

    #[test]
    fn what_is_ambiguous_or_names_nobody_is_refused() {
        let long = "x".repeat(256);
        for value in [
            "",
            ":",
            "teams",
            "teams:",
            ":x",
            "Teams:x",
            "te ams:x",
            "-t:x",
            "t-:x",
            "té:x",
            "t:a b",
            "t:ü",
            "t: x",
            "t:a\u{7f}",
            "t:%",
            "t:%4",
            "t:%zz",
            "t:%%41",
            "t:%ff",
            "t:%C3",
            "t:a%00b",
            "t:a%0Ab",
            "t:%20x",
            "t:x%20",
            "t:%C2%85",
            &format!("t:{long}"),
            &format!("t:{}", "%41".repeat(256)),
        ] {
            assert!(ActAs::parse(value).is_err(), "{value}");
        }
        assert!(ActAs::new(&"t".parse().unwrap(), "").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(subject in "\\PC{1,60}") {
            if let Ok(act_as) = ActAs::new(&"t".parse().unwrap(), &subject) {
                let shown = act_as.to_string();
                prop_assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert_eq!(ActAs::parse(&shown).unwrap(), act_as);
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,80}") {
            let _ = ActAs::parse(&text);
        }
    }
}
