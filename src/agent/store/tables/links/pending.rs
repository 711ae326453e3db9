//! What was proved, as the bytes that are sealed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Pending;
use crate::agent::store::tables::mappings::{Account, Pair, Secrets};
use crate::common::secret::Secret;

#[derive(Serialize, Deserialize)]
struct Document<'a> {
    key: String,
    name: String,
    display_name: String,
    /// A personal access token, or the access token of a grant. Tokens need no escape in JSON, so that they are
    /// borrowed, not copied.
    #[serde(borrow)]
    token: Cow<'a, str>,
    #[serde(borrow)]
    refresh: Option<Cow<'a, str>>,
    /// When the access token ends; absent for a personal access token.
    expires: Option<u64>,
    scope: Option<String>,
}

pub(super) fn write(pending: &Pending) -> Zeroizing<Vec<u8>> {
    let Account { key, name, display_name } = pending.account.clone();
    let document = match &pending.secrets {
        Secrets::Pat(token) => {
            let token = Cow::from(token.expose());
            Document { key, name, display_name, token, refresh: None, expires: None, scope: None }
        }
        Secrets::OAuth(pair) => Document {
            key,
            name,
            display_name,
            token: pair.access.expose().into(),
            refresh: pair.refresh.as_ref().map(|token| token.expose().into()),
            expires: Some(pair.expires),
            scope: pair.scope.clone(),
        },
    };
    // All the room there will be: bytes that had to grow would leave a copy behind.
    let secrets = document.token.len() + document.refresh.as_ref().map_or(0, |token| token.len());
    let mut bytes = Zeroizing::new(Vec::with_capacity(6 * (secrets + ROOM)));
    // Writing to memory what is all texts and numbers does not fail.
    let _ = serde_json::to_writer(&mut *bytes, &document);
    bytes
}

pub(super) fn read(bytes: &[u8]) -> Option<Pending> {
    let document: Document<'_> = serde_json::from_slice(bytes).ok()?;
    let secret = |token: Cow<'_, str>| Secret::new(token.into_owned());
    let secrets = match document.expires {
        None => Secrets::Pat(secret(document.token)),
        Some(expires) => Secrets::OAuth(Pair {
            access: secret(document.token),
            refresh: document.refresh.map(secret),
            expires,
            scope: document.scope,
        }),
    };
    let Document { key, name, display_name, .. } = document;
    Some(Pending { account: Account { key, name, display_name }, secrets })
}

/// For names, scope and the document's own letters.
const ROOM: usize = 2048;
