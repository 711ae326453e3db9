//! Why there is no certificate: whose fault it is, and what to do.

use instant_acme::{Error, Problem};

use super::certificate::printable;
use super::http::ours;
use crate::agent::store::StoreFault;

/// Why a try came to nothing. Texts of the authority are made safe to print.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No answer.
    #[error("the authority can't be reached: {0}")]
    Unreachable(String),
    /// An answer that can't be used.
    #[error("the authority answers in a way this agent does not understand: {0}")]
    Odd(String),
    /// It said no.
    #[error("the authority refuses: {detail} ({})", kind.as_deref().unwrap_or("no type"))]
    Refused {
        /// The type of its problem, without its prefix: `rateLimited`, `caa`, …
        kind: Option<String>,
        /// Its words.
        detail: String,
        /// When it wants the next request, in seconds since 1970.
        until: Option<u64>,
    },
    /// It offers no way that the agent can answer.
    #[error("the authority offers no tls-alpn-01 for {0}, and the agent answers nothing else")]
    NoChallenge(String),
    /// It did not decide.
    #[error("the authority did not decide within {0} s")]
    Slow(u64),
    /// It issued something else than was ordered.
    #[error("the authority gave a certificate that can't be used: {0}")]
    Wrong(String),
    /// It wants an external account binding.
    #[error("the authority takes only accounts that are bound to one it has given out itself")]
    ExternalAccountRequired,
    /// Something of ours: a key, a file with a secret.
    #[error("{0}")]
    Local(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl Fault {
    /// From the library's error, and the Retry-After that came with it.
    pub(super) fn of(error: Error, until: Option<u64>) -> Self {
        match error {
            Error::Api(problem) => Self::problem(&problem, until),
            Error::Other(error) => ours(error),
            Error::Timeout(_) => Self::Slow(super::order::PATIENCE.as_secs()),
            error => Self::Odd(printable(&error.to_string())),
        }
    }

    /// From what the authority says.
    pub(super) fn problem(problem: &Problem, until: Option<u64>) -> Self {
        let kind = problem.r#type.as_deref().map(|kind| kind.strip_prefix(PREFIX).unwrap_or(kind));
        // Where several names are at fault each has its own words.
        let mut detail = problem.detail.clone().unwrap_or_default();
        for sub in &problem.subproblems {
            detail.push_str("; ");
            detail.push_str(sub.detail.as_deref().unwrap_or_default());
        }
        if detail.is_empty() {
            "it does not say why".clone_into(&mut detail);
        }
        Self::Refused { kind: kind.map(printable), detail: printable(&detail), until }
    }

    /// When the authority wants the next request, in seconds since 1970.
    pub(super) fn until(&self) -> Option<u64> {
        match self {
            Self::Refused { until, .. } => *until,
            _ => None,
        }
    }

    /// It was not even asked: to try again soon costs it nothing.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// A nonce was not taken, and others in its place neither.
    pub(super) fn is_bad_nonce(&self) -> bool {
        matches!(self, Self::Refused { kind: Some(kind), .. } if kind == "badNonce")
    }

    /// The account is gone.
    pub(super) fn is_unknown_account(&self) -> bool {
        matches!(self, Self::Refused { kind: Some(kind), .. } if kind == "accountDoesNotExist")
    }

    /// What to do about it.
    pub fn action(&self, name: &str) -> String {
        match self {
            Self::Unreachable(_) => {
                "Check `directory` and `egress` under [pass-through.acme], and that the way out \
                 is open to the authority."
                    .to_owned()
            }
            Self::ExternalAccountRequired => "Get a key id and an HMAC key from the authority, and set \
                 external-account under [pass-through.acme]."
                .to_owned(),
            Self::Refused { kind, .. } => refused(kind.as_deref().unwrap_or_default(), name),
            Self::NoChallenge(_) => "Choose an authority that does tls-alpn-01 (RFC 8737).".to_owned(),
            Self::Slow(_) => "Nothing, if it goes away; else look at the authority's status page.".to_owned(),
            Self::Odd(_) => {
                "Check that `directory` under [pass-through.acme] is the URL of an ACME directory \
                 (RFC 8555)."
                    .to_owned()
            }
            Self::Wrong(_) => "Check this machine's clock; then ask the authority.".to_owned(),
            Self::Local(_) => "Correct it, then run `outhaul-agent certificate renew`.".to_owned(),
            Self::Store(_) => "Look at `outhaul-agent store verify`, and at the disk.".to_owned(),
        }
    }
}

fn refused(kind: &str, name: &str) -> String {
    match kind {
        "rateLimited" => {
            "Wait: the agent comes back when the authority allows it. Try settings with the authority's \
             staging directory."
                .to_owned()
        }
        "caa" => format!(
            "A CAA record of {name}, or of a domain above it, forbids it. `outhaul-agent certificate` prints the lines \
             to set, `outhaul-agent doctor` what is wrong with those that are there."
        ),
        "dns" | "connection" | "tls" | "unauthorized" | "incorrectResponse" => format!(
            "The authority came to {name} and did not find this agent. Its A and AAAA records must lead to the relay, \
             on port 443; the relay's operator must have added the name; this agent must be the active one. Then run \
             `outhaul-agent certificate renew`."
        ),
        "externalAccountRequired" => "Set external-account under [pass-through.acme].".to_owned(),
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            format!("The authority issues nothing for {name}: ask it, or choose another.")
        }
        "unsupportedContact" | "invalidContact" => {
            "Correct contact under [pass-through.acme]: mailto: addresses that exist.".to_owned()
        }
        "userActionRequired" => {
            "The authority's terms of service changed: read them, and follow what it says.".to_owned()
        }
        "accountDoesNotExist" => {
            "The agent makes a new account with the next try. Its URI is another: set the CAA \
             lines that `outhaul-agent certificate` prints then."
                .to_owned()
        }
        _ => "Look at the authority's words; its documentation explains the type.".to_owned(),
    }
}

const PREFIX: &str = "urn:ietf:params:acme:error:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_to_do() {
        let problem: Problem = serde_json::from_str(
            r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many\u001b[2J","status":429}"#,
        )
        .unwrap();
        let fault = Fault::problem(&problem, Some(9));
        assert_eq!(fault.to_string(), "the authority refuses: too many\u{fffd}[2J (rateLimited)");
        assert_eq!(fault.until(), Some(9));
        assert!(fault.action("a.example").starts_with("Wait"));
        let empty: Problem = serde_json::from_str("{}").unwrap();
        assert_eq!(
            Fault::problem(&empty, None).to_string(),
            "the authority refuses: it does not say why (no type)"
        );
        for kind in ["caa", "connection", "rejectedIdentifier"] {
            assert!(refused(kind, "jira.example.com").contains("jira.example.com"), "{kind}");
        }
        let gone: Problem =
            serde_json::from_str(r#"{"type":"urn:ietf:params:acme:error:accountDoesNotExist"}"#).unwrap();
        assert!(Fault::problem(&gone, None).is_unknown_account() && !fault.is_unknown_account());
    }
}
