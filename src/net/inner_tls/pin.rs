//! Whom an end of the inner TLS session takes for its peer: the holder of one Ed25519 key, shown raw (RFC 7250).

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureAlgorithm,
    SignatureScheme,
};

/// A key pair of this end.
pub trait Identity: Send + Sync {
    /// The public half.
    fn public(&self) -> [u8; 32];
    /// Signs.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// What is known of the peer's key beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKey {
    /// The key.
    Key([u8; 32]),
    /// Its SHA-256.
    Fingerprint([u8; 32]),
}

impl PeerKey {
    fn fits(&self, shown: &[u8; 32]) -> bool {
        // Nothing here is secret: an ordinary comparison does.
        match self {
            Self::Key(key) => key == shown,
            Self::Fingerprint(fingerprint) => digest(&SHA256, shown).as_ref() == fingerprint,
        }
    }

    pub(super) fn check(&self, shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        let key = raw_key(shown).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if more.is_empty() && self.fits(&key) {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }
}

/// The key in a SubjectPublicKeyInfo (RFC 8410, section 4): its only encoding, byte for byte.
pub(super) fn raw_key(info: &[u8]) -> Option<[u8; 32]> {
    info.strip_prefix(INFO_PREFIX)?.try_into().ok()
}

pub(super) fn public_key_info(key: [u8; 32]) -> Vec<u8> {
    [INFO_PREFIX, key.as_slice()].concat()
}

/// SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING }, up to the key's 32 bytes.
const INFO_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Judges the peer, at either end.
#[derive(Debug)]
pub(super) struct Pinned(pub(super) PeerKey);

impl Pinned {
    /// That the peer holds the key it shows. The key has been compared with the pin by then.
    fn signature(
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(PeerIncompatible::NoSignatureSchemesInCommon.into());
        }
        let info = SubjectPublicKeyInfoDer::from(shown.as_ref());
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &info, signed, &algorithms)
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.check(shown, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.check(shown, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// This end's key as rustls takes it.
struct Own(Arc<dyn Identity>);

/// What this end shows: its raw key.
pub(super) fn shown(identity: Arc<dyn Identity>) -> Arc<CertifiedKey> {
    let info = public_key_info(identity.public());
    Arc::new(CertifiedKey::new(vec![CertificateDer::from(info)], Arc::new(Own(identity))))
}

impl std::fmt::Debug for Own {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Own(…)")
    }
}

impl SigningKey for Own {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let offered = offered.contains(&SignatureScheme::ED25519);
        offered.then(|| Box::new(Self(Arc::clone(&self.0))) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(public_key_info(self.0.public()).into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl Signer for Own {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}
