//! When a token is renewed, and what becomes of a mapping after a try. Pure: time and chance are arguments.

use std::time::{Duration, Instant};

use crate::agent::credentials::tokens::RequestFault;
use crate::identity::oauth::{ErrorCode, TokenFault, Tokens};

/// The two moments in an access token's life that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// From here on it is renewed in the background, if its person is about.
    pub(super) renew: Instant,
    /// From here on it is not used: a call takes time, and clocks differ.
    pub(super) stop: Instant,
}

impl Ends {
    /// For a token with so much life left. `chance`, in `0.0..1.0`, spreads people whose tokens began together.
    pub(super) fn of(now: Instant, left: Duration, chance: f64) -> Self {
        // Short lives keep their proportions.
        let lead = (LEAD + LEAD.mul_f64(chance.clamp(0.0, 1.0)))
            .min(left.mul_f64(0.25 + 0.25 * chance.clamp(0.0, 1.0)));
        let margin = MARGIN.min(left / 10);
        Self { renew: now + left.saturating_sub(lead), stop: now + left.saturating_sub(margin) }
    }
}

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

/// How long to wait after so many failures in a row.
pub(super) fn pause(failures: u32, chance: f64) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    most.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
}

const LEAD: Duration = Duration::from_secs(60);
const MARGIN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::clock::Clock;
    use crate::common::secret::Secret;
    use http::StatusCode;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_renewed_a_minute_or_two_ahead_and_not_used_at_its_very_end() {
        let now = Clock::manual().now();
        let hour = Duration::from_secs(3600);
        for (left, chance, renew, stop) in [
            (hour, 0.0, 3540, 3595),
            (hour, 1.0, 3480, 3595),
            (Duration::from_secs(100), 0.0, 75, 95),
            (Duration::from_secs(20), 1.0, 10, 18),
            (Duration::ZERO, 0.5, 0, 0),
        ] {
            let ends = Ends::of(now, left, chance);
            assert_eq!((ends.renew - now).as_secs(), renew, "{left:?}");
            assert_eq!((ends.stop - now).as_secs(), stop, "{left:?}");
        }
    }

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

    proptest! {
        #[test]
        fn every_pause_is_bounded(failures in 0u32.., chance in -1.0f64..2.0) {
            let pause = pause(failures, chance);
            prop_assert!(pause >= Duration::from_secs(1) && pause <= LONGEST_PAUSE);
        }

        #[test]
        fn a_token_is_renewed_before_it_is_not_used(left in 0u64..400_000_000, chance in 0.0f64..1.0) {
            let now = Clock::manual().now();
            let left = Duration::from_secs(left);
            let ends = Ends::of(now, left, chance);
            prop_assert!(now <= ends.renew && ends.renew <= ends.stop && ends.stop <= now + left);
        }
    }
}
