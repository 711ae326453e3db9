//! The enrolment token: the one line an operator hands to an administrator.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::encoded::{Encoded, RandomFault};
use super::keys::Fingerprint;
use crate::common::ids::SiteName;
use crate::common::secret::Secret;

/// How every token begins.
pub const PREFIX: &str = "oht_";

/// What the agent needs for its first contact: where, as whom, with what proof, and how to know the relay.
#[derive(Clone)]
pub struct EnrolmentToken {
    /// The relay's address, `wss://…`.
    pub url: String,
    /// Which site the agent will serve.
    pub site: SiteName,
    /// The SHA-256 of the relay's public key.
    pub relay: Fingerprint,
    /// What the relay will accept once, for an hour.
    pub secret: EnrolmentSecret,
}

/// The one-time secret in a token. The relay keeps only its hash.
#[derive(Clone)]
pub struct EnrolmentSecret(Secret<[u8; 32]>);

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It does not begin as it should.
    #[error(
        "this is no enrolment token: one begins with “oht_”; the operator gets it from `outhaul-relay site enrol SITE`"
    )]
    NotOne,
    /// It is cut off or changed.
    #[error("the enrolment token is damaged, perhaps cut off when it was pasted: copy the whole line again")]
    Damaged,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    u: String,
    s: SiteName,
    f: Fingerprint,
    k: Encoded<32>,
}

impl EnrolmentSecret {
    /// A fresh one.
    pub fn generate() -> Result<Self, RandomFault> {
        Encoded::<32>::random().map(Self::from_bytes)
    }

    pub(super) fn from_bytes(bytes: Encoded<32>) -> Self {
        Self(Secret::new(bytes.0))
    }

    pub(super) fn to_bytes(&self) -> Encoded<32> {
        Encoded(*self.0.expose())
    }

    /// What the relay stores and looks up. A plain hash is enough: the secret has 256 random bits.
    pub fn hash(&self) -> Encoded<32> {
        Encoded::sha256(&[b"outhaul enrolment secret v1", self.0.expose()])
    }
}

impl fmt::Debug for EnrolmentSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EnrolmentSecret(…)")
    }
}

impl EnrolmentToken {
    /// The token as text; whoever reads it can enrol an agent.
    pub fn to_secret_text(&self) -> Secret<String> {
        let wire =
            Wire { u: self.url.clone(), s: self.site.clone(), f: self.relay, k: self.secret.to_bytes() };
        let json = serde_json::to_vec(&wire).unwrap_or_default();
        Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json)))
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenFault;

    /// Reads a token; white space around and inside it (a line wrapped by a mail program) does not matter.
    fn from_str(text: &str) -> Result<Self, TokenFault> {
        if text.len() > MAX_LENGTH {
            return Err(TokenFault::NotOne);
        }
        let text: String = text.split_whitespace().collect();
        let encoded = text.strip_prefix(PREFIX).ok_or(TokenFault::NotOne)?;
        let json = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenFault::Damaged)?;
        let wire: Wire = serde_json::from_slice(&json).map_err(|_| TokenFault::Damaged)?;
        Ok(Self { url: wire.u, site: wire.s, relay: wire.f, secret: EnrolmentSecret::from_bytes(wire.k) })
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EnrolmentToken({}, {})", self.url, self.site)
    }
}

/// No token is longer.
const MAX_LENGTH: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> EnrolmentToken {
        EnrolmentToken {
            url: "wss://relay.example.com".to_owned(),
            site: "acme".parse().unwrap(),
            relay: Encoded([7; 32]),
            secret: EnrolmentSecret::from_bytes(Encoded([9; 32])),
        }
    }

    #[test]
    fn reads_back_even_when_wrapped() {
        let text = token().to_secret_text();
        let wrapped = format!("  {}\n   {}\n", &text.expose()[..50], &text.expose()[50..]);
        for text in [text.expose(), &wrapped] {
            let read: EnrolmentToken = text.parse().unwrap();
            assert_eq!((read.url.as_str(), read.site.as_str()), ("wss://relay.example.com", "acme"));
            assert_eq!(read.relay, token().relay);
            assert_eq!(read.secret.hash(), token().secret.hash());
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let text = token().to_secret_text();
        let cut = &text.expose()[..text.expose().len() - 5];
        assert_eq!(cut.parse::<EnrolmentToken>().unwrap_err(), TokenFault::Damaged);
        for other in ["", "ohk_abc", "hello", &"x".repeat(10_000)] {
            assert_eq!(other.parse::<EnrolmentToken>().unwrap_err(), TokenFault::NotOne, "{other}");
        }
        assert!(!format!("{:?}", token()).contains("CQkJ"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = text.parse::<EnrolmentToken>();
            let _ = format!("oht_{text}").parse::<EnrolmentToken>();
        }
    }
}
