//! Signed tokens in their compact form (RFC 7515, section 7.1): read, then verified with a key of a known set.
//!
//! [`Token::read`] takes a text apart; nothing of it is believed yet but that it may say whose it claims to be, so
//! that the right key set can be asked. [`Token::verify`] gives the claims, and is the only way to them. What may sign
//! is pinned by the configuration: the token's own word for its algorithm only chooses among those. Keys that a token
//! brings along or points at (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.

mod algorithm;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::jwks::{KeySet, Missing};
use crate::common::strict_json;
pub(in crate::identity) use algorithm::Material;
pub use algorithm::{Algorithm, AlgorithmFault};

/// A token that was read, and not believed.
#[derive(Debug, Clone)]
pub struct Token<'t> {
    /// What the signature is over.
    signed: &'t str,
    algorithm: Algorithm,
    key: Option<String>,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

/// The claims of a token whose signature is right. Whether they are for us, and still good, is another question:
/// see [`claims`](super::claims).
#[derive(Debug, Clone, PartialEq)]
pub struct Verified(Map<String, Value>);

/// Why a token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Too large.
    #[error("it is larger than {} KB", MAX_TOKEN >> 10)]
    Size,
    /// Not the compact form.
    #[error("it is not three parts of base64url with dots between")]
    Shape,
    /// Its head or its claims are no JSON object, or one with two readings.
    #[error("its {part} can't be read: {why}")]
    Json {
        /// Which part.
        part: &'static str,
        /// Why.
        why: String,
    },
    /// Its head lacks something or has it in a form that is none.
    #[error("{0}")]
    Head(&'static str),
    /// Its algorithm is none that we know, or none that its issuer may use.
    #[error("the algorithm {0} is not taken")]
    Algorithm(String),
    /// It must be understood in a way that we don't.
    #[error("its head says crit, and nothing that could stand there is known here")]
    Critical,
    /// It is a signed object of another kind, and no proof of who calls.
    #[error("its type is {0}: only JWT and at+jwt are taken")]
    Type(String),
    /// No key of the set has this name.
    #[error("the issuer has no key of the name it gives (kid)")]
    KeyUnknown,
    /// The key is there, and is for something else.
    #[error("the issuer's key of that name is not for the algorithm that it gives")]
    KeyUnfit,
    /// It names no key, and several could be meant.
    #[error("it names no key (kid), and the issuer has several")]
    KeyUnnamed,
    /// The signature is not the key's.
    #[error("its signature is not the issuer's")]
    Signature,
}

impl<'t> Token<'t> {
    /// Whether a text looks like one: three parts with dots between.
    pub fn looks_like(text: &str) -> bool {
        text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Takes a text apart.
    pub fn read(text: &'t str) -> Result<Self, TokenFault> {
        if text.len() > MAX_TOKEN {
            return Err(TokenFault::Size);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenFault::Shape)?;
        let (head, claims) = signed.split_once('.').ok_or(TokenFault::Shape)?;
        // A dot more would stand in the claims, and is no base64url. Bits that carry nothing must be zero, so that
        // there is one spelling of each part.
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Shape);
        let (head, claims, signature) = (bytes(head)?, bytes(claims)?, bytes(signature)?);
        let head = object("head", &head)?;
        let (algorithm, key) = read_head(&head)?;
        let claims = object("claims", &claims)?;
        Ok(Self { signed, algorithm, key, claims, signature })
    }

    /// Who the token says has issued it. Not proved: good for nothing but to choose whose keys to try.
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// The claims, if a key of the set has signed them by one of these algorithms.
    pub fn verify(self, keys: &KeySet, allowed: &[Algorithm]) -> Result<Verified, TokenFault> {
        if !allowed.contains(&self.algorithm) {
            return Err(TokenFault::Algorithm(self.algorithm.to_string()));
        }
        let candidates = keys.candidates(self.key.as_deref(), self.algorithm);
        let candidates = candidates.map_err(|missing| match missing {
            Missing::Unknown => TokenFault::KeyUnknown,
            Missing::Unfit => TokenFault::KeyUnfit,
            Missing::Unnamed => TokenFault::KeyUnnamed,
        })?;
        let signed = self.signed.as_bytes();
        let mut any = candidates.into_iter();
        if any.any(|key| self.algorithm.verifies(key, signed, &self.signature)) {
            return Ok(Verified(self.claims));
        }
        Err(TokenFault::Signature)
    }
}

impl Verified {
    /// A claim by its name.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claim(name).and_then(Value::as_str)
    }

    /// As if it had been verified.
    #[cfg(test)]
    pub fn for_tests(claims: Value) -> Self {
        match claims {
            Value::Object(claims) => Self(claims),
            _ => Self(Map::new()),
        }
    }
}

fn object(part: &'static str, bytes: &[u8]) -> Result<Map<String, Value>, TokenFault> {
    match strict_json::read(bytes, MAX_DEPTH) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(TokenFault::Json { part, why: "it is no JSON object".to_owned() }),
        Err(error) => Err(TokenFault::Json { part, why: error.to_string().chars().take(200).collect() }),
    }
}

fn read_head(head: &Map<String, Value>) -> Result<(Algorithm, Option<String>), TokenFault> {
    if head.contains_key("crit") || head.contains_key("b64") {
        return Err(TokenFault::Critical);
    }
    let name = match head.get("alg") {
        Some(Value::String(name)) => name,
        Some(_) => return Err(TokenFault::Head("the algorithm in its head is no text")),
        None => return Err(TokenFault::Head("its head names no algorithm")),
    };
    let shown = |text: &str| text.chars().take(40).flat_map(char::escape_debug).collect::<String>();
    let algorithm = name.parse().map_err(|_| TokenFault::Algorithm(format!("“{}”", shown(name))))?;
    match head.get("typ") {
        None => {}
        Some(Value::String(kind)) if is_caller_token(kind) => {}
        // RFC 8725, section 3.11: what was signed for another purpose (a logout, an event) must not serve for this.
        Some(Value::String(kind)) => return Err(TokenFault::Type(format!("“{}”", shown(kind)))),
        Some(_) => return Err(TokenFault::Head("the type in its head is no text")),
    }
    match head.get("kid") {
        None => Ok((algorithm, None)),
        Some(Value::String(key)) if key.len() <= MAX_KEY_NAME => Ok((algorithm, Some(key.clone()))),
        Some(_) => Err(TokenFault::Head("the name of a key in its head (kid) is no text, or too long")),
    }
}

/// A JWT (RFC 7519, section 5.1) or an access token in that form (RFC 9068, section 2.1).
fn is_caller_token(kind: &str) -> bool {
    let kind = match kind.get(..APPLICATION.len()) {
        Some(prefix) if prefix.eq_ignore_ascii_case(APPLICATION) => {
            kind.get(APPLICATION.len()..).unwrap_or_default()
        }
        _ => kind,
    };
    kind.eq_ignore_ascii_case("jwt") || kind.eq_ignore_ascii_case("at+jwt")
}

/// No token is larger, in bytes.
pub const MAX_TOKEN: usize = 8 << 10;
/// No key has a longer name.
pub(in crate::identity) const MAX_KEY_NAME: usize = 256;
const APPLICATION: &str = "application/";
/// Head and claims are nested no deeper.
const MAX_DEPTH: usize = 16;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors_tests;
