//! The key that a request brings: as a bearer token, or as the password of Basic authentication.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use zeroize::Zeroizing;

use crate::common::problem::{Code, Problem};
use crate::common::secret::Secret;
use crate::identity::jws::{MAX_TOKEN, Token};

/// What a request brings.
#[derive(Debug)]
pub enum Presented {
    /// A text that may be a key.
    Key(Secret<String>),
    /// A bearer token of three parts with dots between: an issuer's, since no key looks so.
    Token(Secret<String>),
    /// No `Authorization`.
    Nothing,
    /// Another scheme, several fields, or what can't be read.
    Unreadable,
}

/// Looks for a key. Basic's user name is not looked at, so that any client library's login form will do.
pub fn presented(headers: &HeaderMap) -> Presented {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Presented::Nothing };
    // Two could be read in two ways.
    if fields.next().is_some() || field.len() > MAX_FIELD {
        return Presented::Unreadable;
    }
    read(field.as_bytes()).unwrap_or(Presented::Unreadable)
}

fn read(field: &[u8]) -> Option<Presented> {
    let field = std::str::from_utf8(field).ok()?;
    let (scheme, value) = field.trim().split_once(' ')?;
    let value = value.trim_start();
    if scheme.eq_ignore_ascii_case("bearer") {
        let is_token = Token::looks_like(value);
        let value = Secret::new(value.to_owned());
        return Some(if is_token { Presented::Token(value) } else { Presented::Key(value) });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(value).ok()?);
    let at = pair.iter().position(|byte| *byte == b':')?;
    let password = pair.get(at + 1..)?;
    std::str::from_utf8(password).ok().map(|key| Presented::Key(Secret::new(key.to_owned())))
}

impl Presented {
    /// The refusal for a request that brings no key; none where it brings one.
    pub fn problem(&self) -> Option<Problem> {
        let detail = match self {
            Self::Key(_) | Self::Token(_) => return None,
            Self::Nothing => {
                "Send a key of this site as `Authorization: Bearer ohk_…`, or as the password of Basic authentication. `outhaul-agent caller add` on the site makes one."
            }
            Self::Unreadable => {
                "The Authorization field can't be read. Send one field, `Bearer ohk_…`, or Basic with the key as the password."
            }
        };
        Some(Problem::new(Code::CallerUnknown, detail))
    }
}

/// Twice the longest token, so that whoever sends one that is somewhat too long hears that it is.
const MAX_FIELD: usize = 2 * MAX_TOKEN;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn look(fields: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(field).unwrap());
        }
        match presented(&headers) {
            Presented::Key(key) => Some(key.expose().clone()),
            Presented::Token(token) => Some(format!("token {}", token.expose())),
            other => {
                assert!(other.problem().is_some());
                None
            }
        }
    }

    #[test]
    fn keys_come_in_two_forms() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(look(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(look(&["bearer   abc "]).as_deref(), Some("abc"));
        assert_eq!(look(&[&basic("me:abc")]).as_deref(), Some("abc"));
        assert_eq!(look(&[&basic(":a:b")]).as_deref(), Some("a:b"));
        for bad in ["", "abc", "Digest x", "Basic !!", &basic("no colon"), "Negotiate YII"] {
            assert_eq!(look(&[bad]), None, "{bad}");
        }
        assert_eq!(look(&[]), None);
        assert_eq!(look(&["Bearer a", "Bearer b"]), None);
        assert_eq!(look(&[&format!("Bearer {}", "a".repeat(17_000))]), None);
        assert_eq!(look(&["Bearer a.b.c"]).as_deref(), Some("token a.b.c"));
        assert_eq!(look(&["bearer  ..  "]).as_deref(), Some("token .."));
        assert_eq!(look(&["Bearer a.b.c.d.e"]).as_deref(), Some("a.b.c.d.e"));
        assert_eq!(look(&[&basic("me:a.b.c")]).as_deref(), Some("a.b.c"), "no password is a token");
    }
}
