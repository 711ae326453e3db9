//! Which header fields pass, both ways.
//!
//! Towards the upstream only what [`REQUEST`] names: a field that nobody thought of can't carry an identity, a
//! session or another method past the policy. Towards the caller everything but what [`ANSWER`] names: what belongs
//! to one connection, and cookies, which are credentials.

mod table;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};

pub use table::{ANSWER, Field, REQUEST, Verdict, answer_field, request_field};

use crate::agent::upstream::USER_AGENT;

const NO_CHECK: HeaderValue = HeaderValue::from_static("no-check");
const ATLASSIAN_TOKEN: HeaderName = HeaderName::from_static("x-atlassian-token");

/// Faults of the caller's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// More than one length, or one that is no number.
    #[error("Content-Length must be one number")]
    Length,
}

/// What goes to the upstream.
#[derive(Debug)]
pub struct Prepared {
    /// The fields.
    pub headers: HeaderMap,
    /// The length the caller declares for its body.
    pub length: Option<u64>,
    /// The caller takes trailers.
    pub trailers: bool,
}

/// Picks what passes and adds what the agent sets, but for the credential.
pub fn request<B>(
    request: &Request<B>,
    method: &Method,
    host: &HeaderValue,
) -> Result<Prepared, HeaderFault> {
    let given = request.headers();
    let length = content_length(given)?;
    let named = Named::read(given);
    let mut headers = HeaderMap::with_capacity(given.len() + 6);
    headers.insert(header::HOST, host.clone());
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in given {
        if table::passes(name.as_str()) && !named.holds(name) {
            headers.append(name, value.clone());
        }
    }
    let trailers = takes_trailers(given);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if !method.is_safe() {
        headers.insert(ATLASSIAN_TOKEN, NO_CHECK);
    }
    Ok(Prepared { headers, length, trailers })
}

/// Takes out of an answer what must not pass.
pub fn answer(headers: &mut HeaderMap) {
    for name in Named::read(headers).0 {
        // The framing of the body is not for Connection to decide.
        if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
            headers.remove(name);
        }
    }
    remove(headers, table::ends);
}

/// Takes out of an answer's trailers what must not pass, and what only a head may hold.
pub fn trailers(fields: &mut HeaderMap) {
    remove(fields, |name| table::ends(name) || table::NO_TRAILERS.contains(&name));
}

fn remove(fields: &mut HeaderMap, ends: impl Fn(&str) -> bool) {
    let ending: Vec<HeaderName> = fields.keys().filter(|name| ends(name.as_str())).cloned().collect();
    for name in ending {
        fields.remove(name);
    }
}

/// The fields that `Connection` names.
struct Named(Vec<HeaderName>);

impl Named {
    fn read(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CONNECTION).iter();
        let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        Self(words.filter_map(|word| HeaderName::from_bytes(word.trim_ascii()).ok()).take(64).collect())
    }

    fn holds(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, HeaderFault> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|value| value != first) {
        return Err(HeaderFault::Length);
    }
    let text = first.to_str().map_err(|_| HeaderFault::Length)?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HeaderFault::Length);
    }
    text.parse().map(Some).map_err(|_| HeaderFault::Length)
}

/// Whether whoever asks takes trailers.
pub fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|word| {
            let word = word.split(|byte| *byte == b';').next().unwrap_or_default();
            word.trim_ascii().eq_ignore_ascii_case(b"trailers")
        })
    })
}

#[cfg(test)]
mod tests;
