//! `[upstream.NAME.oauth]`: the incoming application link at Jira, as the agent knows it.

use crate::config::values::SecretRef;

/// What the table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthConfig {
    /// `client-id`, as Jira shows it.
    pub client_id: String,
    /// Where `client-secret` lies.
    pub client_secret: SecretRef,
    /// `scope`: what people are asked to grant; names separated by spaces.
    pub scope: String,
    /// `redirect-url`: where a person's browser comes back to. Registered at Jira letter by letter, and sent with
    /// every refresh too.
    pub redirect_url: String,
    /// `authorize-path`, below the base URL.
    pub authorize_path: String,
    /// `token-path`, below the base URL.
    pub token_path: String,
    /// `revoke-path`, where Jira has such an endpoint.
    pub revoke_path: Option<String>,
}

impl OAuthConfig {
    /// Viewing, and creating, changing and deleting work; capped by the person's own rights.
    pub const SCOPE: &str = "READ WRITE";
    /// Jira's consent page leads on from here.
    pub const AUTHORIZE_PATH: &str = "/rest/oauth2/latest/authorize";
}
