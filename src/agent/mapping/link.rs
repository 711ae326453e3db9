//! What it takes to link an account: the address to send a browser to, the tokens for the code it brings, and whose
//! they are.

use std::time::Duration;

use super::renew::pair_of;
use super::{Account, Mappings, OAuth, Secrets, Site};
use crate::agent::credentials::Credential;
use crate::agent::credentials::myself::Myself;
use crate::agent::credentials::tokens::{RequestFault, within};
use crate::common::ids::UpstreamName;
use crate::identity::oauth::{Authorization, Challenge, Client, ErrorCode, Grant, TokenFault, Verifier};

/// Why an account can't be linked by OAuth.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkFault {
    /// There is no such application.
    #[error("there is no application “{0}”: it would be a table [upstream.{0}]")]
    NoUpstream(UpstreamName),
    /// It has no application link.
    #[error("“{0}” has no OAuth link: add a table [upstream.{0}.oauth]")]
    NoLink(UpstreamName),
    /// Its secret can't be read.
    #[error("the OAuth link of “{0}” can't be used: {1}")]
    NoSecret(UpstreamName, String),
    /// The code came too late, or was used before.
    #[error(
        "Jira no longer takes the code: it lives for some seconds only, and is good for one use. Begin again; if it \
         happens each time, raise atlassian.oauth2.provider.max.client.delay.seconds at Jira"
    )]
    CodeExpired,
    /// Anything else.
    #[error("Jira gave no tokens: {0}")]
    Request(RequestFault),
}

/// Why nobody knows whose a credential is.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProveFault {
    /// There is no such application.
    #[error("there is no application “{0}”: it would be a table [upstream.{0}]")]
    NoUpstream(UpstreamName),
    /// It can't be sent.
    #[error("this is no token: it holds a space or a letter outside ASCII")]
    Unsendable,
    /// Jira does not take it.
    #[error("Jira does not take this credential: it is wrong, was revoked, or ran out")]
    Refused,
    /// The account is switched off.
    #[error("the account is switched off at Jira, or may not log in")]
    SwitchedOff,
    /// Jira can't be asked.
    #[error("Jira can't be asked whose this credential is: {0}")]
    Unknown(String),
}

/// An application that accounts can be linked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linkable {
    /// Its name here.
    pub upstream: UpstreamName,
    /// What its browser addresses begin with.
    pub base_url: String,
    /// Whether it has an application link, so that people can consent there.
    pub has_oauth: bool,
}

impl Mappings {
    /// All applications, by name.
    pub fn applications(&self) -> Vec<Linkable> {
        let linkable = |site: &std::sync::Arc<Site>| Linkable {
            upstream: site.name.clone(),
            base_url: site.base_url.clone(),
            has_oauth: site.oauth.is_some(),
        };
        let mut all: Vec<Linkable> = self.0.sites.load().values().map(linkable).collect();
        all.sort_by(|one, other| one.upstream.cmp(&other.upstream));
        all
    }

    /// Where a person's browser is sent to consent. `state` ties the answer to it; keep the verifier of `challenge`.
    pub fn authorization_url(
        &self,
        upstream: &UpstreamName,
        state: &str,
        challenge: Challenge,
    ) -> Result<String, LinkFault> {
        let site = self.site(upstream).ok_or_else(|| LinkFault::NoUpstream(upstream.clone()))?;
        let (oauth, _) = site.link()?;
        let authorization = Authorization {
            client_id: &oauth.config.client_id,
            redirect_uri: &oauth.config.redirect_url,
            scope: &oauth.config.scope,
            state,
            challenge,
        };
        Ok(authorization.url(&format!("{}{}", site.base_url, oauth.config.authorize_path)))
    }

    /// Redeems the code that came back, at once and once. Runs to its end although the caller leaves.
    pub async fn redeem(
        &self,
        upstream: &UpstreamName,
        code: &str,
        verifier: &Verifier,
    ) -> Result<Secrets, LinkFault> {
        let site = self.site(upstream).ok_or_else(|| LinkFault::NoUpstream(upstream.clone()))?;
        let (oauth, client) = site.link()?;
        let grant = Grant::AuthorizationCode { code, redirect_uri: &oauth.config.redirect_url, verifier };
        let form = grant.form(client);
        let asked = self.0.clock.unix_seconds();
        let answer = within(PATIENCE, site.application.tokens(&oauth.config.token_path, form)).await;
        self.0.note(&site, "the secret of the application link was sent with a person's code", None);
        match answer {
            Ok(tokens) => Ok(Secrets::OAuth(pair_of(tokens, None, asked))),
            Err(RequestFault::Answered(TokenFault::Refused { code: ErrorCode::InvalidGrant, .. })) => {
                Err(LinkFault::CodeExpired)
            }
            Err(fault) => Err(LinkFault::Request(fault)),
        }
    }

    /// Asks the application whose these secrets are. Nothing is stored.
    pub async fn prove(&self, upstream: &UpstreamName, secrets: &Secrets) -> Result<Account, ProveFault> {
        let site = self.site(upstream).ok_or_else(|| ProveFault::NoUpstream(upstream.clone()))?;
        let token = match secrets {
            Secrets::Pat(token) => token,
            Secrets::OAuth(pair) => &pair.access,
        };
        // Whose it is, is what is asked.
        let credential = Credential::bearer("", token).map_err(|_| ProveFault::Unsendable)?;
        match site.application.myself(credential.authorization()).await {
            Myself::Is(account) => Ok(account),
            Myself::Refused => Err(ProveFault::Refused),
            Myself::SwitchedOff => Err(ProveFault::SwitchedOff),
            Myself::Unknown(reason) => Err(ProveFault::Unknown(reason)),
        }
    }
}

impl Site {
    fn link(&self) -> Result<(&OAuth, &Client), LinkFault> {
        let oauth = self.oauth.as_ref().ok_or_else(|| LinkFault::NoLink(self.name.clone()))?;
        match &oauth.client {
            Ok(client) => Ok((oauth, client)),
            Err(fault) => Err(LinkFault::NoSecret(self.name.clone(), fault.clone())),
        }
    }
}

/// A person waits before a page.
const PATIENCE: Duration = Duration::from_secs(20);
