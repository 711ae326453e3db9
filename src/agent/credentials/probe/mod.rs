//! Asks an application whose a credential is, for `credential test`. One try: a wrong password that is sent again can lock
//! the account.

mod read;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};

use super::Credential;
use crate::agent::store::tables::services::SecretKind;
use crate::agent::upstream::{Outbound, Outgoing, USER_AGENT, Upstream};
pub use read::{Account, Outcome, Token};

/// What came of it.
#[derive(Debug)]
pub struct Probed {
    /// Whether calls can be made with it, and why not.
    pub outcome: Outcome,
    /// In words, with what to do.
    pub words: String,
    /// Whose it is, where the application said.
    pub account: Option<Account>,
    /// The account's personal access tokens, where the application lists them to it.
    pub tokens: Option<Vec<Token>>,
}

/// Asks `myself` with the credential; with a token that works, also for the account's tokens.
pub async fn probe(upstream: &Upstream, credential: &Credential, kind: SecretKind) -> Probed {
    let mut probed = match get(upstream, credential, "/rest/api/2/myself").await {
        Ok((status, headers, body)) => {
            let checked = upstream.config().identity_header;
            read::myself(credential.user(), kind, checked, status, &headers, &body)
        }
        Err(reason) => Probed {
            outcome: Outcome::Unreachable,
            words: format!(
                "{reason}. `outhaul-agent status` shows how the application and its nodes are; check url in [upstream.{}]",
                upstream.config().name
            ),
            account: None,
            tokens: None,
        },
    };
    if kind == SecretKind::Pat
        && probed.outcome.is_good()
        && let Ok((StatusCode::OK, _, body)) = get(upstream, credential, "/rest/pat/latest/tokens").await
    {
        probed.tokens = read::tokens(&body);
    }
    probed
}

async fn get(
    upstream: &Upstream,
    credential: &Credential,
    path: &str,
) -> Result<(StatusCode, HeaderMap, Vec<u8>), String> {
    let mut headers = HeaderMap::new();
    if let Ok(host) = HeaderValue::from_str(&upstream.config().base_url.authority()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::AUTHORIZATION, credential.authorization().clone());
    let outbound = Outbound { method: Method::GET, target: path.to_owned(), headers };
    let asking = async {
        let answer = upstream.ask(&outbound, Outgoing::empty(upstream.clock())).await;
        let (head, body) = answer.map_err(|fault| fault.to_string())?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|fault| fault.to_string())?;
        Ok((head.status, head.headers, body.to_bytes().to_vec()))
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

const PATIENCE: Duration = Duration::from_secs(15);
/// An account has a handful of tokens; a busy one some hundreds.
const MAX_ANSWER: usize = 1 << 20;
