//! What a request says about its body: its media type, and whether it is encoded.

use std::fmt;
use std::str::FromStr;

use http::header::{self, HeaderMap, HeaderValue};

/// A media type without parameters, in lower case: `application/json`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaType(Box<str>);

/// A text that is no media type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no media type: write one without parameters, as in \"application/json\"")]
pub struct MediaTypeFault(String);

/// What the head of a request says about its body.
#[derive(Debug, Clone, Default)]
pub struct Content {
    kind: Kind,
    encoded: bool,
}

#[derive(Debug, Clone, Default)]
enum Kind {
    #[default]
    Unsaid,
    Said(HeaderValue),
    /// Several types, or one that would not reach the upstream.
    Unclear,
}

/// Why a content type can't be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ContentFault {
    /// Several, or named by `Connection`.
    #[error("Content-Type must stand there once, and not in Connection")]
    Unclear,
    /// JSON must be UTF-8 (RFC 8259, section 8.1).
    #[error("the rule looks into the body: send it as UTF-8, without another charset in Content-Type")]
    Charset,
    /// A body that can't be read as it is.
    #[error("the rule looks into the body: send it without Content-Encoding")]
    Encoded,
    /// A form: its fields may be taken for the query's.
    #[error("the rule looks at the query, whose parameters a form could replace: send no form")]
    Form,
}

impl Content {
    /// From the head of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        // What Connection names does not reach the upstream, which would then guess.
        let is_named = |value: &HeaderValue| {
            value.as_bytes().split(|byte| *byte == b',').any(|word| {
                word.trim_ascii().get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
            })
        };
        let kind = match (types.next(), types.next()) {
            _ if headers.get_all(header::CONNECTION).iter().any(is_named) => Kind::Unclear,
            (None, _) => Kind::Unsaid,
            (Some(one), None) => Kind::Said(one.clone()),
            (Some(_), Some(_)) => Kind::Unclear,
        };
        let is_plain = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
        let encoded = !headers.get_all(header::CONTENT_ENCODING).iter().all(is_plain);
        Self { kind, encoded }
    }

    /// With this media type; for calls that are only asked about.
    pub fn with_type(value: &str) -> Self {
        let kind = HeaderValue::from_str(value).map_or(Kind::Unclear, Kind::Said);
        Self { kind, encoded: false }
    }

    /// Whether its media type is one of these.
    pub(super) fn is_among(&self, types: &[MediaType]) -> Result<bool, ContentFault> {
        Ok(self.essence()?.is_some_and(|said| types.iter().any(|wanted| wanted.is(said))))
    }

    /// Whether it can be read as JSON in UTF-8.
    pub(super) fn check_json(&self) -> Result<(), ContentFault> {
        if self.encoded {
            return Err(ContentFault::Encoded);
        }
        let Kind::Said(value) = &self.kind else { return Ok(()) };
        for parameter in value.as_bytes().split(|byte| *byte == b';').skip(1) {
            let lower = parameter.trim_ascii().to_ascii_lowercase();
            let Some(charset) = lower.strip_prefix(b"charset") else { continue };
            if !matches!(charset, b"=utf-8" | b"=\"utf-8\"" | b"=utf8" | b"=\"utf8\"") {
                return Err(ContentFault::Charset);
            }
        }
        Ok(())
    }

    /// Refuses a form, unless its type is among these: servlets mix a form's fields with the query's.
    pub(super) fn check_no_form(&self, expected: &[MediaType]) -> Result<(), ContentFault> {
        let is_form = |said: &[u8]| FORMS.iter().any(|form| said.eq_ignore_ascii_case(form.as_bytes()));
        if self.essence()?.is_some_and(is_form) && !self.is_among(expected)? {
            return Err(ContentFault::Form);
        }
        Ok(())
    }

    /// Whether it is a form whose fields servlets take for parameters: among them a user's name and password.
    pub(super) fn is_form(&self) -> Result<bool, ContentFault> {
        Ok(self.essence()?.is_some_and(|said| said.eq_ignore_ascii_case(FORM.as_bytes())))
    }

    fn essence(&self) -> Result<Option<&[u8]>, ContentFault> {
        match &self.kind {
            Kind::Unsaid => Ok(None),
            Kind::Said(value) => {
                Ok(value.as_bytes().split(|byte| *byte == b';').next().map(<[u8]>::trim_ascii))
            }
            Kind::Unclear => Err(ContentFault::Unclear),
        }
    }
}

