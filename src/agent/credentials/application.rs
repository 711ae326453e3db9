//! What is asked of an application about credentials.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderValue;

use super::myself::{self, Myself};
use super::tokens::{self, RequestFault};
use crate::agent::upstream::Upstream;
use crate::common::secret::Secret;
use crate::identity::oauth::Tokens;

/// An answer that is waited for.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An application, as far as credentials go.
pub trait Application: Send + Sync {
    /// Where it is: what it calls itself, and the nodes behind that. Another place may be another provider.
    fn place(&self) -> String;
    /// Sends a form to the token endpoint.
    fn tokens<'a>(&'a self, path: &'a str, form: Secret<String>) -> Answer<'a, Result<Tokens, RequestFault>>;
    /// Sends a form to the revocation endpoint.
    fn revoke<'a>(&'a self, path: &'a str, form: Secret<String>) -> Answer<'a, Result<(), RequestFault>>;
    /// Asks whose a credential is.
    fn myself<'a>(&'a self, authorization: &'a HeaderValue) -> Answer<'a, Myself>;
}

/// Over the same connections, nodes and authorities as the calls.
impl Application for Arc<Upstream> {
    fn place(&self) -> String {
        let config = self.config();
        let mut nodes: Vec<String> = config.nodes.iter().map(ToString::to_string).collect();
        nodes.sort_unstable();
        format!("{} at {}", config.base_url, nodes.join(", "))
    }

    fn tokens<'a>(&'a self, path: &'a str, form: Secret<String>) -> Answer<'a, Result<Tokens, RequestFault>> {
        Box::pin(tokens::request(self, path, form))
    }

    fn revoke<'a>(&'a self, path: &'a str, form: Secret<String>) -> Answer<'a, Result<(), RequestFault>> {
        Box::pin(tokens::revoke(self, path, form))
    }

    fn myself<'a>(&'a self, authorization: &'a HeaderValue) -> Answer<'a, Myself> {
        Box::pin(myself::ask(self, authorization))
    }
}
