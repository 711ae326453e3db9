//! What comes back from the token endpoint (RFC 6749, sections 5.1 and 5.2), or from something in front of it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::common::secret::Secret;

/// No answer is read further.
pub const MAX_ANSWER: usize = 64 * 1024;

/// The tokens that were given.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// Goes into `Authorization: Bearer`.
    pub access: Secret<String>,
    /// For the next ones. Absent where the old one stays good, or none is meant to be (client credentials).
    pub refresh: Option<Secret<String>>,
    /// How long the access token lives, counted from the answer.
    pub lifetime: Duration,
    /// What was given, where the answer says so.
    pub scope: Option<String>,
}

/// `error` of RFC 6749, section 5.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorCode {
    /// The code or the refresh token is dead, was given to somebody else, or the redirect URI is another one.
    InvalidGrant,
    /// The client is not known, or its secret is wrong.
    InvalidClient,
    /// The client may not do this.
    UnauthorizedClient,
    /// Something is missing in the request.
    InvalidRequest,
    /// The provider does not know the grant.
    UnsupportedGrantType,
    /// More was asked for than may be given.
    InvalidScope,
    /// Another word; cut, and of small letters only.
    Other(String),
}

/// Why there are no tokens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// The provider refused, in the words of the RFC.
    #[error("the provider refused: {code}{}", shown(description.as_deref()))]
    Refused {
        /// Why.
        code: ErrorCode,
        /// The same for people: cut, and without control characters and what may be a secret.
        description: Option<String>,
    },
    /// A refusal that is not the provider's: an error page, a balancer's word, a busy server.
    #[error("the answer was {0}, and not the provider's")]
    Status(StatusCode),
    /// A success that is not the provider's either, since it is no JSON object: a login or maintenance page.
    #[error("the answer was a success, but a page and not the provider's JSON")]
    Page,
    /// A success that is none: the provider may have done what was asked, but its answer can't be used.
    #[error("the provider's answer can't be used: {0}")]
    Unusable(&'static str),
}

/// Reads an answer. `body` holds at most [`MAX_ANSWER`] bytes, or more if it was cut there.
pub fn read(status: StatusCode, body: &[u8]) -> Result<Tokens, TokenFault> {
    let whole = body.len() <= MAX_ANSWER;
    if !status.is_success() {
        return Err(if whole { refusal(status, body) } else { TokenFault::Status(status) });
    }
    // Where it begins as one and then breaks off, it may have been the provider's.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(TokenFault::Page);
    }
    if !whole {
        return Err(TokenFault::Unusable("it is too large"));
    }
    tokens(body)
}

#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    access_token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    token_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refresh_token: Option<Cow<'a, str>>,
    expires_in: Option<Value>,
    scope: Option<String>,
}

fn tokens(body: &[u8]) -> Result<Tokens, TokenFault> {
    let given: Given<'_> =
        serde_json::from_slice(body).map_err(|_| TokenFault::Unusable("it is not the JSON of RFC 6749"))?;
    let secret = |text: Option<Cow<'_, str>>| text.map(|text| Secret::new(text.into_owned()));
    let (access, refresh) = (secret(given.access_token), secret(given.refresh_token));
    let access = access.ok_or(TokenFault::Unusable("it has no access_token"))?;
    if !is_token(&access) || refresh.as_ref().is_some_and(|token| !is_token(token)) {
        return Err(TokenFault::Unusable("a token in it is empty, too long, or not of visible ASCII"));
    }
    if !given.token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(TokenFault::Unusable("its token_type is not bearer"));
    }
    // Section 5.1 only recommends it. Nothing, or nonsense: the token is used as long as others are, or until it is
    // refused; to believe that it is dead at once would renew it at each call.
    let seconds = match &given.expires_in {
        Some(Value::Number(number)) => number.as_u64().or_else(|| whole_seconds(number.as_f64()?)),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| *seconds > 0).unwrap_or(USUAL_LIFETIME);
    let lifetime = Duration::from_secs(seconds.min(MAX_LIFETIME));
    Ok(Tokens { access, refresh, lifetime, scope: given.scope.map(|scope| plain(&scope, 200)) })
}

fn whole_seconds(seconds: f64) -> Option<u64> {
    Duration::try_from_secs_f64(seconds).ok().map(|lifetime| lifetime.as_secs())
}

