//! Token requests to an application's OAuth provider: sent once, and with what is known of their fate.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use zeroize::Zeroizing;

use super::myself;
use crate::agent::upstream::{AnswerBody, Outbound, Outgoing, Upstream};
use crate::common::secret::Secret;
use crate::identity::oauth::{self, FORM, MAX_ANSWER, TokenFault, Tokens};

/// Where Jira's provider takes token requests.
pub const TOKEN_PATH: &str = "/rest/oauth2/latest/token";

/// Waits no longer for an answer to one of these requests. What was sent by then may still be done.
pub async fn within<T>(
    patience: Duration,
    request: impl Future<Output = Result<T, RequestFault>>,
) -> Result<T, RequestFault> {
    let lost = |_| RequestFault::Lost(format!("no answer within {patience:?}"));
    tokio::time::timeout(patience, request).await.map_err(lost).flatten()
}

/// Why there are no tokens.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestFault {
    /// The provider has seen nothing of it.
    #[error("the application could not be asked: {0}")]
    Unsent(String),
    /// It left, and no answer came back: the provider may have done what was asked, so that a token that was to be
    /// used up may be dead.
    #[error("the request was sent, but its answer was lost: {0}")]
    Lost(String),
    /// It was answered.
    #[error(transparent)]
    Answered(#[from] TokenFault),
}

/// Sends a form to the token endpoint. It is never sent twice, and dropping the future before the answer came leaves
/// its fate unknown.
pub async fn request(upstream: &Upstream, path: &str, form: Secret<String>) -> Result<Tokens, RequestFault> {
    let (status, body) = post(upstream, path, form).await?;
    Ok(oauth::read(status, &body)?)
}

/// Tells the provider that a token is no longer wanted (RFC 7009). The form holds it.
pub async fn revoke(upstream: &Upstream, path: &str, form: Secret<String>) -> Result<(), RequestFault> {
    let (status, _) = post(upstream, path, form).await?;
    if status.is_success() { Ok(()) } else { Err(TokenFault::Status(status).into()) }
}

async fn post(
    upstream: &Upstream,
    path: &str,
    form: Secret<String>,
) -> Result<(StatusCode, Zeroizing<Vec<u8>>), RequestFault> {
    let mut headers = HeaderMap::new();
    myself::common(upstream, &mut headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FORM));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(form.expose().len()));
    // Jira checks forms for forgery, and takes this as the word of a program.
    headers.insert("x-atlassian-token", HeaderValue::from_static("no-check"));
    let length = form.expose().len() as u64;
    let body = Full::new(Bytes::from_owner(Form(form)));
    let body = Outgoing::new(body, Some(length), length, upstream.clock());
    let outbound = Outbound { method: Method::POST, target: path.to_owned(), headers };
    let answer = upstream.ask(&outbound, body).await.map_err(|fault| {
        let text = fault.to_string();
        if fault.is_unsent() { RequestFault::Unsent(text) } else { RequestFault::Lost(text) }
    })?;
    let status = answer.status();
    match read(answer.into_body(), MAX_ANSWER).await {
        Ok(body) => Ok((status, body)),
        Err(fault) if status.is_success() => Err(RequestFault::Lost(fault)),
        Err(_) => Err(TokenFault::Status(status).into()),
    }
}

/// The body, or one byte more than `at_most` of it.
pub(super) async fn read(mut body: AnswerBody, at_most: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    // All the room there will be: a text that had to grow would leave a copy behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(at_most.saturating_add(1)));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|fault| fault.to_string())?;
        let Ok(data) = frame.into_data() else { continue };
        let room = at_most.saturating_add(1).saturating_sub(whole.len());
        whole.extend(data.iter().take(room));
        if data.len() > room {
            break;
        }
    }
    Ok(whole)
}

struct Form(Secret<String>);

impl AsRef<[u8]> for Form {
    fn as_ref(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}
