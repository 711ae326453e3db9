//! The answer is checked: Jira says in `X-AUSERNAME` whom it was made for.
//!
//! A dead token is not always refused. On resources open to everybody Jira then answers as `anonymous`, with 200;
//! passed on, that would be a success with the wrong identity.

use http::{HeaderMap, HeaderValue, StatusCode};

const HEADER: &str = "x-ausername";
const ANONYMOUS: &str = "anonymous";

/// Whom an answer must be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected<'a> {
    /// This user of Jira's.
    User(&'a str),
    /// Nobody.
    Anonymous,
    /// The upstream does not say.
    Unchecked,
    /// This user, where the upstream says whom it answered; it need not. Somebody watches over the credential, and
    /// wants to hear of refusals.
    Watched(&'a str),
}

/// Whether the answer is what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Right,
    /// The upstream did not take the credential: it must be looked at.
    Refused,
    /// It was made as nobody although a credential was sent: Jira serves a dead one so where everybody may look.
    Nobody,
    /// It was made as somebody else, or does not say as whom.
    Wrong(String),
}

impl Expected<'_> {
    /// Judges the head of an answer.
    pub fn judge(self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        let mut seen = headers.get_all(HEADER).iter().map(HeaderValue::as_bytes);
        match self {
            // Only its absence is excused.
            Self::Watched(user) if headers.contains_key(HEADER) => Self::User(user).judge(status, headers),
            Self::Watched(_) if status == StatusCode::UNAUTHORIZED => Verdict::Refused,
            Self::Unchecked | Self::Watched(_) => Verdict::Right,
            Self::Anonymous => match seen.find(|name| !names(name, ANONYMOUS)).map(decode) {
                None => Verdict::Right,
                Some(name) => Verdict::Wrong(name),
            },
            Self::User(user) => {
                let named = headers.contains_key(HEADER);
                let other = seen.find(|name| !names(name, user)).map(decode);
                match other {
                    None if named || !status.is_success() => {
                        if status == StatusCode::UNAUTHORIZED {
                            Verdict::Refused
                        } else {
                            Verdict::Right
                        }
                    }
                    None => Verdict::Wrong("nobody it names".to_owned()),
                    Some(name) if status == StatusCode::UNAUTHORIZED && same(&name, ANONYMOUS) => {
                        Verdict::Refused
                    }
                    Some(name) if same(&name, ANONYMOUS) && headers.get_all(HEADER).iter().count() == 1 => {
                        Verdict::Nobody
                    }
                    Some(name) => Verdict::Wrong(name),
                }
            }
        }
    }
}

/// Whether a header names the user. Most names are written plainly, and need no decoding.
fn names(value: &[u8], user: &str) -> bool {
    (value == user.as_bytes() && !value.contains(&b'%')) || same(&decode(value), user)
}

/// Jira's user names have no case: it stores them in lower case.
fn same(seen: &str, expected: &str) -> bool {
    seen == expected || seen.to_lowercase() == expected.to_lowercase()
}

/// Takes percent-encoding off. What is not encoded rightly stays as it is, and what is not UTF-8 matches nobody.
fn decode(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        let pair = tail.split_at_checked(2);
        let decoded = match (byte, pair) {
            (b'%', Some((pair, after))) => hex(pair).map(|decoded| (decoded, after)),
            _ => None,
        };
        let (byte, after) = decoded.unwrap_or((byte, tail));
        out.push(byte);
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(pair: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(expected: Expected<'_>, status: u16, seen: &[&str]) -> Verdict {
        let mut headers = HeaderMap::new();
        for name in seen {
            headers.append(HEADER, name.parse().unwrap());
        }
        expected.judge(StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn a_services_answer_names_the_service() {
        let svc = Expected::User("Svc.Reader@corp");
        for (status, seen) in [
            (200, &["svc.reader@corp"][..]),
            (200, &["SVC.READER%40corp"]),
            (404, &["svc.reader%40CORP"]),
            (302, &[]),
            (500, &[]),
            (403, &[]),
        ] {
            assert_eq!(judge(svc, status, seen), Verdict::Right, "{status} {seen:?}");
        }
        for (status, seen) in [(200, "anonymous"), (404, "Anonymous"), (403, "anonymous")] {
            assert_eq!(judge(svc, status, &[seen]), Verdict::Nobody, "{status} {seen:?}");
        }
        for (status, seen) in [
            (200, &[][..]),
            (204, &[]),
            (200, &["admin"]),
            (200, &["anonymous", "admin"]),
            (200, &["anonymous", "svc.reader@corp"]),
            (401, &["admin"]),
            (200, &["svc.reader@corp", "admin"]),
            (200, &["svc.reader@cor"]),
            (200, &["%zz"]),
            (200, &["%ff"]),
            (200, &[""]),
        ] {
            assert!(matches!(judge(svc, status, seen), Verdict::Wrong(_)), "{status} {seen:?}");
        }
    }

    #[test]
    fn a_refusal_is_looked_at_and_not_taken_for_a_mismatch() {
        let svc = Expected::User("svc");
        for seen in [&[][..], &["anonymous"], &["svc"]] {
            assert_eq!(judge(svc, 401, seen), Verdict::Refused, "{seen:?}");
        }
    }

    #[test]
    fn anonymous_means_anonymous() {
        assert_eq!(judge(Expected::Anonymous, 200, &[]), Verdict::Right);
        assert_eq!(judge(Expected::Anonymous, 401, &["Anonymous"]), Verdict::Right);
        assert_eq!(judge(Expected::Anonymous, 200, &["admin"]), Verdict::Wrong("admin".to_owned()));
        assert_eq!(judge(Expected::Unchecked, 200, &["admin"]), Verdict::Right);
        assert_eq!(judge(Expected::Unchecked, 401, &[]), Verdict::Right);
    }

    #[test]
    fn where_nobody_need_be_named_only_a_missing_name_is_excused() {
        let watched = Expected::Watched("alice");
        assert_eq!(judge(watched, 200, &[]), Verdict::Right);
        assert_eq!(judge(watched, 401, &[]), Verdict::Refused);
        assert_eq!(judge(watched, 200, &["Alice"]), Verdict::Right);
        assert_eq!(judge(watched, 401, &["anonymous"]), Verdict::Refused);
        assert_eq!(judge(watched, 200, &["anonymous"]), Verdict::Nobody);
        assert_eq!(judge(watched, 200, &["mallory"]), Verdict::Wrong("mallory".to_owned()));
        assert!(matches!(judge(watched, 200, &["alice", "mallory"]), Verdict::Wrong(_)));
    }
}
