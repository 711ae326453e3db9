//! Proof Key for Code Exchange, method S256 (RFC 7636, sections 4.1 and 4.2).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::common::secret::Secret;
use crate::identity::encoded::{Encoded, RandomFault};

/// The secret that shows, with the code, who asked for it. 43 characters, made of 32 random bytes.
#[derive(Clone)]
pub struct Verifier(Secret<String>);

/// What of the verifier may be shown to a browser: its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge(Encoded<32>);

impl Verifier {
    /// A fresh one; good for one authorization.
    pub fn generate() -> Result<Self, RandomFault> {
        let bytes = Secret::new(Encoded::<32>::random()?.0);
        Ok(Self(Secret::new(URL_SAFE_NO_PAD.encode(bytes.expose()))))
    }

    /// One that was kept; `None` if it can't be one.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        ((43..=128).contains(&text.len()) && text.bytes().all(plain))
            .then(|| Self(Secret::new(text.to_owned())))
    }

    /// The characters themselves: for the token request, and to be kept until then.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// What goes into the authorization request.
    pub fn challenge(&self) -> Challenge {
        Challenge(Encoded::sha256(&[self.0.expose().as_bytes()]))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Verifier(…)")
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_the_one_of_the_rfc() {
        // RFC 7636, appendix B.
        let verifier = Verifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        assert_eq!(verifier.challenge().to_string(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn each_is_fresh_long_enough_and_not_shown() {
        let (one, other) = (Verifier::generate().unwrap(), Verifier::generate().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), 43);
        assert_eq!(Verifier::parse(one.expose()).unwrap().challenge(), one.challenge());
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    #[test]
    fn what_is_no_verifier_is_not_taken() {
        for text in ["", "short", &"a".repeat(42), &"a".repeat(129), &format!("{}ü", "a".repeat(50))] {
            assert!(Verifier::parse(text).is_none(), "{text}");
        }
    }
}
