//! A query: passed byte for byte, but for what no query may hold.

use std::sync::Arc;

use super::path::PathFault;

/// What follows the `?`, unchanged; or no query at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Query(Option<Arc<str>>);

impl Query {
    /// No query.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes a query as it stands in a request, without its `?`.
    pub fn parse(raw: Option<&str>) -> Result<Self, PathFault> {
        let Some(raw) = raw else { return Ok(Self(None)) };
        for byte in raw.bytes() {
            match byte {
                b'#' => return Err(PathFault::Fragment),
                0..=b' ' | 0x7f.. => return Err(PathFault::Query),
                _ => {}
            }
        }
        // Jira logs in by these and would then answer as somebody else than the rule says.
        let is_credential = |pair: &str| {
            let name = decode_name(pair.split_once('=').map_or(pair, |(name, _)| name));
            CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential.as_bytes()))
        };
        if raw.split(['&', ';']).any(is_credential) {
            return Err(PathFault::QueryCredentials);
        }
        Ok(Self(Some(raw.into())))
    }

    /// The query, without its `?`.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// Percent-decodes a name as leniently as any application might: what is no escape stays as it is.
fn decode_name(name: &str) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = name.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            decoded.extend(u8::try_from(high << 4 | low));
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    decoded
}

const CREDENTIALS: [&str; 2] = ["os_username", "os_password"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jql_needs_passes_unchanged() {
        for raw in [
            "",
            "jql=project%20%3D%20DEMO%20AND%20text%20~%20%22a%26b%22&maxResults=50",
            "jql=project+=+X&fields=a,b;c",
            "a=%zz&a=%&b=\"<>[]{}|^`\\",
            "x=os_username",
        ] {
            assert_eq!(Query::parse(Some(raw)).unwrap().as_str(), Some(raw));
        }
        assert_eq!(Query::parse(None).unwrap().as_str(), None);
    }

    #[test]
    fn what_no_query_may_hold_is_refused() {
        for (raw, fault) in [
            ("a=b c", PathFault::Query),
            ("a=\r\nX: y", PathFault::Query),
            ("a=\u{0}", PathFault::Query),
            ("a=\u{7f}", PathFault::Query),
            ("a=ä", PathFault::Query),
            ("a#b", PathFault::Fragment),
            ("os_username=admin&os_password=x", PathFault::QueryCredentials),
            ("a=b&os%5Fpassword=x", PathFault::QueryCredentials),
            ("a;OS_USERNAME", PathFault::QueryCredentials),
        ] {
            assert_eq!(Query::parse(Some(raw)), Err(fault), "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_query_panics_and_every_accepted_one_is_unchanged(raw in "\\PC{0,60}|[%=&;0-9a-f_os]{0,60}") {
            if let Ok(query) = Query::parse(Some(&raw)) {
                proptest::prop_assert_eq!(query.as_str(), Some(raw.as_str()));
            }
        }
    }
}
