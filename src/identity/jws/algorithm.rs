//! The algorithms there are, and which key each takes.

use std::fmt;
use std::str::FromStr;

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};

/// How a token is signed (RFC 7518, section 3.1; RFC 8037, section 3.1). There is no `none` and no HMAC here, so that
/// no configuration and no token can ask for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// A name that is no algorithm we take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no algorithm that is taken: write RS256, RS384, RS512, PS256, ES256, ES384 or EdDSA")]
pub struct AlgorithmFault(String);

/// The public half of a signing key, in the form that verification takes.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::identity) enum Material {
    /// Modulus and exponent, big-endian, without zeros in front.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// An uncompressed point.
    P256(Vec<u8>),
    /// An uncompressed point.
    P384(Vec<u8>),
    /// The key as it is.
    Ed25519(Vec<u8>),
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// As in a token's head.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether a key is of the kind that this algorithm takes.
    pub(in crate::identity) fn takes(self, key: &Material) -> bool {
        matches!(
            (self, key),
            (Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256, Material::Rsa { .. })
                | (Self::Es256, Material::P256(_))
                | (Self::Es384, Material::P384(_))
                | (Self::EdDsa, Material::Ed25519(_))
        )
    }

    /// Whether the signature is this key's over these bytes. A key of the wrong kind has signed nothing.
    pub(in crate::identity) fn verifies(self, key: &Material, signed: &[u8], signature: &[u8]) -> bool {
        let rsa = |parameters: &'static RsaParameters| match key {
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            _ => false,
        };
        match (self, key) {
            (Self::Rs256, _) => rsa(&RSA_PKCS1_2048_8192_SHA256),
            (Self::Rs384, _) => rsa(&RSA_PKCS1_2048_8192_SHA384),
            (Self::Rs512, _) => rsa(&RSA_PKCS1_2048_8192_SHA512),
            (Self::Ps256, _) => rsa(&RSA_PSS_2048_8192_SHA256),
            // FIXED is the form of RFC 7518, section 3.4: two numbers side by side, and never DER.
            (Self::Es256, Material::P256(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
            }
            (Self::Es384, Material::P384(point)) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(signed, signature).is_ok()
            }
            (Self::EdDsa, Material::Ed25519(key)) => {
                UnparsedPublicKey::new(&ED25519, key).verify(signed, signature).is_ok()
            }
            _ => false,
        }
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmFault;
    fn from_str(text: &str) -> Result<Self, AlgorithmFault> {
        // Case counts (RFC 7515, section 4.1.1): "nOnE" and "rs256" are nothing.
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        known.ok_or_else(|| AlgorithmFault(text.chars().take(40).flat_map(char::escape_debug).collect()))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
