//! Every refusal of ours, in one shape: a problem document (RFC 9457).
//!
//! It says what happened, whose fault it is, whether the call may be sent again, and what to do next. The header
//! `Outhaul-Problem` repeats the code, so that a refusal of ours can never be taken for Jira's own answer.

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::ids::RequestId;

/// The header that marks an answer as ours and not the upstream's.
pub const PROBLEM_HEADER: HeaderName = HeaderName::from_static("outhaul-problem");

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The program that calls.
    Caller,
    /// The application behind the agent, or its configuration.
    Site,
    /// The agent itself.
    Agent,
    /// The relay itself.
    Relay,
    /// The line between them.
    Network,
}

/// May the same call be sent again?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// No: it would fail again, or could act twice.
    Never,
    /// Yes, at once: nothing was done.
    Safe,
    /// Yes, after the time in `Retry-After`.
    After,
}

/// What became of the call at the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The upstream never saw it.
    NotSent,
    /// The upstream may have acted on it.
    OutcomeUnknown,
    /// The upstream has answered it; the document says with which status.
    Answered,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $status:ident, $fault:ident, $retry:ident, $outcome:ident, $title:literal;)*) => {
        /// Every refusal there is. The code is stable: programs match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// All of them, for documents and tests.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// As in `urn:outhaul:problem:{code}` and the header `Outhaul-Problem`.
            pub fn as_str(self) -> &'static str { match self { $(Code::$variant => $code,)* } }
            /// The HTTP status that goes with it.
            pub fn status(self) -> StatusCode { match self { $(Code::$variant => StatusCode::$status,)* } }
            /// Whose fault it usually is.
            pub fn fault(self) -> Fault { match self { $(Code::$variant => Fault::$fault,)* } }
            /// Whether to send it again.
            pub fn retry(self) -> Retry { match self { $(Code::$variant => Retry::$retry,)* } }
            /// What the upstream saw.
            pub fn outcome(self) -> Outcome { match self { $(Code::$variant => Outcome::$outcome,)* } }
            /// A short, fixed sentence.
            pub fn title(self) -> &'static str { match self { $(Code::$variant => $title,)* } }
        }
    };
}

