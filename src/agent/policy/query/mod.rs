//! A query: passed byte for byte, but for what no query may hold; and what a rule may ask of it.

mod conditions;

use std::sync::Arc;

use super::path::PathFault;
pub(super) use conditions::Reading;
pub use conditions::{QueryFault, QueryMiss, QueryTest};

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
mod tests;
