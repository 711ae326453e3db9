//! The agent's HTTP client as the ACME library wants it; and what the library lets fall: Retry-After of refusals.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use instant_acme::{BodyWrapper, BytesResponse, Error};
use serde::Deserialize;

use super::fault::Fault;
use crate::common::clock::Clock;
use crate::common::limits::ByteSize;
use crate::net::http_client::{AskFault, Bounds, HttpClient};

/// Asks the authority. Clones share what was last heard.
#[derive(Clone)]
pub(super) struct Http {
    client: HttpClient,
    clock: Clock,
    retry_after: Arc<Mutex<Option<u64>>>,
}

/// What an authority's directory says of itself (RFC 8555 section 7.1.1), beside its URLs.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    /// Its names in CAA records.
    #[serde(default)]
    pub(super) caa_identities: Vec<String>,
    /// It takes only accounts that are bound to one of another kind.
    #[serde(default)]
    pub(super) external_account_required: bool,
    /// Where its terms of service are.
    pub(super) terms_of_service: Option<String>,
}

impl Http {
    pub(super) fn new(client: HttpClient, clock: Clock) -> Self {
        Self { client, clock, retry_after: Arc::default() }
    }

    /// When the last refusal that said so wants the next request, in seconds since 1970; said once.
    pub(super) fn take_retry_after(&self) -> Option<u64> {
        self.retry_after.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The directory's own words.
    pub(super) async fn meta(&self, directory: &str) -> Result<Meta, Fault> {
        #[derive(Deserialize)]
        struct Directory {
            #[serde(default)]
            meta: Meta,
        }
        let request = Request::get(directory).body(Bytes::new());
        let request = request.map_err(|error| Fault::Unreachable(error.to_string()))?;
        let response = self.ask(request).await.map_err(|error| Fault::of(error, None))?;
        if !response.status().is_success() {
            let text = format!("its directory answers {}", response.status());
            return Err(Fault::Odd(text));
        }
        let directory: Directory = serde_json::from_slice(response.body())
            .map_err(|error| Fault::Odd(format!("its directory can't be read: {error}")))?;
        Ok(directory.meta)
    }

    async fn ask(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let response =
            self.client.ask(request, BOUNDS).await.map_err(|fault| Error::Other(Box::new(fault)))?;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            let until = retry_after(response.headers(), self.clock.unix_seconds());
            *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = until;
            // What is before an authority has other words than its own.
            let problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
                kind.as_bytes().starts_with(b"application/problem+json")
                    || kind.as_bytes().starts_with(b"application/json")
            });
            if !problem {
                let text = format!("it answers {status}, without saying why");
                return Err(Error::Other(Box::new(Fault::Odd(text))));
            }
        }
        Ok(response)
    }
}

impl instant_acme::HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let (parts, body) = http.ask(Request::from_parts(head, body)).await?.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// What an error of the library holds, if it comes from here.
pub(super) fn ours(error: Box<dyn std::error::Error + Send + Sync>) -> Fault {
    let error = match error.downcast::<Fault>() {
        Ok(fault) => return *fault,
        Err(error) => error,
    };
    match error.downcast::<AskFault>() {
        Ok(fault) => {
            let report =
                crate::common::report::Report::from_error(crate::common::report::Exit::Unavailable, &*fault);
            Fault::Unreachable(report.to_string())
        }
        Err(error) => Fault::Odd(error.to_string()),
    }
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: u64) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(now.saturating_add(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from(date.timestamp().as_second()).ok()
}

const AGENT: &str = concat!("outhaul-agent/", env!("CARGO_PKG_VERSION"));
/// Chains have some kilobytes.
const BOUNDS: Bounds = Bounds { answer: ByteSize::kib(256), within: Duration::from_secs(30) };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            retry_after(&headers, 1000)
        };
        assert_eq!(read("120"), Some(1120));
        assert_eq!(read("Thu, 01 Jan 1970 01:00:00 GMT"), Some(3600));
        assert_eq!(read("99999999999999999999"), None);
        assert_eq!(read("18446744073709551615"), Some(u64::MAX));
        assert_eq!((read("soon"), read(""), read("-5")), (None, None, None));
        assert_eq!(retry_after(&HeaderMap::new(), 0), None);
    }
}