codes! {
    /// The request is malformed or ambiguous.
    BadRequest = "bad-request", BAD_REQUEST, Caller, Never, NotSent, "The request can't be read";
    /// The path has more than one meaning.
    AmbiguousPath = "ambiguous-path", BAD_REQUEST, Caller, Never, NotSent, "The path has more than one reading";
    /// No or a wrong caller key.
    CallerUnknown = "caller-unknown", UNAUTHORIZED, Caller, Never, NotSent, "The caller is not known to this site";
    /// A token that does not say who calls.
    TokenInvalid = "token-invalid", UNAUTHORIZED, Caller, Never, NotSent, "The token does not say who calls";
    /// The keys of a token's issuer are not known now.
    IssuerUnavailable = "issuer-unavailable", SERVICE_UNAVAILABLE, Site, After, NotSent, "The token can't be checked for now";
    /// A signed call whose signature is not taken.
    SignatureInvalid = "signature-invalid", UNAUTHORIZED, Caller, Never, NotSent, "The call's signature is not taken";
    /// A signed call that came before. What became of the first is not known here.
    SignatureReplayed = "signature-replayed", UNAUTHORIZED, Caller, Never, OutcomeUnknown, "A call with this signature came before";
    /// A body that is not the one that was signed.
    DigestMismatch = "digest-mismatch", BAD_REQUEST, Caller, Never, NotSent, "The body is not the one that was signed";
    /// No rule allows the call.
    PolicyRefused = "policy-refused", FORBIDDEN, Caller, Never, NotSent, "The site's policy does not allow this call";
    /// The caller names a person of a provider that it may not name.
    ActAsRefused = "act-as-refused", FORBIDDEN, Caller, Never, NotSent, "This caller may not call for that person";
    /// The rule makes the call as a person, and the caller names none.
    ActAsRequired = "act-as-required", BAD_REQUEST, Caller, Never, NotSent, "The call must say for which person it is made";
    /// The rule asks for a proof that the call does not bring.
    TrustRequired = "trust-required", FORBIDDEN, Caller, Never, NotSent, "The rule for this call asks for more proof of who calls";
    /// The person has no linked account.
    LinkRequired = "link-required", FORBIDDEN, Caller, Never, NotSent, "This person has not linked a Jira account";
    /// The code of a link is wrong.
    LinkCodeWrong = "link-code-wrong", FORBIDDEN, Caller, Never, NotSent, "The code is not the one that the person was shown";
    /// No link waits for a code.
    LinkNotOpen = "link-not-open", CONFLICT, Caller, Never, NotSent, "No link of this person waits for a code";
    /// The person is not at the end of the pages.
    LinkNotConfirmed = "link-not-confirmed", CONFLICT, Caller, After, NotSent, "The person has not confirmed the link yet";
    /// The account is another person's.
    LinkTaken = "link-taken", CONFLICT, Site, Never, NotSent, "The account is linked to another person";
    /// The host or the first path segment names nothing here.
    NotFound = "not-found", NOT_FOUND, Caller, Never, NotSent, "Nothing is reachable under this name";
    /// The relay has no such site.
    SiteUnknown = "site-unknown", NOT_FOUND, Caller, Never, NotSent, "The relay knows no such site";
    /// A method that is never passed.
    MethodRefused = "method-refused", METHOD_NOT_ALLOWED, Caller, Never, NotSent, "This method is never passed";
    /// WebSocket and other upgrades.
    UpgradeRefused = "upgrade-refused", NOT_IMPLEMENTED, Caller, Never, NotSent, "Protocol upgrades are not passed";
    /// The place where agents connect, asked for something else.
    UpgradeRequired = "upgrade-required", UPGRADE_REQUIRED, Caller, Never, NotSent, "Agents connect here by WebSocket";
    /// The host is not one the answering side serves.
    Misdirected = "misdirected", MISDIRECTED_REQUEST, Caller, Never, NotSent, "This connection does not serve that host";
    /// The body is over the limit.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, Caller, Never, NotSent, "The body is larger than allowed";
    /// The head is over the limit.
    HeadTooLarge = "head-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, Caller, Never, NotSent, "The headers are larger than allowed";
    /// The caller sent its request too slowly.
    CallerTooSlow = "caller-too-slow", REQUEST_TIMEOUT, Caller, Never, NotSent, "The request did not arrive in time";
    /// Too many calls.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, Caller, After, NotSent, "Too many calls for now";
    /// Too many calls at once.
    SiteBusy = "site-busy", SERVICE_UNAVAILABLE, Site, After, NotSent, "Too many calls to this site at once";
    /// No agent of the site is connected.
    SiteOffline = "site-offline", SERVICE_UNAVAILABLE, Site, After, NotSent, "The site's agent is not connected";
    /// The relay has as much to do as it may.
    RelayBusy = "relay-busy", SERVICE_UNAVAILABLE, Relay, After, NotSent, "The relay has too much to do for now";
    /// The operator paused the site.
    SitePaused = "site-paused", SERVICE_UNAVAILABLE, Relay, After, NotSent, "The relay's operator has paused this site";
    /// The administrator paused the agent.
    Paused = "paused", SERVICE_UNAVAILABLE, Site, After, NotSent, "The site's administrator has paused all calls";
    /// The tunnel died before the call could have had an effect.
    AgentLostUnsent = "agent-lost-unsent", BAD_GATEWAY, Network, Safe, NotSent, "The agent was lost before the call was sent";
    /// The tunnel died with the call under way.
    AgentLost = "agent-lost", BAD_GATEWAY, Network, Never, OutcomeUnknown, "The agent was lost while the call was under way";
    /// The upstream could not be reached.
    UpstreamUnreachable = "upstream-unreachable", BAD_GATEWAY, Site, Safe, NotSent, "The agent can't reach the application";
    /// The upstream broke off.
    UpstreamBroke = "upstream-broke", BAD_GATEWAY, Site, Never, OutcomeUnknown, "The application broke the connection off";
    /// The upstream's answer is not one we can pass on.
    UpstreamAnswer = "upstream-answer", BAD_GATEWAY, Site, Never, OutcomeUnknown, "The application's answer can't be passed on";
    /// The upstream did not answer in time.
    UpstreamTooSlow = "upstream-too-slow", GATEWAY_TIMEOUT, Site, Never, OutcomeUnknown, "The application did not answer in time";
    /// The agent did not answer in time.
    AgentTooSlow = "agent-too-slow", GATEWAY_TIMEOUT, Network, Never, OutcomeUnknown, "The agent did not answer in time";
    /// The answer was made as somebody else.
    IdentityMismatch = "identity-mismatch", BAD_GATEWAY, Site, Never, OutcomeUnknown, "The application answered as another user";
    /// The service's own credential is dead.
    NeedsReauth = "needs-reauth", BAD_GATEWAY, Site, Never, OutcomeUnknown, "The stored credential is no longer valid";
    /// The person's account was switched off.
    UserSuspended = "user-suspended", FORBIDDEN, Site, Never, NotSent, "This person's Jira account is switched off";
    /// The person's credential can't be renewed for now.
    CredentialUnavailable = "credential-unavailable", SERVICE_UNAVAILABLE, Site, After, NotSent, "The stored credential can't be renewed for now";
    /// The application refused the call because the credential was dead; there is a new one now.
    CredentialRenewed = "credential-renewed", SERVICE_UNAVAILABLE, Site, Safe, NotSent, "The credential was dead and has been renewed";
    /// A credential that the policy names is missing at the agent.
    CredentialMissing = "credential-missing", BAD_GATEWAY, Agent, Never, NotSent, "The credential for this call is missing at the agent";
    /// A call with this key is under way. The same call with the same key may be sent again.
    IdempotencyInFlight = "idempotency-in-flight", CONFLICT, Caller, After, OutcomeUnknown, "The first call with this key is still under way";
    /// Another call used this key.
    IdempotencyMismatch = "idempotency-mismatch", UNPROCESSABLE_ENTITY, Caller, Never, NotSent, "This key belongs to another call";
    /// The call was made and answered, but its answer was not kept.
    IdempotencyAnswerGone = "idempotency-answer-gone", CONFLICT, Agent, Never, Answered, "The call was made before, and its answer is not kept";
    /// No further key can be remembered.
    IdempotencyFull = "idempotency-full", SERVICE_UNAVAILABLE, Site, After, NotSent, "No further Idempotency-Key can be remembered for now";
    /// The store can't take or give what the call needs.
    StoreUnavailable = "store-unavailable", SERVICE_UNAVAILABLE, Agent, After, NotSent, "The agent's store can't be read or written now";
    /// The call can't be recorded.
    AuditUnavailable = "audit-unavailable", SERVICE_UNAVAILABLE, Agent, After, NotSent, "The agent can't record calls now, so it makes none";
    /// Something of ours failed.
    Internal = "internal", INTERNAL_SERVER_ERROR, Agent, Never, OutcomeUnknown, "Something inside failed";
}

