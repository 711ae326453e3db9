//! Troubles on demand: what a test orders through the control listener, for the next matching requests.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use serde::Deserialize;

/// One order. Whatever is absent does not happen.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Trouble {
    /// Part of the path.
    pub(crate) path: String,
    /// Only this method.
    pub(crate) method: Option<String>,
    /// For how many requests.
    pub(crate) times: u32,
    /// Wait before the answer's head.
    pub(crate) delay_ms: u64,
    /// Close the connection without an answer.
    pub(crate) drop: bool,
    /// Don't do what was asked (only with `drop` or `status`).
    pub(crate) skip: bool,
    /// Answer with this status and an error page.
    pub(crate) status: Option<u16>,
    /// Break the answer off after so many bytes of the body.
    pub(crate) break_after: Option<usize>,
    /// Wait so long at the breaking point, and then go on instead of closing.
    pub(crate) stall_ms: Option<u64>,
    /// Send the body in pieces of so many bytes …
    pub(crate) piece: Option<usize>,
    /// … with such a pause between two.
    pub(crate) pause_ms: u64,
    /// Further answer headers.
    pub(crate) headers: Vec<(String, String)>,
    /// Answer as this user, whatever came: the header X-AUSERNAME only.
    pub(crate) user: Option<String>,
}

impl Default for Trouble {
    fn default() -> Self {
        Self {
            path: String::new(),
            method: None,
            times: 1,
            delay_ms: 0,
            drop: false,
            skip: false,
            status: None,
            break_after: None,
            stall_ms: None,
            piece: None,
            pause_ms: 0,
            headers: Vec::new(),
            user: None,
        }
    }
}

impl Trouble {
    fn matches(&self, method: &Method, path: &str) -> bool {
        path.contains(&self.path)
            && self.method.as_deref().is_none_or(|wanted| method.as_str().eq_ignore_ascii_case(wanted))
    }
}

/// The next trouble for this request, used up by it.
pub(crate) fn take(list: &mut Vec<Trouble>, method: &Method, path: &str) -> Option<Trouble> {
    let index = list.iter().position(|trouble| trouble.matches(method, path))?;
    let trouble = list.get_mut(index)?;
    trouble.times = trouble.times.saturating_sub(1);
    let taken = trouble.clone();
    if trouble.times == 0 {
        list.remove(index);
    }
    Some(taken)
}

/// Bends an answer as ordered.
pub(crate) fn bend(trouble: &Trouble, mut response: Response) -> Response {
    for (name, value) in &trouble.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    if let Some(user) = trouble.user.as_deref().and_then(|user| HeaderValue::from_str(user).ok()) {
        response.headers_mut().insert("x-ausername", user);
    }
    if trouble.break_after.is_none() && trouble.piece.is_none() {
        return response;
    }
    let length = http_body::Body::size_hint(response.body()).exact();
    let (mut parts, body) = response.into_parts();
    if let Some(length) = length {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::from_stream(bent(trouble.clone(), body)))
}

struct Bent {
    trouble: Trouble,
    body: Body,
    held: Bytes,
    sent: usize,
}

fn bent(trouble: Trouble, body: Body) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    let start = Bent { trouble, body, held: Bytes::new(), sent: 0 };
    futures_util::stream::unfold(Some(start), |state| async move {
        let mut state = state?;
        while state.held.is_empty() {
            let Some(frame) = state.body.frame().await else { break };
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => state.held = data,
                Ok(Err(_)) => {}
                Err(fault) => return Some((Err(io::Error::other(fault)), None)),
            }
        }
        if state.held.is_empty() {
            return None;
        }
        let mut most = state.trouble.piece.unwrap_or(usize::MAX).max(1);
        if let Some(limit) = state.trouble.break_after {
            if state.sent >= limit {
                let Some(stall) = state.trouble.stall_ms else {
                    // What went before must reach the wire first, or the peer sees less than was ordered.
                    tokio::time::sleep(Duration::from_millis(30)).await;
                    return Some((Err(io::Error::other("broken off as ordered")), None));
                };
                tokio::time::sleep(Duration::from_millis(stall)).await;
                state.trouble.break_after = None;
            } else {
                most = most.min(limit - state.sent);
            }
        }
        if state.sent > 0 && state.trouble.pause_ms > 0 {
            tokio::time::sleep(Duration::from_millis(state.trouble.pause_ms)).await;
        }
        let piece = state.held.split_to(most.min(state.held.len()));
        state.sent += piece.len();
        Some((Ok(piece), Some(state)))
    })
}