fn refusal(status: StatusCode, body: &[u8]) -> TokenFault {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
        error_description: Option<String>,
    }
    // A busy or broken server has not decided anything, whatever its body says.
    let decided = status.is_client_error()
        && !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) if decided => TokenFault::Refused {
            code: ErrorCode::from(refusal.error.as_str()),
            description: refusal
                .error_description
                .map(|text| plain(&without_secrets(&text), 200))
                .filter(|text| !text.is_empty()),
        },
        _ => TokenFault::Status(status),
    }
}

/// RFC 6750, section 2.1; and no longer than fits a head.
fn is_token(token: &Secret<String>) -> bool {
    let token = token.expose();
    !token.is_empty() && token.len() <= MAX_TOKEN && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn plain(text: &str, at_most: usize) -> String {
    text.chars().filter(|one| !one.is_control()).take(at_most).collect()
}

/// Providers are found that repeat what they were sent, as in “Invalid refresh token: …”. What this gives is shown to
/// people and logged, so whatever is too long for a word is left out.
fn without_secrets(text: &str) -> String {
    let shown = |word| if str::len(word) > LONGEST_WORD { "…" } else { word };
    text.split_whitespace().map(shown).collect::<Vec<_>>().join(" ")
}

fn shown(description: Option<&str>) -> String {
    description.map_or_else(String::new, |text| format!(" ({text})"))
}

impl From<&str> for ErrorCode {
    fn from(text: &str) -> Self {
        match text {
            "invalid_grant" => Self::InvalidGrant,
            "invalid_client" => Self::InvalidClient,
            "unauthorized_client" => Self::UnauthorizedClient,
            "invalid_request" => Self::InvalidRequest,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            // Of the letters that all codes have: it may be a text of any kind.
            other => {
                let word = other.chars().filter(|one| one.is_ascii_lowercase() || *one == '_');
                Self::Other(word.take(60).collect())
            }
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::InvalidRequest => "invalid_request",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::Other(word) => word,
        })
    }
}

