//! Read-only mode: the whole of Jira refuses writes for a while.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::app::{App, Call};
use crate::options::Profile;
use crate::wire::{Fault, Reply, ok};

/// What an administrator announces.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct ReadOnly {
    pub(crate) message: String,
    /// As `2026-01-31T06:00`, or nothing.
    pub(crate) end_time: Option<String>,
}

/// `readonly-mode`, which older releases lack.
pub(crate) async fn show(call: Call) -> Reply {
    if matches!(call.app.profile(), Profile::V8 | Profile::V9) {
        return Err(Fault::core(404, "There is no such resource in this release."));
    }
    call.who.required()?;
    let mode = call.app.read_only().clone();
    let enabled = mode.is_some();
    let mode = mode.unwrap_or_default();
    let mut shown = json!({ "enabled": enabled, "message": mode.message, "timeZone": "Etc/UTC" });
    if let (Some(members), Some(end)) = (shown.as_object_mut(), mode.end_time) {
        members.insert("endTime".to_owned(), end.into());
    }
    ok(shown)
}

/// The refusal of a write. A search is none, although it may be a POST.
pub(crate) fn refusal(app: &App, method: &Method, path: &str) -> Option<Fault> {
    let mode = app.read_only().clone()?;
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) || path.ends_with("/search");
    if reads || !path.starts_with("/rest/") || path.starts_with("/rest/auth/") {
        return None;
    }
    let status = if app.is("read-only-refusal", "405") { 405 } else { 503 };
    Some(Fault::core(status, format!("Jira is in read-only mode. {}", mode.message)))
}
