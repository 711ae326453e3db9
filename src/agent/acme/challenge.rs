//! The answer to tls-alpn-01 (RFC 8737): a certificate that only this account can have made, shown for the name of an
//! order, while that order is under way, to who offers exactly that protocol. Nothing else is ever answered so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;

use crate::common::secret::Secret;
use crate::net::tls::{ACME_TLS, acme_server_config};

/// The names that orders are under way for. Clones are the same.
#[derive(Clone, Default)]
pub struct Challenges(Arc<Mutex<HashMap<String, Arc<ServerConfig>>>>);

/// As long as it lives, the challenge for its name is answered.
#[must_use]
pub struct Offer {
    challenges: Challenges,
    name: String,
}

/// What a client that said hello is answered with.
pub enum Hello {
    /// It is no authority: the ordinary certificate.
    Ordinary,
    /// An authority, for an order under way: end TLS with this, then close.
    Challenge(Arc<ServerConfig>),
    /// It offers the authorities' protocol where nobody asked for it: refuse.
    Refuse,
}

impl Challenges {
    /// Answers for `name` with this digest of the key authorization (RFC 8737 section 3).
    pub fn offer(&self, name: &str, digest: &[u8]) -> Result<Offer, String> {
        let name = name.to_ascii_lowercase();
        let config = server(&name, digest)?;
        self.lock().insert(name.clone(), config);
        Ok(Offer { challenges: self.clone(), name })
    }

    /// Judges a hello by the name it asks for and the protocols it offers.
    pub fn judge<'p>(&self, name: Option<&str>, protocols: impl Iterator<Item = &'p [u8]>) -> Hello {
        let protocols: Vec<&[u8]> = protocols.take(MAX_PROTOCOLS).collect();
        if !protocols.contains(&ACME_TLS) {
            return Hello::Ordinary;
        }
        // An authority offers this one alone (RFC 8737 section 4).
        let config = (protocols.len() == 1)
            .then(|| name.and_then(|name| self.lock().get(&name.to_ascii_lowercase()).cloned()))
            .flatten();
        config.map_or(Hello::Refuse, Hello::Challenge)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<ServerConfig>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.challenges.lock().remove(&self.name);
    }
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Challenges({:?})", self.lock().keys())
    }
}

fn server(name: &str, digest: &[u8]) -> Result<Arc<ServerConfig>, String> {
    if digest.len() != 32 {
        return Err("the digest of a key authorization has 32 bytes".to_owned());
    }
    let fault = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(fault)?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(fault)?;
    let certificate = params.self_signed(&key).map_err(fault)?;
    acme_server_config(certificate.der().clone(), &Secret::new(key.serialize_der()))
}

/// Who offers more than this many is no authority.
const MAX_PROTOCOLS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(challenges: &Challenges, name: Option<&str>, protocols: &[&[u8]]) -> &'static str {
        match challenges.judge(name, protocols.iter().copied()) {
            Hello::Ordinary => "ordinary",
            Hello::Challenge(config) => {
                assert_eq!(config.alpn_protocols, [ACME_TLS.to_vec()]);
                "challenge"
            }
            Hello::Refuse => "refuse",
        }
    }

    #[test]
    fn only_for_the_name_of_an_order_and_only_while_it_is_under_way() {
        let challenges = Challenges::default();
        let (acme, http): (&[u8], &[u8]) = (ACME_TLS, b"http/1.1");
        let name = Some("jira.example.com");
        assert_eq!(judged(&challenges, name, &[acme]), "refuse");
        let offer = challenges.offer("Jira.example.com", &[7; 32]).unwrap();
        let cases: [(Option<&str>, &[&[u8]], &str); 8] = [
            (name, &[acme], "challenge"),
            (Some("JIRA.example.com"), &[acme], "challenge"),
            (Some("other.example.com"), &[acme], "refuse"),
            (None, &[acme], "refuse"),
            (name, &[acme, http], "refuse"),
            (name, &[http, acme], "refuse"),
            (name, &[http], "ordinary"),
            (name, &[], "ordinary"),
        ];
        for (asked, protocols, expected) in cases {
            assert_eq!(judged(&challenges, asked, protocols), expected, "{asked:?} {protocols:?}");
        }
        drop(offer);
        assert_eq!(judged(&challenges, name, &[acme]), "refuse");
        assert!(challenges.offer("jira.example.com", &[7; 31]).is_err());
    }
}
