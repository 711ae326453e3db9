//! What becomes of a mapping after a try to renew its tokens. Pure.

use std::time::Duration;

use http::StatusCode;

use crate::agent::credentials::tokens::RequestFault;
use crate::identity::oauth::{ErrorCode, TokenFault, Tokens};

/// What comes after a try to renew.
#[derive(Debug)]
pub(super) enum Next {
    /// The new pair takes the old one's place.
    Take(Tokens),
    /// The old pair may still be good: try again later.
    Keep(String),
    /// Refused, and not for a reason that is the grant's: as [`Next::Keep`], but not for ever.
    Doubt(String),
    /// The old pair is dead, or nobody knows: the person must consent again.
    End(String),
}

/// Decides on the answer to a refresh.
pub(super) fn refreshed(result: Result<Tokens, RequestFault>) -> Next {
    let fault = match result {
        Ok(tokens) => return Next::Take(tokens),
        Err(fault) => fault,
    };
    match &fault {
        // A refresh token is good for one use, and this may have been it. To try it again could end the grant for
        // somebody to whom the answer did go.
        RequestFault::Lost(_) | RequestFault::Answered(TokenFault::Unusable(_)) => {
            Next::End(fault.to_string())
        }
        RequestFault::Answered(TokenFault::Refused { code: ErrorCode::InvalidGrant, .. }) => {
            Next::End("Jira no longer takes the refresh token: it was revoked or ran out".to_owned())
        }
        // Nobody heard it, or something in front of Jira answered (a token that was used up all the same gets
        // `invalid_grant` next time); or the link's own settings are at fault, not the person's grant.
        RequestFault::Unsent(_)
        | RequestFault::Answered(
            TokenFault::Page
            | TokenFault::Refused { code: ErrorCode::InvalidClient | ErrorCode::UnauthorizedClient, .. },
        ) => Next::Keep(fault.to_string()),
        RequestFault::Answered(TokenFault::Refused { .. }) => Next::Doubt(fault.to_string()),
        RequestFault::Answered(TokenFault::Status(status)) => match *status {
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Next::Doubt(fault.to_string())
            }
            _ => Next::Keep(fault.to_string()),
        },
    }
}

/// So long a provider may refuse, without saying that the grant is dead, before it counts as dead: else a person would
/// hear for ever to try again.
pub(super) const DOUBT: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::secret::Secret;
    #[test]
    fn only_what_may_have_been_used_up_ends_a_grant() {
        let refused = |code| RequestFault::Answered(TokenFault::Refused { code, description: None });
        let status = |code| RequestFault::Answered(TokenFault::Status(StatusCode::from_u16(code).unwrap()));
        let text = String::new;
        for (fault, what) in [
            (RequestFault::Unsent(text()), "keep"),
            (status(500), "keep"),
            (status(503), "keep"),
            (status(429), "keep"),
            (status(404), "keep"),
            (status(400), "doubt"),
            (status(401), "doubt"),
            (refused(ErrorCode::InvalidClient), "keep"),
            (refused(ErrorCode::UnauthorizedClient), "keep"),
            (refused(ErrorCode::InvalidScope), "doubt"),
            (refused(ErrorCode::InvalidRequest), "doubt"),
            (refused(ErrorCode::Other("x".to_owned())), "doubt"),
            (refused(ErrorCode::InvalidGrant), "end"),
            (RequestFault::Answered(TokenFault::Page), "keep"),
            (RequestFault::Lost(text()), "end"),
            (RequestFault::Answered(TokenFault::Unusable("x")), "end"),
        ] {
            let said = format!("{fault:?}");
            let next = match refreshed(Err(fault)) {
                Next::Take(_) => "take",
                Next::Keep(_) => "keep",
                Next::Doubt(_) => "doubt",
                Next::End(_) => "end",
            };
            assert_eq!(next, what, "{said}");
        }
        let tokens = Tokens {
            access: Secret::new("a".to_owned()),
            refresh: None,
            lifetime: Duration::from_secs(1),
            scope: None,
        };
        assert!(matches!(refreshed(Ok(tokens)), Next::Take(_)));
    }
}
