//! Whose is a credential? Jira's `myself` tells.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;

use super::tokens;
use crate::agent::store::tables::mappings::Account;
use crate::agent::upstream::{Outbound, Outgoing, USER_AGENT, Upstream};

/// What `myself` said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Myself {
    /// It is this account's.
    Is(Account),
    /// The application does not take it, or takes its bearer for nobody.
    Refused,
    /// The account is switched off, or may not come in any more.
    SwitchedOff,
    /// Nobody could be asked, or the answer says nothing.
    Unknown(String),
}

/// Asks with this value of `Authorization`. Ends within [`PATIENCE`].
pub async fn ask(upstream: &Upstream, authorization: &HeaderValue) -> Myself {
    let mut headers = HeaderMap::new();
    common(upstream, &mut headers);
    headers.insert(header::AUTHORIZATION, authorization.clone());
    let outbound = Outbound { method: Method::GET, target: "/rest/api/2/myself".to_owned(), headers };
    let asking = async {
        let answer = upstream.ask(&outbound, Outgoing::empty(upstream.clock())).await;
        let (head, body) = match answer {
            Ok(answer) => answer.into_parts(),
            Err(fault) => return Myself::Unknown(fault.to_string()),
        };
        // The words of a 403 tell what refused.
        if !head.status.is_success() && head.status != StatusCode::FORBIDDEN {
            return read(head.status, &head.headers, &[]);
        }
        match tokens::read(body, MAX_ANSWER).await {
            Ok(body) => read(head.status, &head.headers, &body),
            Err(fault) => Myself::Unknown(fault),
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| Myself::Unknown(format!("no answer within {PATIENCE:?}")))
}

fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Myself {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct User {
        key: String,
        name: String,
        display_name: Option<String>,
        active: Option<bool>,
    }
    let nobody = headers.get_all("x-ausername").iter();
    let nobody = nobody.into_iter().any(|name| name.as_bytes().eq_ignore_ascii_case(b"anonymous"));
    match status {
        StatusCode::UNAUTHORIZED => return Myself::Refused,
        StatusCode::FORBIDDEN if is_of_the_account(headers, body) => return Myself::SwitchedOff,
        status if !status.is_success() => return Myself::Unknown(format!("the answer was {status}")),
        _ if nobody => return Myself::Refused,
        _ => {}
    }
    let Ok(user) = serde_json::from_slice::<User>(body) else {
        return Myself::Unknown("the answer is not the one that Jira documents".to_owned());
    };
    if user.active == Some(false) {
        return Myself::SwitchedOff;
    }
    let fits = |text: &str| !text.is_empty() && text.len() <= MAX_NAME && !text.chars().any(char::is_control);
    if !fits(&user.key) || !fits(&user.name) {
        return Myself::Unknown("the answer names no account".to_owned());
    }
    let display_name = user.display_name.unwrap_or_default();
    let display_name = display_name.chars().filter(|one| !one.is_control()).take(MAX_NAME).collect();
    Myself::Is(Account { key: user.key, name: user.name, display_name })
}

/// Whether a 403 is Jira's own word, and about the account. A firewall, a balancer or a maintenance page in front of it
/// answers so to everybody, and secrets that were wiped for it would not come back.
fn is_of_the_account(headers: &HeaderMap, body: &[u8]) -> bool {
    let of_jira = ["x-arequestid", "x-ausername", "x-seraph-loginreason"];
    let captcha = headers.contains_key("x-authentication-denied-reason")
        || headers
            .get_all("x-seraph-loginreason")
            .iter()
            .any(|reason| reason.as_bytes().windows(DENIED.len()).any(|part| part == DENIED));
    let forgery =
        body.trim_ascii_start().get(..XSRF.len()).is_some_and(|start| start.eq_ignore_ascii_case(XSRF));
    of_jira.iter().any(|name| headers.contains_key(*name)) && !captcha && !forgery
}

/// What every request of the agent's own has.
pub(super) fn common(upstream: &Upstream, headers: &mut HeaderMap) {
    if let Ok(host) = HeaderValue::from_str(&upstream.config().base_url.authority()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
}

/// The caller of the call that was refused waits for it.
pub const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 256 * 1024;
/// In `X-Seraph-LoginReason`, where the way to log in is closed and not the account: a CAPTCHA waits.
const DENIED: &[u8] = b"AUTHENTICATION_DENIED";
/// How Jira begins where it takes a request for forged.
const XSRF: &[u8] = b"XSRF check failed";
/// Longer than any name Jira lets through.
const MAX_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read_and_doubted() {
        let alice =
            r#"{"key":"JIRAUSER10100","name":"alice","displayName":"Alice\u0007 A","active":true,"x":1}"#;
        let account = Account {
            key: "JIRAUSER10100".to_owned(),
            name: "alice".to_owned(),
            display_name: "Alice A".to_owned(),
        };
        let off = alice.replace("true", "false");
        for (status, seen, body, said) in [
            (200, None, alice, Myself::Is(account.clone())),
            (200, Some("alice"), alice, Myself::Is(account)),
            (200, Some("Anonymous"), alice, Myself::Refused),
            (200, Some("alice"), &off, Myself::SwitchedOff),
            (401, None, alice, Myself::Refused),
            (403, Some("alice"), "", Myself::SwitchedOff),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(
                seen.map(|name| (header::HeaderName::from_static("x-ausername"), name.parse().unwrap())),
            );
            assert_eq!(
                read(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes()),
                said,
                "{status} {body}"
            );
        }
        for (status, body) in [
            (200, ""),
            (200, "<html>"),
            (200, r#"{"key":"","name":"a"}"#),
            (200, r#"{"name":"a"}"#),
            (302, alice),
            (404, ""),
            (503, ""),
        ] {
            let said = read(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes());
            assert!(matches!(said, Myself::Unknown(_)), "{status} {body}");
        }
    }
    #[test]
    fn only_what_jira_says_of_the_account_switches_it_off() {
        let failed = ("x-seraph-loginreason", "AUTHORISATION_FAILED");
        let denied = ("x-seraph-loginreason", "AUTHENTICATION_DENIED");
        let captcha = ("x-authentication-denied-reason", "CAPTCHA_CHALLENGE; login-url=https://j/login.jsp");
        let request = ("x-arequestid", "600x1x1");
        for (fields, body, off) in [
            (&[request][..], "", true),
            (&[("x-ausername", "alice")], "{}", true),
            (&[failed], "", true),
            // Not Jira's word.
            (&[], "", false),
            (&[("server", "waf")], "<html>Forbidden</html>", false),
            (&[("retry-after", "600")], "Down for maintenance", false),
            // Jira's, and not about the account.
            (&[request, denied, captcha], "", false),
            (&[request, captcha], "", false),
            (&[denied], "", false),
            (&[request], "XSRF check failed", false),
            (&[request], "\nxsrf check failed for x", false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            let said = read(StatusCode::FORBIDDEN, &headers, body.as_bytes());
            assert_eq!(said == Myself::SwitchedOff, off, "{fields:?} {body}");
            assert!(off || matches!(said, Myself::Unknown(_)), "{said:?}");
        }
    }
}
