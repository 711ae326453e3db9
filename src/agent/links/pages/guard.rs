//! What holds for every page: whose requests are answered, and what a browser may do with the answer.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::words;
use crate::config::values::HttpBase;

/// The one host that these pages have.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    authority: Arc<str>,
    origin: Arc<str>,
    is_tls: bool,
}

impl Guard {
    pub(super) fn new(url: &HttpBase) -> Self {
        let authority = url.authority();
        let origin = format!("{}://{authority}", url.scheme.as_str());
        Self { authority: authority.into(), origin: origin.into(), is_tls: url.is_tls() }
    }

    /// Another name leads here by rebinding, or by mistake (RFC 9110, section 15.5.20).
    fn is_ours(&self, request: &Request) -> bool {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let ours = |text: &str| text.eq_ignore_ascii_case(&self.authority);
        host.to_str().is_ok_and(ours)
            && request.uri().authority().is_none_or(|written| ours(written.as_str()))
    }

    /// A form that another site's page sends. Browsers say so; without a referrer the origin is `null`.
    fn is_from_elsewhere(&self, headers: &HeaderMap) -> bool {
        let other = |name: HeaderName, fine: &[&str]| {
            headers
                .get_all(name)
                .iter()
                .any(|value| !fine.iter().any(|word| value.as_bytes() == word.as_bytes()))
        };
        other(HeaderName::from_static("sec-fetch-site"), &["same-origin"])
            || other(header::ORIGIN, &[&self.origin, "null"])
    }
}

pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let mut response = if !guard.is_ours(&request) {
        words::misdirected(&guard.origin).into_response()
    } else if *request.method() == Method::POST && guard.is_from_elsewhere(request.headers()) {
        words::of(&crate::agent::links::steps::StepFault::Forged).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if guard.is_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
