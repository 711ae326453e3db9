//! What an application's answers say of a credential. Pure.

use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::Probed;
use crate::agent::store::tables::services::SecretKind;

/// Whether calls can be made with the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As the configured user.
    Works,
    /// It is somebody else's: every call would be withheld.
    OtherUser,
    /// The application takes the call, but for nobody: the secret is dead.
    Anonymous,
    /// The account is switched off.
    Inactive,
    /// The application does not take the secret.
    Refused,
    /// The application wants a person to log in first.
    Captcha,
    /// Nobody answered.
    Unreachable,
    /// The answer says nothing.
    Unclear,
}

/// An account, as `myself` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user name.
    pub name: String,
    /// The key, which stays when the name changes.
    pub key: String,
    /// For people.
    pub display_name: String,
    /// Whether it may log in.
    pub active: bool,
}

/// A personal access token of the account's; the application does not tell which one was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What its owner called it.
    pub name: String,
    /// When it expires, in seconds since 1970; nothing for one that does not.
    pub expires: Option<u64>,
}

impl Outcome {
    /// Calls can be made.
    pub fn is_good(self) -> bool {
        self == Self::Works
    }

    /// For machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::OtherUser => "other-user",
            Self::Anonymous => "anonymous",
            Self::Inactive => "inactive",
            Self::Refused => "refused",
            Self::Captcha => "captcha",
            Self::Unreachable => "unreachable",
            Self::Unclear => "unclear",
        }
    }
}

/// Reads the answer of `GET /rest/api/2/myself` to a credential of this user's. `checked`: calls are held to the name in
/// `X-AUSERNAME`.
pub(super) fn myself(
    user: &str,
    kind: SecretKind,
    checked: bool,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
) -> Probed {
    let account = account(body).filter(|_| status.is_success());
    let (outcome, words) = judge(user, kind, checked, status, headers, account.as_ref());
    Probed { outcome, words, account, tokens: None }
}

fn judge(
    user: &str,
    kind: SecretKind,
    checked: bool,
    status: StatusCode,
    headers: &HeaderMap,
    account: Option<&Account>,
) -> (Outcome, String) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let denied = text("x-authentication-denied-reason");
    if denied.contains("CAPTCHA") {
        let page = denied.split_once("login-url=").map(|(_, page)| shown(page)).unwrap_or_default();
        let at = if page.is_empty() { String::new() } else { format!(" at {page}") };
        let words = format!(
            "too many failed logins: the application wants {user} to log in once in a browser{at} and to answer the CAPTCHA. \
             Until then it refuses the right password too"
        );
        return (Outcome::Captcha, words);
    }
    let reason = match shown(text("x-seraph-loginreason")) {
        reason if reason.is_empty() => reason,
        reason => format!(" ({reason})"),
    };
    let seen = text("x-ausername");
    let nobody = seen.eq_ignore_ascii_case("anonymous");
    let what = kind.title();
    // Some versions answer a wrong password with an empty 200; the login's reason tells.
    let failed = account.is_none() && status.is_success() && reason.contains("AUTHENTICATED_FAILED");
    match status {
        status if status == StatusCode::UNAUTHORIZED || failed => {
            let denied = reason.contains("AUTHENTICATION_DENIED");
            let words = match kind {
                SecretKind::Password if denied => format!(
                    "the application denies Basic authentication{reason}: it may be switched off there, or {user} may have to \
                     log in once in a browser. Use a personal access token instead"
                ),
                SecretKind::Password => format!(
                    "the application does not take this password for {user}{reason}. It was tried once; each try counts \
                     towards the CAPTCHA"
                ),
                _ => format!(
                    "the application does not take this {what}{reason}: it is wrong, expired or revoked. Make a new one as \
                     {user} and set it"
                ),
            };
            return (Outcome::Refused, words);
        }
        StatusCode::FORBIDDEN => {
            let words = format!(
                "the application answered 403{reason}: {user} may be switched off or lack the right to log in, or this way \
                 of authentication is switched off"
            );
            return (Outcome::Inactive, words);
        }
        status if status.is_redirection() => {
            let to = shown(text(header::LOCATION.as_str()));
            let words = format!(
                "the application answered {} and leads to {to}: single sign-on seems to stand before its REST interface",
                status.as_u16()
            );
            return (Outcome::Unclear, words);
        }
        _ if nobody => {
            let words = format!(
                "the application took the call as nobody's (anonymous), as it does with a dead {what} on pages that are open \
                 to all. Make a new one as {user} and set it"
            );
            return (Outcome::Anonymous, words);
        }
        _ => {}
    }
    if let Some(account) = account {
        if !same(&account.name, user) {
            let words = format!(
                "it is of {}, and user in the configuration is {user}: every call would be withheld. Set the secret of the \
                 right account, or correct user",
                account.name
            );
            return (Outcome::OtherUser, words);
        }
        if !account.active {
            return (Outcome::Inactive, format!("{user} is switched off in the application"));
        }
        if checked && seen.is_empty() {
            let words = "it works, but the answer names nobody in X-AUSERNAME, so calls would be withheld. Something between \
                         may strip the header; if this application never sends it, set identity-header = \"none\""
                .to_owned();
            return (Outcome::Unclear, words);
        }
        return (Outcome::Works, format!("it works, as {user}"));
    }
    // Other applications of the family have no such resource, and name the user all the same.
    if !seen.is_empty() && status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        let seen = percent_encoding::percent_decode_str(seen).decode_utf8_lossy();
        return if same(&seen, user) {
            (Outcome::Works, format!("it works, as {user} (by X-AUSERNAME; the application has no `myself`)"))
        } else {
            let words = format!("it is of {}, and user in the configuration is {user}", shown(&seen));
            (Outcome::OtherUser, words)
        };
    }
    let words = format!(
        "the application answered {}, which says nothing about the {what}. Try again when it is well; check that url leads \
         to the application itself, context path included",
        status.as_u16()
    );
    (Outcome::Unclear, words)
}

