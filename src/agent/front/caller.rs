//! Who calls: the key in a request, as bearer or as password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use crate::common::ids::CallerName;
use crate::common::problem::{Code, Problem};

/// Knows the callers' keys.
pub trait Callers: Send + Sync {
    /// Whose key this is, if it is one that was given out and not taken back.
    fn identify(&self, key: &str) -> Option<CallerName>;
}

/// No key is longer; whatever is, is not compared.
const MAX_KEY: usize = 1024;

/// The caller of a request, or the refusal.
pub(super) fn identify(headers: &HeaderMap, callers: &dyn Callers) -> Result<CallerName, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (first, further) = (given.next(), given.next());
    let key = match (first, further) {
        (None, _) => return Err(unknown("The request carries no key.")),
        (Some(_), Some(_)) => return Err(unknown("The request carries more than one Authorization field.")),
        (Some(value), None) => key(value).ok_or_else(|| unknown("The Authorization field can't be read."))?,
    };
    callers.identify(&key).ok_or_else(|| unknown("The key is not known here, or was taken back."))
}

/// The key in a field: `Bearer KEY`, or `Basic` with any user and the key as password.
fn key(value: &HeaderValue) -> Option<Zeroizing<String>> {
    let text = value.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let rest = rest.trim();
    if rest.is_empty() || rest.len() > 2 * MAX_KEY {
        return None;
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Zeroizing::new(STANDARD.decode(rest).ok()?);
    let (_, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    (!password.is_empty()).then(|| Zeroizing::new(password.to_owned()))
}

fn unknown(what: &str) -> Problem {
    Problem::new(
        Code::CallerUnknown,
        format!(
            "{what} Send the key that `outhaul-agent caller add` showed, as `Authorization: Bearer ohk_…` or as the \
             password of Basic."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;
    impl Callers for One {
        fn identify(&self, key: &str) -> Option<CallerName> {
            (key == "ohk_right").then(|| "bot".parse().unwrap())
        }
    }

    fn caller(lines: &[&str]) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::AUTHORIZATION, line.parse().unwrap());
        }
        identify(&headers, &One).map(|name| name.to_string()).map_err(|problem| problem.code)
    }

    #[test]
    fn a_key_comes_as_bearer_or_as_password() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for right in ["Bearer ohk_right", "bearer  ohk_right", &basic("me:ohk_right"), &basic(":ohk_right")] {
            assert_eq!(caller(&[right]).as_deref(), Ok("bot"), "{right}");
        }
        let long = format!("Bearer {}", "x".repeat(3000));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer ohk_wrong",
            "ohk_right",
            "Token ohk_right",
            "Basic !",
            &basic("ohk_right"),
            &basic("ohk_right:"),
            &basic("ohk_right:x"),
            &long,
        ] {
            assert_eq!(caller(&[wrong]), Err(Code::CallerUnknown), "{wrong}");
        }
        assert_eq!(caller(&[]), Err(Code::CallerUnknown));
        assert_eq!(caller(&["Bearer ohk_right", "Bearer ohk_right"]), Err(Code::CallerUnknown));
    }
}
