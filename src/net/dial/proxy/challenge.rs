//! The challenges of a 407 (RFC 9110, section 11.6.1), as far as a login needs them.

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme as the proxy writes it, fit to be shown.
    pub scheme: String,
    /// What stands behind it where that is one token, as with NTLM; not its parameters.
    pub token: Option<String>,
}

/// Reads the value of one `Proxy-Authenticate`, which may hold several challenges with commas between and within
/// them.
pub(super) fn read(value: &str, into: &mut Vec<Challenge>) {
    for piece in outside_quotes(value) {
        let piece = piece.trim();
        let (first, rest) = piece.split_once([' ', '\t']).unwrap_or((piece, ""));
        // `realm="x"` belongs to the challenge before it.
        let is_scheme = !first.is_empty() && first.bytes().all(is_token);
        if !is_scheme || into.len() >= MAX_CHALLENGES || rest.trim_start().starts_with('=') {
            continue;
        }
        let scheme = first.chars().take(20).collect();
        let rest = rest.trim();
        let token = (!rest.is_empty() && rest.bytes().all(is_token68)).then(|| rest.to_owned());
        // `a=b` is a parameter; the padding of a token stands at its end.
        let token = token.filter(|token| !token.trim_end_matches('=').contains('='));
        into.push(Challenge { scheme, token });
    }
}

/// The parts between commas that stand in no quoted string.
fn outside_quotes(value: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |letter| {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    })
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// No proxy offers more.
const MAX_CHALLENGES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_and_tokens_are_found_among_parameters() {
        let shown = |values: &[&str]| {
            let mut all = Vec::new();
            for value in values {
                read(value, &mut all);
            }
            let one = |one: &Challenge| match &one.token {
                Some(token) => format!("{} <{token}>", one.scheme),
                None => one.scheme.clone(),
            };
            all.iter().map(one).collect::<Vec<_>>().join(" | ")
        };
        for (values, expected) in [
            (&["Basic realm=\"a, b NTLM\", charset=\"UTF-8\""][..], "Basic"),
            (&["Negotiate, NTLM, Basic realm=x"], "Negotiate | NTLM | Basic"),
            (&["NTLM TlRMTVNTUAAC+/=="], "NTLM <TlRMTVNTUAAC+/==>"),
            (&["Negotiate", "ntlm", "Basic realm=\"\\\"x, y\\\"\""], "Negotiate | ntlm | Basic"),
            (&["Digest realm=\"x\", nonce=\"y\", qop=\"auth, auth-int\""], "Digest"),
            (&["Bearer scope = \"x\""], "Bearer"),
            (&["Basic realm=x"], "Basic"),
            (&["", ",,, ,", "\"", "=x"], ""),
        ] {
            assert_eq!(shown(values), expected, "{values:?}");
        }
        assert_eq!(shown(&[&["x"; 100].join(",")]).matches('x').count(), MAX_CHALLENGES);
    }
}
