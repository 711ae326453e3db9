//! A certificate and its key: what it says, whether it is the one that was ordered, and the pin of its key.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData as _};
use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::common::secret::Secret;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    /// Who issued it.
    pub issuer: String,
    /// Its names.
    pub names: Vec<String>,
    /// Its number, in hexadecimal digits.
    pub serial: String,
    /// Valid from, in seconds since 1970.
    pub begins: u64,
    /// Valid until, in seconds since 1970.
    pub ends: u64,
    /// The pin of its key.
    pub pin: String,
    /// 0 to 1, of its own bytes.
    pub spread: f64,
}

impl Leaf {
    /// Reads the first certificate of a chain in PEM.
    pub(super) fn parse(pem: &str) -> Result<Self, String> {
        let der = CertificateDer::pem_slice_iter(pem.as_bytes())
            .next()
            .ok_or("it holds no certificate")?
            .map_err(|error| format!("it is damaged PEM: {error}"))?;
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|error| format!("it can't be read: {error}"))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| format!("its names can't be read: {error}"))?
            .map(|names| {
                let dns = names.value.general_names.iter().filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                    _ => None,
                });
                dns.collect()
            })
            .unwrap_or_default();
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let validity = certificate.validity();
        let print = digest(&SHA256, &der);
        let first = print.as_ref().iter().take(4).fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
        Ok(Self {
            issuer: printable(&certificate.issuer().to_string()),
            names,
            serial: certificate.raw_serial_as_string().replace(':', ""),
            begins: seconds(validity.not_before),
            ends: seconds(validity.not_after),
            pin: pin(certificate.public_key().raw),
            spread: f64::from(first) / f64::from(u32::MAX),
        })
    }

    /// Whether this is what was ordered: for the name, with the key, and valid now.
    pub(super) fn check(&self, name: &str, pin: &str, now: u64) -> Result<(), String> {
        if !self.names.iter().any(|one| one == name) {
            return Err(format!("it is not for {name}"));
        }
        if self.pin != pin {
            return Err("it is for another key".to_owned());
        }
        if self.ends <= now {
            return Err("it has ended already; is this machine's clock right?".to_owned());
        }
        Ok(())
    }
}

/// A new key for a certificate: ECDSA on P-256, PKCS #8.
pub(super) fn generate_key() -> Result<Secret<Vec<u8>>, String> {
    KeyPair::generate().map(|key| Secret::new(key.serialize_der())).map_err(|error| error.to_string())
}

/// The pin of a key: SHA-256 of its public half (SubjectPublicKeyInfo), as curl's `--pinnedpubkey` takes it.
pub(super) fn pin_of_key(key: &Secret<Vec<u8>>) -> Result<String, String> {
    Ok(pin(&key_pair(key)?.subject_public_key_info()))
}

/// The request for a certificate (RFC 2986), in DER.
pub(super) fn request(name: &str, key: &Secret<Vec<u8>>) -> Result<Vec<u8>, String> {
    let fault = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(fault)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key_pair(key)?).map_err(fault)?;
    Ok(request.der().to_vec())
}

fn key_pair(key: &Secret<Vec<u8>>) -> Result<KeyPair, String> {
    let der = PrivatePkcs8KeyDer::from(key.expose().as_slice());
    KeyPair::try_from(&der).map_err(|error| format!("the certificate's key can't be read: {error}"))
}

fn pin(public: &[u8]) -> String {
    format!("sha256//{}", BASE64_STANDARD.encode(digest(&SHA256, public)))
}

/// An authority's own words, safe to print.
pub(super) fn printable(text: &str) -> String {
    let safe = text.chars().take(MAX_TEXT).map(|one| if one.is_control() { '\u{fffd}' } else { one });
    safe.collect()
}

const MAX_TEXT: usize = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ordered_is_told_from_what_was_not() {
        let key = generate_key().unwrap();
        let pin = pin_of_key(&key).unwrap();
        let params = CertificateParams::new(vec!["jira.example.com".to_owned()]).unwrap();
        let pem = params.self_signed(&key_pair(&key).unwrap()).unwrap().pem();
        let leaf = Leaf::parse(&pem).unwrap();
        assert_eq!(leaf.names, ["jira.example.com"]);
        assert!(leaf.pin == pin && pin.starts_with("sha256//") && pin.len() == 8 + 44, "{pin}");
        assert!((0.0..=1.0).contains(&leaf.spread));
        assert_eq!(leaf.check("jira.example.com", &pin, leaf.begins), Ok(()));
        let faults = [
            leaf.check("other.example.com", &pin, leaf.begins),
            leaf.check("jira.example.com", &pin_of_key(&generate_key().unwrap()).unwrap(), leaf.begins),
            leaf.check("jira.example.com", &pin, leaf.ends),
        ];
        assert!(faults.iter().all(Result::is_err), "{faults:?}");
        for damaged in ["", "rubbish", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Leaf::parse(damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn a_request_is_for_the_name_and_the_key() {
        use x509_parser::certification_request::X509CertificationRequest;
        let key = generate_key().unwrap();
        let der = request("jira.example.com", &key).unwrap();
        let (_, read) = X509CertificationRequest::from_der(&der).unwrap();
        assert_eq!(pin(read.certification_request_info.subject_pki.raw), pin_of_key(&key).unwrap());
        assert!(der.windows(16).any(|window| window == b"jira.example.com"));
        assert!(request("jira.example.com", &Secret::new(vec![1, 2])).is_err());
    }

    #[test]
    fn words_of_others_are_made_safe() {
        assert_eq!(printable("a\u{1b}[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!(printable(&"x".repeat(9000)).len(), MAX_TEXT);
    }
}
