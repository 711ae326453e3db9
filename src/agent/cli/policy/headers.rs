//! What becomes of a call's header fields: asked of the very code that prepares them for an application.

use http::{HeaderName, HeaderValue, Method, Request, header};
use serde::Serialize;

use crate::agent::proxy::headers::{self, Verdict};

/// What becomes of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Headers {
    /// The fields that the agent sets itself.
    pub(super) set: Vec<Field>,
    /// Of those asked about: the ones that pass as they are.
    pub(super) passed: Vec<Field>,
    /// Of those asked about: the ones that do not, and why.
    pub(super) dropped: Vec<Dropped>,
    /// What never passes, in words.
    pub(super) never: &'static str,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: String,
    /// Its value; of a credential only its kind.
    pub(super) value: String,
}

/// One field that does not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Dropped {
    /// Its name.
    pub(super) name: String,
    /// Why.
    pub(super) because: String,
}

/// What `Name: value` is, as in a request.
pub(super) fn parse(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || format!("“{}” is no header field: write 'Name: value'", clip(text));
    let (name, value) = text.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    Ok((name, value))
}

/// What becomes of these fields on a call with this method to an application with this `Host`.
pub(super) fn of(
    method: &Method,
    host: &str,
    given: &[(HeaderName, HeaderValue)],
    credential: Option<String>,
) -> Result<Headers, String> {
    let mut request = Request::new(());
    for (name, value) in given {
        request.headers_mut().append(name, value.clone());
    }
    let host = HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static(""));
    let sent = headers::request(&request, method, &host).map_err(|fault| fault.to_string())?.headers;
    let (mut passed, mut dropped) = (Vec::new(), Vec::new());
    for (name, value) in given {
        let as_it_is = sent.get_all(name).iter().any(|passed| passed == value) && *name != header::HOST;
        // A length is judged apart, and written anew.
        if as_it_is || *name == header::CONTENT_LENGTH {
            passed.push(field(name, value));
        } else {
            dropped.push(Dropped { name: name.to_string(), because: reason(name, request.headers()) });
        }
    }
    let own = |(name, value): &(&HeaderName, &HeaderValue)| {
        !given.iter().any(|(given, said)| given == *name && said == *value) || *name == header::HOST
    };
    let fields = sent.iter().filter(own).map(|(name, value)| field(name, value));
    let credential = credential.map(|value| Field { name: header::AUTHORIZATION.to_string(), value });
    Ok(Headers { set: fields.chain(credential).collect(), passed, dropped, never: NEVER })
}

fn field(name: &HeaderName, value: &HeaderValue) -> Field {
    Field { name: name.to_string(), value: value.to_str().map_or_else(|_| "(not text)".to_owned(), clip) }
}

fn reason(name: &HeaderName, all: &http::HeaderMap) -> String {
    if let Some(field) = headers::request_field(name.as_str())
        && field.verdict != Verdict::Pass
    {
        return field.reason.to_owned();
    }
    let is_named = all.get_all(header::CONNECTION).iter().any(|value| {
        let mut words = value.as_bytes().split(|byte| *byte == b',');
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    });
    let because = if is_named {
        "Connection names it, so it ends here (RFC 9110, section 7.6.1)"
    } else {
        "It is not on the list of fields that pass (docs/headers.md)"
    };
    because.to_owned()
}

fn clip(text: &str) -> String {
    let shown = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().take(200).map(shown).collect()
}

const NEVER: &str = "Authorization, Cookie, Origin, Referer, Forwarded, X-Forwarded-*, sudo, method overrides, and \
                     whatever is not on the list of fields that pass; of the answer, Set-Cookie (docs/headers.md)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_told_as_the_proxy_treats_it() {
        let given = [
            "Accept: application/json",
            "Cookie: JSESSIONID=1",
            "User-Agent: Mozilla",
            "X-Anything: 1",
            "X-HTTP-Method-Override: DELETE",
            "Authorization: Bearer ohk_a_b",
            "X-Named: 1",
            "Connection: x-named",
            "Host: jira.example",
        ];
        let given: Vec<_> = given.iter().map(|text| parse(text).unwrap()).collect();
        let told = of(&Method::POST, "jira.example", &given, Some("a token".to_owned())).unwrap();
        let passed: Vec<&str> = told.passed.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(passed, ["accept"]);
        let set: Vec<&str> = told.set.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(set, ["host", "user-agent", "x-atlassian-token", "authorization"]);
        let because = |name: &str| &told.dropped.iter().find(|dropped| dropped.name == name).unwrap().because;
        for (name, says) in [
            ("cookie", "A session is a credential"),
            ("user-agent", "The agent's own"),
            ("host", "The host of `base-url`"),
            ("x-anything", "not on the list"),
            ("x-http-method-override", "another method"),
            ("authorization", "ends here"),
            ("x-named", "Connection names it"),
        ] {
            assert!(because(name).contains(says), "{name}: {}", because(name));
        }
        assert!(!format!("{told:?}").contains("ohk_a_b"));
        let read = of(&Method::GET, "jira.example", &[], None).unwrap();
        assert_eq!(read.set.len(), 2, "{read:?}");
    }

    #[test]
    fn what_is_no_field_is_said() {
        for text in ["", "x", "a b: c", "a: \u{7}"] {
            assert!(parse(text).unwrap_err().contains("write 'Name: value'"), "{text}");
        }
        let twice = [parse("Content-Length: 1").unwrap(), parse("Content-Length: 2").unwrap()];
        assert!(of(&Method::POST, "x", &twice, None).is_err());
    }
}
