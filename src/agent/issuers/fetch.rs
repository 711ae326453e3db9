//! Asks an issuer for its keys.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};

use super::config::{Config, HttpsUrl, KeysAt};
use super::plan;
use crate::common::limits::ByteSize;
use crate::common::strict_json;
use crate::identity::jwks::{KeySet, KeySetFault, MAX_SET};
use crate::net::http_client::{AskFault, Bounds, HttpClient};

/// What came.
pub(super) struct Fetched {
    pub(super) set: KeySet,
    /// How long it is fresh, as the issuer says.
    pub(super) max_age: Option<Duration>,
}

/// Why an issuer's keys could not be had. Says whose fault it is; holds nothing secret.
#[derive(Debug, thiserror::Error)]
pub enum FetchFault {
    /// No answer.
    #[error(transparent)]
    Ask(#[from] AskFault),
    /// Another answer than the document.
    #[error("{url} answered {status}{more}")]
    Status {
        /// What was asked.
        url: Uri,
        /// The status.
        status: StatusCode,
        /// What to do.
        more: String,
    },
    /// The discovery document is none.
    #[error("{url} is no OpenID configuration: {why}")]
    Discovery {
        /// What was asked.
        url: Uri,
        /// Why.
        why: String,
    },
    /// The key set is none, or of no use.
    #[error("{url}: {fault}")]
    Keys {
        /// What was asked.
        url: Uri,
        /// Why.
        fault: KeySetFault,
    },
}

/// The issuer's keys, now.
pub(super) async fn fetch(config: &Config, client: &HttpClient) -> Result<Fetched, FetchFault> {
    let set = match &config.keys {
        KeysAt::Set(url) => url.clone(),
        KeysAt::Discovery(url) => discover(config, url, client).await?,
    };
    let (headers, body) = get(client, set.uri(), ByteSize(MAX_SET as u64)).await?;
    let read = KeySet::read(&body).map_err(|fault| FetchFault::Keys { url: set.uri().clone(), fault })?;
    Ok(Fetched { set: read, max_age: plan::max_age(&headers) })
}

/// Where the issuer says that its keys are. It must be the very issuer: a document of another one says nothing of this
/// one's keys (OpenID Connect Discovery 1.0, section 4.3).
async fn discover(config: &Config, url: &HttpsUrl, client: &HttpClient) -> Result<HttpsUrl, FetchFault> {
    let (_, body) = get(client, url.uri(), DISCOVERY).await?;
    let fault = |why: String| FetchFault::Discovery { url: url.uri().clone(), why };
    let document = strict_json::read(&body, MAX_DEPTH)
        .map_err(|error| fault(error.to_string().chars().take(200).collect()))?;
    let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
    let issuer = text("issuer").ok_or_else(|| fault("it names no issuer".to_owned()))?;
    if issuer != config.expected.issuer {
        let named: String = issuer.chars().take(200).flat_map(char::escape_debug).collect();
        return Err(fault(format!(
            "its issuer is “{named}”, and the configuration says “{}”: they must be the same, letter by letter",
            config.expected.issuer
        )));
    }
    let set =
        text("jwks_uri").ok_or_else(|| fault("it does not say where the keys are (jwks_uri)".to_owned()))?;
    set.parse().map_err(|why| fault(format!("its jwks_uri: {why}")))
}

async fn get(client: &HttpClient, url: &Uri, limit: ByteSize) -> Result<(HeaderMap, Bytes), FetchFault> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url.clone();
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
    let agent = concat!("outhaul-agent/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    let response = client.ask(request, Bounds { answer: limit, within: WITHIN }).await?;
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let more = match head.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()) {
            Some(to) if head.status.is_redirection() => {
                let to: String = to.chars().take(200).collect();
                format!(": redirects are not followed; if {to} is right, write that")
            }
            _ => String::new(),
        };
        return Err(FetchFault::Status { url: url.clone(), status: head.status, more });
    }
    Ok((head.headers, body))
}

/// For each of at most two questions.
pub(super) const WITHIN: Duration = Duration::from_secs(10);
const DISCOVERY: ByteSize = ByteSize::kib(64);
const MAX_DEPTH: usize = 16;
