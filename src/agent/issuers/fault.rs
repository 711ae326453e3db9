//! Why a token does not say who calls.

use std::time::Duration;

use crate::common::ids::IssuerName;
use crate::common::problem::{Code, Problem};
use crate::identity::claims::ClaimFault;
use crate::identity::jws::TokenFault;

/// Why a token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerFault {
    /// It is none, or is signed by nobody whom its issuer knows.
    #[error("{0}")]
    Token(#[from] TokenFault),
    /// It is not for us, or not good now.
    #[error("{0}")]
    Claims(#[from] ClaimFault),
    /// Nobody's whose tokens are taken here.
    #[error("its issuer (iss) is none whose tokens this site takes")]
    Issuer,
    /// Its key may be a new one, but the issuer was asked only now.
    #[error("the issuer has no key of the name it gives (kid), and was asked for its keys only now")]
    KeyUnknown {
        /// Until it may be asked again.
        wait: Duration,
    },
    /// It names no program that may call.
    #[error("it names no caller of this site: no entry of `callers` in [issuer.{0}] fits it")]
    Caller(IssuerName),
    /// It should name a person and does not.
    #[error("its claim “{0}” names no person")]
    Person(String),
    /// The issuer's keys are not known now.
    #[error("the keys of the issuer {issuer} can't be had now")]
    Unavailable {
        /// Which.
        issuer: IssuerName,
    },
}

impl IssuerFault {
    /// The refusal that the caller sees.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Unavailable { .. } => Problem::new(
                Code::IssuerUnavailable,
                format!(
                    "The token can't be checked: {self}. Send the call again; on the site, `outhaul-agent status` \
                     says what is wrong with the issuer."
                ),
            )
            .with_retry_after(5),
            Self::KeyUnknown { wait } => {
                let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                self.invalid().with_retry_after(seconds)
            }
            _ => self.invalid(),
        }
    }

    fn invalid(&self) -> Problem {
        let what = format!(
            "This token does not say who calls: {self}. Get a new one from your issuer for this site."
        );
        Problem::new(Code::TokenInvalid, what)
    }
}
