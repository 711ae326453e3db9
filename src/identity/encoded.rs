//! Bytes of a fixed length, written as base64url in JSON and in tokens.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// `N` bytes that show as base64url without padding (RFC 4648, section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Encoded<const N: usize>(pub [u8; N]);

/// A text that is not base64url of the right length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base64url of {0} bytes")]
pub struct EncodingFault(usize);

/// The system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct RandomFault;

impl<const N: usize> Encoded<N> {
    /// Fresh random bytes from the operating system.
    pub fn random() -> Result<Self, RandomFault> {
        let mut bytes = [0; N];
        SystemRandom::new().fill(&mut bytes).map_err(|_| RandomFault)?;
        Ok(Self(bytes))
    }

    /// From a slice of exactly this length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, EncodingFault> {
        bytes.try_into().map(Self).map_err(|_| EncodingFault(N))
    }
}

impl Encoded<32> {
    /// The SHA-256 of the parts, one after the other.
    pub fn sha256(parts: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        let mut bytes = [0; 32];
        // SHA-256 gives 32 bytes, whatever goes in.
        bytes.copy_from_slice(context.finish().as_ref());
        Self(bytes)
    }
}

impl<const N: usize> FromStr for Encoded<N> {
    type Err = EncodingFault;
    fn from_str(text: &str) -> Result<Self, EncodingFault> {
        // Four characters for three bytes: anything longer is not worth decoding.
        if text.len() > N.div_ceil(3) * 4 {
            return Err(EncodingFault(N));
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| EncodingFault(N))?;
        Self::from_slice(&bytes)
    }
}

impl<const N: usize> TryFrom<String> for Encoded<N> {
    type Error = EncodingFault;
    fn try_from(text: String) -> Result<Self, EncodingFault> {
        text.parse()
    }
}

impl<const N: usize> From<Encoded<N>> for String {
    fn from(encoded: Encoded<N>) -> Self {
        encoded.to_string()
    }
}

impl<const N: usize> fmt::Display for Encoded<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for Encoded<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_refuses_the_rest() {
        let bytes = Encoded::<32>::random().unwrap();
        assert_eq!(bytes.to_string().parse::<Encoded<32>>().unwrap(), bytes);
        for bad in ["", "AA", "AA==", "!!", &"A".repeat(44), &"A".repeat(9999)] {
            assert!(bad.parse::<Encoded<32>>().is_err(), "{bad}");
        }
        // The last character has two bits that carry nothing; only zeros are one spelling.
        assert!(format!("{}B", "A".repeat(42)).parse::<Encoded<32>>().is_err());
    }
}
