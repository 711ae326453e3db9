//! A DNS host name as certificates and TLS's server name indication have it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A host name of at least two labels, in lower case, without a trailing dot (RFC 1123, section 2.1). Names in other
/// scripts are written in their ASCII form, `xn--…` (RFC 5890).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// A text that is no host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no host name: write one in lower case without scheme and port, as in \"jira.example.com\"")]
pub struct HostNameFault(String);

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this domain or lies below it.
    pub fn is_within(&self, domain: &str) -> bool {
        self.0.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Whether a certificate's name covers it: the same name, or a wildcard for its first label (RFC 6125,
    /// section 6.4.3).
    pub fn is_covered_by(&self, pattern: &str) -> bool {
        match pattern.strip_prefix("*.") {
            Some(domain) => {
                self.0.split_once('.').is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(domain))
            }
            None => self.0.eq_ignore_ascii_case(pattern),
        }
    }
}

/// Whether it is one part of a domain name, in lower case (RFC 1035, section 2.3.1, and RFC 1123, section 2.1).
pub fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl FromStr for HostName {
    type Err = HostNameFault;
    fn from_str(text: &str) -> Result<Self, HostNameFault> {
        let is_address = text.parse::<IpAddr>().is_ok();
        if text.len() <= 253 && text.contains('.') && !is_address && text.split('.').all(is_label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(HostNameFault(text.chars().filter(|letter| !letter.is_control()).take(80).collect()))
        }
    }
}

impl std::borrow::Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl serde::Serialize for HostName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_domains_of_two_labels_at_least() {
        for good in ["jira.example.com", "a.b", "xn--bcher-kva.example", "1.2.3.4.in-addr.arpa"] {
            assert_eq!(good.parse::<HostName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "jira",
            "a..b",
            ".a.b",
            "a.b.",
            "A.b",
            "a_b.c",
            "a.b:443",
            "https://a.b",
            "*.a.b",
            "192.0.2.1",
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
        assert!(format!("{}.b", "a".repeat(64)).parse::<HostName>().is_err());
        assert!(format!("{}b", "a.".repeat(127)).parse::<HostName>().is_err());
    }

    #[test]
    fn domains_and_wildcards_cover_whole_labels_only() {
        let name: HostName = "jira.acme.example".parse().unwrap();
        for (domain, within) in
            [("acme.example", true), ("jira.acme.example", true), ("cme.example", false), ("example", true)]
        {
            assert_eq!(name.is_within(domain), within, "{domain}");
        }
        for (pattern, covered) in [
            ("jira.acme.example", true),
            ("JIRA.acme.example", true),
            ("*.acme.example", true),
            ("*.example", false),
            ("*.jira.acme.example", false),
            ("acme.example", false),
        ] {
            assert_eq!(name.is_covered_by(pattern), covered, "{pattern}");
        }
    }
}
