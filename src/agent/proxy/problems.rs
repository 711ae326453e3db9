//! What a caller is told when the upstream gave no answer that may pass. Names of machines stay in the log.

use http::Method;

use crate::agent::upstream::{BodyFault, SendFault, Upstream};
use crate::common::limits::ByteSize;
use crate::common::problem::{Code, Fault, Outcome, Problem, Retry};

/// After a call was under way: a safe one has changed nothing, so it may be sent again.
fn under_way(problem: Problem, method: &Method) -> Problem {
    if method.is_safe() { problem.with_retry(Retry::Safe) } else { problem }
}

/// The outcome of a body that broke off after the head had left.
fn half_sent(problem: Problem) -> Problem {
    problem.with_outcome(Outcome::OutcomeUnknown)
}

/// For the fault of one call.
pub(super) fn of(fault: &SendFault, method: &Method, upstream: &Upstream, limit: u64) -> Problem {
    let name = &upstream.config().name;
    match fault {
        SendFault::Connect { .. } | SendFault::Unsent { .. } => Problem::new(
            Code::UpstreamUnreachable,
            format!(
                "The agent gets no connection to “{name}”; nothing was sent. At the site, `outhaul-agent status` \
                 shows why: is the application running, and is the address in [upstream.{name}] right?"
            ),
        ),
        SendFault::Tls { .. } => Problem::new(
            Code::UpstreamUnreachable,
            format!(
                "The agent does not trust the certificate of “{name}”, or can't agree on TLS with it; nothing was \
                 sent. At the site, check `ca-file` and the host name in [upstream.{name}]."
            ),
        )
        .with_retry(Retry::Never),
        SendFault::Busy(connections) => Problem::new(
            Code::SiteBusy,
            format!(
                "All {connections} connections of the agent to “{name}” are in use. Send fewer calls at once, or \
                 raise `max-connections` in [upstream.{name}] at the site."
            ),
        ),
        SendFault::Unsendable(_) => Problem::new(
            Code::BadRequest,
            "This request can't be written as HTTP/1.1; nothing was sent. Percent-encode what its query holds.",
        ),
        SendFault::Broken(_) => under_way(
            Problem::new(
                Code::UpstreamBroke,
                format!(
                    "“{name}” closed the connection without an answer. {} At the site, look into its own log.",
                    look(method)
                ),
            ),
            method,
        ),
        SendFault::Answer(_) => Problem::new(
            Code::UpstreamAnswer,
            format!(
                "“{name}” sent something that is no answer in HTTP/1.1, or whose head is too large. {} At the \
                 site, check that the address in [upstream.{name}] is the application's.",
                look(method)
            ),
        ),
        SendFault::TooSlow(waited) => under_way(
            Problem::new(
                Code::UpstreamTooSlow,
                format!(
                    "“{name}” did not answer within {waited:?}. {} At the site, `first-byte-timeout` and \
                     `idle-timeout` in [upstream.{name}] can be raised.",
                    look(method)
                ),
            ),
            method,
        ),
        SendFault::CallerTooSlow(waited) => half_sent(Problem::new(
            Code::CallerTooSlow,
            format!("No byte of the body arrived for {waited:?}."),
        )),
        SendFault::Body(BodyFault::TooLarge) => half_sent(too_large(limit)),
        SendFault::Body(BodyFault::WrongLength) => {
            half_sent(Problem::new(Code::BadRequest, "The body is not as long as Content-Length says."))
        }
        // It saw the beginning of a request, and the connection's end in its midst.
        SendFault::Body(BodyFault::Digest) => half_sent(Problem::new(
            Code::DigestMismatch,
            format!(
                "The body does not fit Content-Digest, so its end was withheld from “{name}”, which never had a whole \
                 request."
            ),
        )),
        SendFault::Body(BodyFault::Source) => half_sent(
            Problem::new(Code::BadRequest, "The body broke off before its end.").with_fault(Fault::Network),
        ),
    }
}

/// A body over the limit.
pub fn too_large(limit: u64) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!(
            "The body may have at most {} here. Send less, or ask the site's administrator to raise `max-body` of \
             the rule or `max-request-body` of the upstream.",
            ByteSize(limit)
        ),
    )
    .with_extra("limit", limit)
}

/// An answer whose head fits no frame of the tunnel.
pub(super) fn head_too_large(method: &Method, upstream: &Upstream, length: usize) -> Problem {
    let name = &upstream.config().name;
    let detail =
        format!("The head of the answer of “{name}” has {length} bytes, too many to pass. {}", look(method));
    Problem::new(Code::UpstreamAnswer, detail)
}

/// An answer that was made as somebody else. Whose it was stays in the log: it may be a person's name.
pub(super) fn mismatch(method: &Method, upstream: &Upstream, user: &str) -> Problem {
    let name = &upstream.config().name;
    Problem::new(
        Code::IdentityMismatch,
        format!(
            "“{name}” did not answer as {user}, so its answer is withheld. {} At the site, check that the \
             credential is that account's and still valid; the agent's log names whom it answered as. If this \
             application does not send X-AUSERNAME, set `identity-header = \"none\"` in [upstream.{name}].",
            look(method)
        ),
    )
}

/// A service's credential that the upstream no longer takes.
pub(super) fn dead(upstream: &Upstream, user: &str) -> Problem {
    let name = &upstream.config().name;
    Problem::new(
        Code::NeedsReauth,
        format!(
            "“{name}” no longer takes the credential of {user}, and refused the call. At the site, make a new \
             token or password and put it where the [service] table says."
        ),
    )
}

/// A credential that was dead, and is renewed; the call itself was refused.
pub(super) fn renewed(upstream: &Upstream) -> Problem {
    let name = &upstream.config().name;
    Problem::new(
        Code::CredentialRenewed,
        format!(
            "“{name}” refused the call because the credential had died before its time. It is renewed now: send the \
             call again."
        ),
    )
}

fn look(method: &Method) -> &'static str {
    if method.is_safe() {
        "The call only read, and may be sent again."
    } else {
        "It may have acted on the call: look at its state before sending again."
    }
}
