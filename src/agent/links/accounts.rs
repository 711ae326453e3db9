//! What linking asks of the mappings and the applications behind them.

use std::future::Future;
use std::pin::Pin;

use crate::agent::mapping::{
    Account, CreateFault, Link, LinkFault, Linkable, MappingRow, Mappings, ProveFault, Secrets,
};
use crate::common::ids::UpstreamName;
use crate::identity::oauth::{Challenge, Verifier};

pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where accounts are proved and mappings made.
pub(super) trait Accounts: Send + Sync {
    /// The applications there are.
    fn applications(&self) -> Vec<Linkable>;
    /// Where a browser is sent to consent.
    fn authorization_url(
        &self,
        upstream: &UpstreamName,
        state: &str,
        challenge: Challenge,
    ) -> Result<String, LinkFault>;
    /// Redeems a code.
    fn redeem<'a>(
        &'a self,
        upstream: &'a UpstreamName,
        code: &'a str,
        verifier: &'a Verifier,
    ) -> Answer<'a, Result<Secrets, LinkFault>>;
    /// Asks whose a credential is.
    fn prove<'a>(
        &'a self,
        upstream: &'a UpstreamName,
        secrets: &'a Secrets,
    ) -> Answer<'a, Result<Account, ProveFault>>;
    /// Makes the mapping.
    fn create(&self, link: Link) -> Answer<'_, Result<MappingRow, CreateFault>>;
}

impl Accounts for Mappings {
    fn applications(&self) -> Vec<Linkable> {
        Mappings::applications(self)
    }

    fn authorization_url(
        &self,
        upstream: &UpstreamName,
        state: &str,
        challenge: Challenge,
    ) -> Result<String, LinkFault> {
        Mappings::authorization_url(self, upstream, state, challenge)
    }

    fn redeem<'a>(
        &'a self,
        upstream: &'a UpstreamName,
        code: &'a str,
        verifier: &'a Verifier,
    ) -> Answer<'a, Result<Secrets, LinkFault>> {
        Box::pin(Mappings::redeem(self, upstream, code, verifier))
    }

    fn prove<'a>(
        &'a self,
        upstream: &'a UpstreamName,
        secrets: &'a Secrets,
    ) -> Answer<'a, Result<Account, ProveFault>> {
        Box::pin(Mappings::prove(self, upstream, secrets))
    }

    fn create(&self, link: Link) -> Answer<'_, Result<MappingRow, CreateFault>> {
        Box::pin(Mappings::create(self, link))
    }
}
