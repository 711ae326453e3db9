//! The agent's admin socket: its routes, and what they show.
//!
//! The routes know the rest of the agent only as a [`House`], which `agent::run` builds. They run behind
//! `net::local`, which says who may change things.

pub mod audit;
pub mod certificates;
pub mod credentials;
pub mod egress;
pub mod issuers;
pub mod links;
pub mod pass_through;
mod people;
pub mod refusals;
mod routes;
pub mod status;
pub mod store;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::common::ids::CallerName;
use crate::common::secret::Secret;
use crate::identity::keys::PublicKey;
use crate::net::local::Refused;
use refusals::RefusalsReport;
use status::Status;

pub use routes::router;

/// What takes a moment.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refused>> + Send + 'a>>;

/// What the admin socket may ask of the running agent.
pub trait House: Send + Sync + 'static {
    /// The whole picture, for `status`.
    fn status(&self) -> Status;
    /// Refuses every call from now on.
    fn pause(&self) -> Result<(), Refused>;
    /// Lets calls pass again.
    fn resume(&self) -> Result<(), Refused>;
    /// Reads the configuration again, as this one asks; gives the changed keys that need a restart. What comes of it
    /// is recorded there, as that of any other reload is.
    fn reload(&self, by: String) -> Answer<'_, Vec<String>>;
    /// What the policy refused since the start.
    fn refusals(&self) -> RefusalsReport;
    /// The callers, by name.
    fn callers(&self) -> Vec<CallerLine>;
    /// Makes a caller: with a secret, or with its public key.
    fn add_caller<'a>(&'a self, name: &'a CallerName, public: Option<PublicKey>) -> Answer<'a, Made>;
    /// Gives a caller a new key; the old ones go on working for `grace`.
    fn rotate_caller<'a>(
        &'a self,
        name: &'a CallerName,
        public: Option<PublicKey>,
        grace: Duration,
    ) -> Answer<'a, Made>;
    /// The key by which answers to signed calls are signed.
    fn answers_by(&self) -> PublicKey;
    /// The audit.
    fn audit(&self) -> &dyn audit::AuditDesk;
    /// The certificates by ACME.
    fn certificates(&self) -> &dyn certificates::CertificateDesk;
    /// The services' secrets.
    fn credentials(&self) -> &dyn credentials::CredentialDesk;
    /// The way to hosts on the internet.
    fn egress(&self) -> &dyn egress::EgressDesk;
    /// The store.
    fn store(&self) -> &dyn store::StoreDesk;
    /// Takes a caller away.
    fn remove_caller<'a>(&'a self, name: &'a CallerName) -> Answer<'a, ()>;
}

/// What a caller got.
pub enum Made {
    /// A secret, which nobody can show again.
    Secret(Secret<String>),
    /// The `keyid` that its signatures name its public key by.
    Signs(String),
}

/// One caller in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerLine {
    /// Its name.
    pub name: String,
    /// Its keys, the newest first.
    pub keys: Vec<KeyLine>,
}

/// One key in a list: nothing in it is secret. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLine {
    /// The part of it that is no secret: `ohk_{id}` of a key that is sent along, `ohs_{id}` of one that signs.
    pub id: String,
    /// Its calls are signed.
    #[serde(default)]
    pub signs: bool,
    /// When it was made.
    pub created: String,
    /// When it stops working, if a newer one replaced it.
    pub expires: Option<String>,
    /// When it was last used since the agent started.
    pub last_used: Option<String>,
    /// It was once sent through the relay, which could have kept it: pass-through does not count with it.
    #[serde(default)]
    pub sent_through_relay: bool,
}

/// A key: a secret in the one answer that shows it, or what a program that signs must know.
#[derive(Serialize, Deserialize)]
pub struct NewKey {
    /// Whose it is.
    pub name: String,
    /// The secret. Nobody can show it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of a caller that signs.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedBy>,
    /// Where to call with it: the site's base URL at the relay, in path form, without the upstream's name.
    pub base_url: Option<String>,
    /// The upstreams' names.
    pub upstreams: Vec<String>,
}

/// What a program that signs must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBy {
    /// The parameter `keyid`.
    pub key_id: String,
    /// The field `Outhaul-Agent`.
    pub agent: Option<String>,
    /// The agent's public key, in PEM: answers are signed by it.
    pub agent_public_key: String,
}