impl std::fmt::Display for Code {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One refusal, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which refusal.
    pub code: Code,
    /// The HTTP status, where it differs from the code's usual.
    pub status: StatusCode,
    /// What to do about it, in a sentence or two. Never holds a secret or a query string.
    pub detail: String,
    /// Whose fault, where it differs from the code's usual.
    pub fault: Fault,
    /// Whether to send again, where it differs from the code's usual.
    pub retry: Retry,
    /// What the upstream saw, where it differs from the code's usual.
    pub outcome: Outcome,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u32>,
    /// Further members, such as the rule that came nearest.
    pub extra: Vec<(&'static str, serde_json::Value)>,
}

impl Problem {
    /// A refusal with the code's usual fault, retry and outcome.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after = (code.retry() == Retry::After).then_some(2);
        Self {
            code,
            status: code.status(),
            detail: detail.into(),
            fault: code.fault(),
            retry: code.retry(),
            outcome: code.outcome(),
            retry_after,
            extra: Vec::new(),
        }
    }

    /// The same, with another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same, with another verdict on who is to blame.
    #[must_use]
    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// The same, with another verdict on sending again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// The same, with another verdict on what the upstream saw.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// The same, to be retried after so many seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry = Retry::After;
        self.retry_after = Some(seconds);
        self
    }

    /// The same, with a further member.
    #[must_use]
    pub fn with_extra(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    /// The document, as bytes of `application/problem+json`.
    pub fn to_json(&self, request_id: RequestId) -> Vec<u8> {
        let mut document = serde_json::json!({
            "type": format!("urn:outhaul:problem:{}", self.code),
            "title": self.code.title(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "fault": self.fault,
            "retry": self.retry,
            "outcome": self.outcome,
            "request_id": request_id,
            // A further member, as RFC 9457, section 3.2, lets us have: client libraries made for Jira show their user
            // what stands under this name, and some fail without it.
            "errorMessages": [self.detail],
        });
        if let Some(members) = document.as_object_mut() {
            for (name, value) in &self.extra {
                members.insert((*name).to_owned(), value.clone());
            }
        }
        document.to_string().into_bytes()
    }

    /// The whole answer, head and document.
    pub fn to_response(&self, request_id: RequestId) -> Response<bytes::Bytes> {
        let body = self.to_json(request_id);
        let mut response = Response::new(bytes::Bytes::new());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PROBLEM_HEADER, HeaderValue::from_static(self.code.as_str()));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::CallerUnknown {
            // Both forms a caller may send its key in (RFC 9110, section 11.6.1).
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"outhaul\""));
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"outhaul\""));
        }
        if self.code == Code::TokenInvalid {
            let challenge = "Bearer realm=\"outhaul\", error=\"invalid_token\"";
            // RFC 6750, section 3.
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        *response.body_mut() = body.into();
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_kebab_case() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(code.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code}");
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
    }

    #[test]
    fn only_what_was_not_sent_may_be_sent_again() {
        for code in Code::ALL {
            // Its own key keeps that one from acting twice.
            if code.outcome() != Outcome::NotSent && *code != Code::IdempotencyInFlight {
                assert_eq!(code.retry(), Retry::Never, "{code}");
            }
        }
    }

    #[test]
    fn the_answer_carries_all_that_a_caller_needs() {
        let id = RequestId::generate();
        let problem = Problem::new(Code::SiteOffline, "Start the agent.").with_extra("site", "acme");
        let response = problem.to_response(id);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[PROBLEM_HEADER], "site-offline");
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(document["type"], "urn:outhaul:problem:site-offline");
        assert_eq!(document["outcome"], "not-sent");
        assert_eq!(document["fault"], "site");
        assert_eq!(document["retry"], "after");
        assert_eq!(document["site"], "acme");
        assert_eq!(document["request_id"], id.to_string());
        assert_eq!(document["errorMessages"], serde_json::json!(["Start the agent."]));
    }
}