/// Secrets are longer.
const LONGEST_WORD: usize = 20;
const MAX_TOKEN: usize = 8 * 1024;
/// What Atlassian's providers give where nobody set another; only for an answer without a usable `expires_in`.
const USUAL_LIFETIME: u64 = 3600;
/// Ten years: beyond that, arithmetic on times is all that could go wrong.
const MAX_LIFETIME: u64 = 10 * 365 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ok(body: &str) -> Result<Tokens, TokenFault> {
        read(StatusCode::OK, body.as_bytes())
    }

    #[test]
    fn a_pair_is_read() {
        let tokens = ok(r#"{"access_token":"eyJ.a-b","token_type":"bearer","expires_in":7200,
            "refresh_token":"r1","created_at":1607635748,"extra":[1]}"#)
        .unwrap();
        assert_eq!(tokens.access.expose(), "eyJ.a-b");
        assert_eq!(tokens.refresh.as_ref().unwrap().expose(), "r1");
        assert_eq!((tokens.lifetime, &tokens.scope), (Duration::from_secs(7200), &None));
        assert!(!format!("{tokens:?}").contains("eyJ"), "{tokens:?}");
    }

    #[test]
    fn a_lifetime_is_obeyed_and_bounded() {
        for (member, seconds) in [
            ("", 3600),
            (r#","expires_in":null"#, 3600),
            (r#","expires_in":"60""#, 60),
            (r#","expires_in":1"#, 1),
            (r#","expires_in":1.5"#, 1),
            (r#","expires_in":7200.0"#, 7200),
            (r#","expires_in":0"#, 3600),
            (r#","expires_in":"0""#, 3600),
            (r#","expires_in":0.3"#, 3600),
            (r#","expires_in":-5"#, 3600),
            (r#","expires_in":true"#, 3600),
            (r#","expires_in":"soon""#, 3600),
            (r#","expires_in":1e300"#, 3600),
            (r#","expires_in":18446744073709551615"#, MAX_LIFETIME),
            // The other clock's word counts for nothing.
            (r#","expires_in":60,"created_at":1"#, 60),
        ] {
            let tokens = ok(&format!(r#"{{"access_token":"a","token_type":"Bearer"{member}}}"#)).unwrap();
            assert_eq!(tokens.lifetime, Duration::from_secs(seconds), "{member}");
            assert!(tokens.refresh.is_none());
        }
    }

    #[test]
    fn a_success_that_is_none_is_told() {
        let long = "x".repeat(MAX_TOKEN + 1);
        for body in [
            "{",
            r#" {"access_token":"a","token_ty"#,
            r#"{"token_type":"bearer"}"#,
            r#"{"access_token":"","token_type":"bearer"}"#,
            r#"{"access_token":"a b","token_type":"bearer"}"#,
            r#"{"access_token":"a\nb","token_type":"bearer"}"#,
            r#"{"access_token":"a","token_type":"mac"}"#,
            r#"{"access_token":"a"}"#,
            r#"{"access_token":7,"token_type":"bearer"}"#,
            r#"{"access_token":"a","token_type":"bearer","refresh_token":"ü"}"#,
            &format!(r#"{{"access_token":"{long}","token_type":"bearer"}}"#),
        ] {
            assert!(matches!(ok(body), Err(TokenFault::Unusable(_))), "{body}");
        }
        let large =
            format!(r#"{{"access_token":"a","token_type":"bearer","x":"{}"}}"#, "x".repeat(MAX_ANSWER));
        assert_eq!(ok(&large).unwrap_err(), TokenFault::Unusable("it is too large"));
        let large = format!("<html>{}", "x".repeat(MAX_ANSWER));
        for page in
            ["", " ", "<html><body>Log in</body></html>", "[]", "null", "Down for maintenance", &large]
        {
            assert_eq!(ok(page).unwrap_err(), TokenFault::Page, "{page}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let word = |status: u16, body: &str| {
            read(StatusCode::from_u16(status).unwrap(), body.as_bytes()).unwrap_err()
        };
        for (status, error, code) in [
            (400, "invalid_grant", ErrorCode::InvalidGrant),
            (401, "invalid_client", ErrorCode::InvalidClient),
            (400, "unauthorized_client", ErrorCode::UnauthorizedClient),
            (400, "invalid_request", ErrorCode::InvalidRequest),
            (400, "unsupported_grant_type", ErrorCode::UnsupportedGrantType),
            (400, "invalid_scope", ErrorCode::InvalidScope),
            (403, "str\\u0007ange ", ErrorCode::Other("strange".to_owned())),
        ] {
            let fault = word(status, &format!(r#"{{"error":"{error}","error_description":"a\nb\u0007"}}"#));
            assert_eq!(fault, TokenFault::Refused { code, description: Some("a b".to_owned()) });
        }
        // Not the provider's word.
        for (status, body) in [
            (400, "<html>Bad Request</html>"),
            (401, ""),
            (404, r#"{"message":"null for uri"}"#),
            (503, r#"{"error":"invalid_grant"}"#),
            (429, r#"{"error":"invalid_grant"}"#),
            (302, r#"{"error":"invalid_grant"}"#),
            (500, "<html>"),
        ] {
            assert_eq!(
                word(status, body),
                TokenFault::Status(StatusCode::from_u16(status).unwrap()),
                "{body}"
            );
        }
        let large = format!(r#"{{"error":"invalid_grant","x":"{}"}}"#, "x".repeat(MAX_ANSWER));
        assert_eq!(word(400, &large), TokenFault::Status(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn what_a_refusal_repeats_is_left_out() {
        let secret = "c29tZS1zZWNyZXQrdG9rZW4/";
        for text in [
            format!("Invalid refresh token: {secret}"),
            format!("bad request client_id=a&client_secret={secret}"),
            format!("the token \"{secret}\" is {}", "not good ".repeat(40)),
            format!("{}{secret}", "a ".repeat(95)),
        ] {
            let body = serde_json::json!({ "error": secret, "error_description": text }).to_string();
            let told = read(StatusCode::BAD_REQUEST, body.as_bytes()).unwrap_err().to_string();
            for from in 0..=secret.len() - 8 {
                assert!(!told.contains(&secret[from..from + 8]), "{told}");
            }
            assert!(told.contains('…'), "{told}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status in 100u16..1000, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(StatusCode::from_u16(status).unwrap(), &body);
        }
    }
}
