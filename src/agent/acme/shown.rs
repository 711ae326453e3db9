//! What is shown in TLS handshakes: the certificate of a name; and, to an authority that asks whose a name is, the
//! answer to tls-alpn-01 (RFC 8737), while an order for that name is under way and at no other time.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::sign::CertifiedKey;

use crate::common::secret::Secret;
use crate::net::tls::by_name::CertificateSource;
use crate::net::tls::{certified_as_it_is, certified_chain};

type Names = ArcSwap<HashMap<String, Arc<CertifiedKey>>>;

/// Certificates by name, in lower case. Changing one touches only handshakes that come later.
#[derive(Default)]
pub struct Shown {
    certificates: Names,
    challenges: Names,
}

/// As long as it lives, the challenge for its name is answered.
#[must_use]
pub(super) struct Offer {
    shown: Arc<Shown>,
    name: String,
}

impl Shown {
    /// Shows this chain for `name` from now on.
    pub(super) fn set(&self, name: &str, pem: &str, key: &Secret<Vec<u8>>) -> Result<(), String> {
        put(&self.certificates, name, certified_chain(pem, key)?);
        Ok(())
    }

    /// Answers an authority that asks for `name` with this digest of the key authorization (RFC 8737 section 3).
    pub(super) fn offer(self: &Arc<Self>, name: &str, digest: &[u8]) -> Result<Offer, String> {
        put(&self.challenges, name, answer(name, digest)?);
        Ok(Offer { shown: self.clone(), name: name.to_owned() })
    }
}

impl CertificateSource for Shown {
    fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.certificates.load().get(name).cloned()
    }

    fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.challenges.load().get(name).cloned()
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.shown.challenges.rcu(|names| {
            let mut names = HashMap::clone(names);
            names.remove(&self.name);
            names
        });
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (certificates, challenges) = (self.certificates.load(), self.challenges.load());
        write!(formatter, "Shown({:?}, under way {:?})", certificates.keys(), challenges.keys())
    }
}

fn put(names: &Names, name: &str, certified: CertifiedKey) {
    let certified = Arc::new(certified);
    names.rcu(|names| {
        let mut names = HashMap::clone(names);
        names.insert(name.to_owned(), certified.clone());
        names
    });
}

/// A certificate with the digest in a critical extension (acmeIdentifier): nobody but an authority takes it for one.
fn answer(name: &str, digest: &[u8]) -> Result<CertifiedKey, String> {
    // The library panics on another length.
    if digest.len() != 32 {
        return Err("the digest of a key authorization has 32 bytes".to_owned());
    }
    let fault = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(fault)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(fault)?;
    let certificate = params.self_signed(&key).map_err(fault)?;
    certified_as_it_is(certificate.der().clone(), &Secret::new(key.serialize_der()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_for_its_name_and_as_long_as_its_order() {
        let shown = Arc::new(Shown::default());
        assert!(shown.challenge("jira.example.com").is_none());
        let offer = shown.offer("jira.example.com", &[7; 32]).unwrap();
        assert!(shown.challenge("other.example.com").is_none());
        assert!(shown.certificate("jira.example.com").is_none(), "it is no certificate for callers");
        let certified = shown.challenge("jira.example.com").unwrap();
        // id-pe-acmeIdentifier, critical, an octet string in an octet string (RFC 8737 section 3).
        let extension =
            [&[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xff, 4, 34, 4, 32][..], &[7; 32]].concat();
        let der = &certified.cert[0];
        assert!(der.windows(extension.len()).any(|window| window == extension), "{der:02x?}");
        drop(offer);
        assert!(shown.challenge("jira.example.com").is_none());
        assert!(shown.offer("jira.example.com", &[7; 31]).is_err());
    }

    #[test]
    fn a_certificate_is_shown_with_its_own_key_only() {
        let shown = Shown::default();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["jira.example.com".to_owned()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let other = Secret::new(KeyPair::generate().unwrap().serialize_der());
        assert!(shown.set("jira.example.com", &pem, &other).is_err());
        assert!(shown.set("jira.example.com", "rubbish", &other).is_err());
        shown.set("jira.example.com", &pem, &Secret::new(key.serialize_der())).unwrap();
        assert!(shown.certificate("jira.example.com").is_some());
        assert!(shown.certificate("other.example.com").is_none());
        assert!(!format!("{shown:?}").contains("Private"));
    }
}