fn account(body: &[u8]) -> Option<Account> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct User {
        name: String,
        key: Option<String>,
        display_name: Option<String>,
        active: Option<bool>,
    }
    let User { name, key, display_name, active } = serde_json::from_slice(body).ok()?;
    let of = |text: Option<String>| shown(&text.unwrap_or_default());
    Some(Account {
        name: shown(&name),
        key: of(key),
        display_name: of(display_name),
        active: active != Some(false),
    })
}

/// Reads the answer of `GET /rest/pat/latest/tokens`.
pub(super) fn tokens(body: &[u8]) -> Option<Vec<Token>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        #[serde(default)]
        name: String,
        expiring_at: Option<String>,
    }
    let lines: Vec<Line> = serde_json::from_slice(body).ok()?;
    let token =
        |line: Line| Token { name: shown(&line.name), expires: line.expiring_at.as_deref().and_then(moment) };
    Some(lines.into_iter().map(token).collect())
}

/// `2026-01-02T03:04:05.678+0000`, or with a colon or a Z.
fn moment(text: &str) -> Option<u64> {
    let moment = text
        .parse::<jiff::Timestamp>()
        .or_else(|_| jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text))
        .ok()?;
    u64::try_from(moment.as_second()).ok()
}

/// Names in Jira have no case.
fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// What another program wrote, fit for a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use SecretKind::{Password, Pat};

    const READER: &str = r#"{"key":"JIRAUSER1","name":"Reader","displayName":"R\u001b[2J","active":true}"#;

    fn judged(kind: SecretKind, status: u16, headers: &[(&'static str, &str)], body: &str) -> Probed {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        myself("reader", kind, true, StatusCode::from_u16(status).unwrap(), &map, body.as_bytes())
    }

    #[test]
    fn each_answer_has_its_name_and_words() {
        let me = ("x-ausername", "reader");
        let nobody = ("x-ausername", "anonymous");
        let failed = ("x-seraph-loginreason", "AUTHENTICATED_FAILED");
        let denied = ("x-seraph-loginreason", "AUTHENTICATION_DENIED");
        let captcha =
            ("x-authentication-denied-reason", "CAPTCHA_CHALLENGE; login-url=https://jira.example/login.jsp");
        let off = READER.replace("true", "false");
        let other = READER.replace("Reader", "admin");
        for (kind, status, headers, body, outcome, words) in [
            (Pat, 200, &[me][..], READER, Outcome::Works, "as reader"),
            (Pat, 200, &[me], &off, Outcome::Inactive, "switched off"),
            (Pat, 200, &[("x-ausername", "admin")], &other, Outcome::OtherUser, "of admin"),
            (Pat, 200, &[], READER, Outcome::Unclear, "identity-header"),
            (Pat, 200, &[nobody], READER, Outcome::Anonymous, "nobody's"),
            (Pat, 200, &[nobody], "{}", Outcome::Anonymous, "nobody's"),
            (
                Pat,
                401,
                &[nobody, failed],
                "",
                Outcome::Refused,
                "(AUTHENTICATED_FAILED): it is wrong, expired",
            ),
            (Pat, 401, &[], "", Outcome::Refused, "expired or revoked"),
            (Password, 401, &[failed], "", Outcome::Refused, "tried once"),
            (Password, 200, &[failed, nobody], "", Outcome::Refused, "tried once"),
            (Password, 401, &[denied], "", Outcome::Refused, "denies Basic"),
            (Password, 403, &[denied, captcha], "", Outcome::Captcha, "at https://jira.example/login.jsp"),
            (Password, 401, &[captcha], "", Outcome::Captcha, "refuses the right password too"),
            (Pat, 403, &[], "", Outcome::Inactive, "403"),
            (Pat, 302, &[("location", "https://sso.example/")], "", Outcome::Unclear, "https://sso.example/"),
            (Pat, 404, &[me], "", Outcome::Works, "no `myself`"),
            (Pat, 404, &[("x-ausername", "other%40x")], "", Outcome::OtherUser, "other@x"),
            (Pat, 404, &[nobody], "", Outcome::Anonymous, "nobody's"),
            (Pat, 404, &[], "", Outcome::Unclear, "404"),
            (Pat, 200, &[], "<html>", Outcome::Unclear, "200"),
            (Pat, 503, &[me], "", Outcome::Unclear, "503"),
        ] {
            let said = judged(kind, status, headers, body);
            assert_eq!(said.outcome, outcome, "{status} {headers:?} {body}");
            assert!(said.words.contains(words), "{status} {headers:?}: {}", said.words);
            assert_eq!(said.outcome.is_good(), outcome == Outcome::Works);
        }
        let account = judged(Pat, 200, &[me], READER).account.unwrap();
        assert_eq!((account.key.as_str(), account.display_name.as_str()), ("JIRAUSER1", "R[2J"));
    }

    #[test]
    fn tokens_and_their_ends_are_read() {
        let list = r#"[{"id":1,"name":"a","expiringAt":"2026-01-02T03:04:05.678+0000"},
            {"name":"b","expiringAt":"2026-01-02T03:04:05.678Z"},{"name":"c","expiringAt":null},{"name":"d"},
            {"name":"e","expiringAt":"soon"}]"#;
        let found: Vec<_> = tokens(list.as_bytes()).unwrap().into_iter().map(|token| token.expires).collect();
        let at = Some(1_767_323_045);
        assert_eq!(found, [at, at, None, None, None]);
        assert!(tokens(b"{}").is_none() && tokens(b"").is_none());
    }
}
