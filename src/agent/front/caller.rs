//! Who calls.

use http::HeaderMap;

use crate::agent::callers::{Callers, Presented, UnknownKey, presented};
use crate::common::ids::CallerName;
use crate::common::problem::{Code, Problem};

/// The caller whose key a request brings, or the refusal.
pub(super) fn identify(headers: &HeaderMap, callers: &Callers) -> Result<CallerName, Problem> {
    match presented(headers) {
        Presented::Key(key) => callers.authenticate(key.expose()).map_err(UnknownKey::problem),
        other => Err(other.problem().unwrap_or_else(|| Problem::new(Code::CallerUnknown, "Send a key."))),
    }
}
