//! Names and numbers by which the parts know each other.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A name that is no name: what it may hold, for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "“{given}” is no {what}: use 1 to {max} characters a-z, 0-9 and -, beginning and ending with a letter or digit"
)]
pub struct NameFault {
    what: &'static str,
    given: String,
    max: usize,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameFault;
            fn from_str(text: &str) -> Result<Self, NameFault> {
                if is_label(text, $max) {
                    Ok(Self(text.into()))
                } else {
                    let given = text.chars().take(80).collect();
                    Err(NameFault { what: $what, given, max: $max })
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameFault;
            fn try_from(text: String) -> Result<Self, NameFault> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// One customer's installation, in host names and paths: a DNS label (RFC 1035, section 2.3.1).
    SiteName, "site name", 63
);
name!(
    /// An application at the site, as in `[upstream.jira]` and in the first path segment of a call.
    UpstreamName, "upstream name", 63
);
name!(
    /// A program that calls a site, as in `[caller.teams-bot]`.
    CallerName, "caller name", 63
);
name!(
    /// An account that calls are made as, as in `[service.reader]`.
    ServiceName, "service name", 63
);
name!(
    /// Who names the person a call is made for: the first part of `Outhaul-Act-As`.
    Provider, "provider", 63
);

name!(
    /// Whose tokens are taken, as in `[issuer.entra]`.
    IssuerName, "issuer name", 63
);

fn is_label(text: &str, max: usize) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() <= max
        && bytes.first().is_some_and(inner)
        && bytes.last().is_some_and(inner)
        && bytes.iter().all(|byte| inner(byte) || *byte == b'-')
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(Uuid);

        impl $type {
            /// A fresh one: a UUID version 7 (RFC 9562), so that newer ones sort later.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
            /// From its sixteen bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
            /// As text, into this buffer; `Display` costs several times as much.
            pub fn write<'t>(&self, into: &'t mut [u8; 36]) -> &'t str {
                self.0.as_hyphenated().encode_lower(into)
            }
            /// As sixteen bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(formatter)
            }
        }

        impl FromStr for $type {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
    };
}

uuid_id!(
    /// One agent's identity at a relay.
    AgentId
);
uuid_id!(
    /// One call, from the caller through relay and agent; in every problem document and log line about it.
    RequestId
);
uuid_id!(
    /// One attempt of a person to link an account. No secret.
    LinkId
);
uuid_id!(
    /// One start of an agent process: tells a restart from a copy.
    BootId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        for good in ["a", "acme", "a-1", "0x", &"a".repeat(63)] {
            assert!(good.parse::<SiteName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ä", "a b", "a/b", &"a".repeat(64)] {
            assert!(bad.parse::<SiteName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fault_names_what_was_typed_and_what_is_allowed() {
        let fault = "Acme".parse::<SiteName>().unwrap_err().to_string();
        assert!(fault.contains("“Acme”") && fault.contains("a-z"), "{fault}");
    }

    #[test]
    fn ids_round_trip() {
        let id = RequestId::generate();
        assert_eq!(id.to_string().parse::<RequestId>().unwrap(), id);
        assert_eq!(RequestId::from_bytes(*id.as_bytes()), id);
    }
}
