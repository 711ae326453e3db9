//! What becomes of a mapping after a try to renew its tokens. Pure.

use crate::agent::credentials::tokens::RequestFault;
use crate::identity::oauth::{ErrorCode, TokenFault, Tokens};

/// What comes after a try to renew.
#[derive(Debug)]
pub(super) enum Next {
    /// The new pair takes the old one's place.
    Take(Tokens),
    /// The old pair may still be good: try again later.
    Keep(String),
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
        RequestFault::Unsent(_) => Next::Keep(fault.to_string()),
        // A refresh token is good for one use, and this may have been it. To try it again could end the grant for
        // somebody to whom the answer did go.
        RequestFault::Lost(_) | RequestFault::Answered(TokenFault::Unusable(_)) => {
            Next::End(fault.to_string())
        }
        RequestFault::Answered(TokenFault::Refused { code: ErrorCode::InvalidGrant, .. }) => {
            Next::End("Jira no longer takes the refresh token: it was revoked or ran out".to_owned())
        }
        // The link's own settings are at fault, not the person's grant.
        RequestFault::Answered(TokenFault::Refused { .. } | TokenFault::Status(_)) => {
            Next::Keep(fault.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::secret::Secret;
    use http::StatusCode;
    use std::time::Duration;

    #[test]
    fn only_what_may_have_been_used_up_ends_a_grant() {
        let refused = |code| RequestFault::Answered(TokenFault::Refused { code, description: None });
        let status = |code| RequestFault::Answered(TokenFault::Status(StatusCode::from_u16(code).unwrap()));
        let text = String::new;
        for (fault, ends) in [
            (RequestFault::Unsent(text()), false),
            (status(500), false),
            (status(503), false),
            (status(429), false),
            (status(404), false),
            (refused(ErrorCode::InvalidClient), false),
            (refused(ErrorCode::UnauthorizedClient), false),
            (refused(ErrorCode::InvalidScope), false),
            (refused(ErrorCode::InvalidRequest), false),
            (refused(ErrorCode::Other("x".to_owned())), false),
            (refused(ErrorCode::InvalidGrant), true),
            (RequestFault::Lost(text()), true),
            (RequestFault::Answered(TokenFault::Unusable("x")), true),
        ] {
            let said = format!("{fault:?}");
            let next = refreshed(Err(fault));
            assert_eq!(matches!(next, Next::End(_)), ends, "{said}: {next:?}");
            assert_eq!(matches!(next, Next::Keep(_)), !ends, "{said}");
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
