//! What the configuration says of an issuer.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;

use crate::agent::egress::Way;
use crate::common::ids::{CallerName, IssuerName, Provider};
use crate::identity::claims::{Condition, Expected};
use crate::identity::jws::Algorithm;

/// `[issuer.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What it is called here.
    pub name: IssuerName,
    /// `issuer`, `audience`, `clock-skew`, `require`: what its tokens must say.
    pub expected: Expected,
    /// `algorithms`: by which its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// `key-set` or `discovery`.
    pub keys: KeysAt,
    /// `callers`: the first that fits says who calls.
    pub callers: Vec<Caller>,
    /// `person`.
    pub person: Option<Person>,
    /// `egress`: how it is reached, where not as `[egress]` says.
    pub egress: Option<Way>,
    /// `ca-file`: further authorities to trust for its certificate.
    pub ca_file: Option<PathBuf>,
    /// How long its keys are kept.
    pub limits: Limits,
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysAt {
    /// The key set itself (RFC 7517).
    Set(HttpsUrl),
    /// A document that says where it is (OpenID Connect Discovery 1.0, section 4).
    Discovery(HttpsUrl),
}

/// A token with this claim is this caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `claim`.
    pub claim: String,
    /// `value`, letter by letter.
    pub value: String,
    /// `caller`.
    pub caller: CallerName,
}

/// A token with this claim is for this person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// `claim`: the subject.
    pub claim: String,
    /// `provider`: whose name it is.
    pub provider: Provider,
    /// `if`: the claim names a person only in tokens that say this too.
    pub conditions: Vec<Condition>,
}

/// How long keys are kept, and how often they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `min-age`: not asked for again before, whatever the issuer says.
    pub min_age: Duration,
    /// `max-age`: asked for again after, whatever the issuer says.
    pub max_age: Duration,
    /// `max-stale`: so long they serve beyond their age while the issuer can't be reached.
    pub max_stale: Duration,
    /// `refetch-after`: tokens with an unknown key have them asked for no sooner than so long after the last time.
    pub refetch_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            min_age: 5 * minute,
            max_age: 24 * 60 * minute,
            max_stale: 24 * 60 * minute,
            refetch_after: minute,
        }
    }
}

/// An address in TLS, with any path and query.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpsUrl(Uri);

/// A text that is no such address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpsUrlFault {
    /// Another scheme, or none.
    #[error(
        "the address must begin with https://, because whoever could change these keys could call as anybody"
    )]
    Scheme,
    /// A password in it.
    #[error("an address must hold no user name or password")]
    Credentials,
    /// Something else.
    #[error("this can't be an address: write https://host/path")]
    Shape,
}

impl HttpsUrl {
    /// In the clear on this machine, which no file can say.
    #[cfg(test)]
    pub(super) fn on_loopback(text: &str) -> Self {
        Self(text.parse().unwrap_or_default())
    }

    /// For the request.
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for HttpsUrl {
    type Err = HttpsUrlFault;
    fn from_str(text: &str) -> Result<Self, HttpsUrlFault> {
        if text.len() > MAX_URL || text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HttpsUrlFault::Shape);
        }
        let uri: Uri = text.parse().map_err(|_| HttpsUrlFault::Shape)?;
        if uri.scheme_str() != Some("https") {
            return Err(HttpsUrlFault::Scheme);
        }
        let authority = uri.authority().ok_or(HttpsUrlFault::Shape)?;
        if authority.as_str().contains('@') {
            return Err(HttpsUrlFault::Credentials);
        }
        if authority.host().is_empty() {
            return Err(HttpsUrlFault::Shape);
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for HttpsUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

const MAX_URL: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_tls_and_holds_no_password() {
        for good in [
            "https://login.example/common/discovery/v2.0/keys",
            "https://[::1]:8443/keys",
            "https://b2c.example/keys?p=b2c_1_policy",
        ] {
            assert_eq!(good.parse::<HttpsUrl>().unwrap().to_string(), good);
        }
        for (bad, fault) in [
            ("http://login.example/keys", HttpsUrlFault::Scheme),
            ("login.example/keys", HttpsUrlFault::Shape),
            ("/keys", HttpsUrlFault::Scheme),
            ("file:///etc/keys", HttpsUrlFault::Shape),
            ("https://a:b@login.example/", HttpsUrlFault::Credentials),
            ("https://login.example/#x", HttpsUrlFault::Shape),
            ("https://login.example/ x", HttpsUrlFault::Shape),
            ("https://", HttpsUrlFault::Shape),
            ("", HttpsUrlFault::Shape),
        ] {
            assert_eq!(bad.parse::<HttpsUrl>(), Err(fault), "{bad}");
        }
    }
}