impl MediaType {
    /// `application/json`.
    pub fn json() -> Self {
        Self("application/json".into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a kind of JSON.
    pub fn is_json(&self) -> bool {
        self.0.ends_with("/json") || self.0.ends_with("+json")
    }

    fn is(&self, said: &[u8]) -> bool {
        said.eq_ignore_ascii_case(self.0.as_bytes())
    }
}

impl FromStr for MediaType {
    type Err = MediaTypeFault;
    fn from_str(text: &str) -> Result<Self, MediaTypeFault> {
        // RFC 9110, section 8.3.1: two tokens.
        let is_token = |part: &str| {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
            !part.is_empty() && part.bytes().all(token)
        };
        match text.split_once('/') {
            Some((kind, sub)) if is_token(kind) && is_token(sub) && text.len() <= 200 => {
                Ok(Self(text.to_ascii_lowercase().into()))
            }
            _ => Err(MediaTypeFault(text.chars().take(80).collect())),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

const FORM: &str = "application/x-www-form-urlencoded";
const FORMS: [&str; 2] = [FORM, "multipart/form-data"];

#[cfg(test)]
mod tests {
    use super::*;

    fn content(fields: &[(&'static str, &str)]) -> Content {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Content::of(&headers)
    }

    #[test]
    fn parameters_and_case_do_not_matter_and_suffixes_do() {
        let json = ["application/json".parse().unwrap()];
        for (said, fits) in [
            ("application/json", true),
            ("Application/JSON ; charset=utf-8", true),
            ("application/json;x=y", true),
            ("application/vnd.x+json", false),
            ("application/jsonp", false),
            ("text/plain; a=application/json", false),
            ("application/json, text/plain", false),
            ("", false),
        ] {
            assert_eq!(content(&[("content-type", said)]).is_among(&json), Ok(fits), "{said}");
        }
        assert_eq!(Content::default().is_among(&json), Ok(false));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_not_judged() {
        let json = ["application/json".parse().unwrap()];
        for fields in [
            &[("content-type", "application/json"), ("content-type", "text/xml")][..],
            &[("content-type", "application/json"), ("content-type", "application/json")],
            &[("content-type", "application/json"), ("connection", "close, Content-Type")],
            &[("content-type", "application/json"), ("connection", "content-encoding")],
        ] {
            assert_eq!(content(fields).is_among(&json), Err(ContentFault::Unclear), "{fields:?}");
        }
    }

    #[test]
    fn only_plain_utf_8_is_looked_into() {
        let of = |said: &str| content(&[("content-type", said)]).check_json();
        for said in ["application/json", "application/json; charset=UTF-8", "a/b;charset=\"utf-8\"; x=y"] {
            assert_eq!(of(said), Ok(()), "{said}");
        }
        for said in
            ["a/b; charset=utf-16", "a/b;charset=latin1", "a/b; charset =utf-8", "a/b; x=y; CHARSET=cp037"]
        {
            assert_eq!(of(said), Err(ContentFault::Charset), "{said}");
        }
        assert_eq!(content(&[("content-encoding", "gzip")]).check_json(), Err(ContentFault::Encoded));
        assert_eq!(content(&[("content-encoding", "identity")]).check_json(), Ok(()));
    }

    #[test]
    fn a_form_is_refused_unless_expected() {
        let form = content(&[("content-type", "application/x-www-form-urlencoded; charset=utf-8")]);
        assert_eq!(form.check_no_form(&[]), Err(ContentFault::Form));
        let expected = ["application/x-www-form-urlencoded".parse().unwrap()];
        assert_eq!(form.check_no_form(&expected), Ok(()));
        assert_eq!(Content::with_type("application/json").check_no_form(&[]), Ok(()));
    }

    #[test]
    fn media_types_read() {
        assert_eq!("Application/JSON".parse::<MediaType>().unwrap().as_str(), "application/json");
        for bad in ["", "json", "a/", "/b", "a/b; c=d", "a/*", "a/b/c", "a /b"] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad}");
        }
    }
}
