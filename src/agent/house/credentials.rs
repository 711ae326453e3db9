//! What the admin socket may do with the services' secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::stamp;
use crate::agent::admin::Answer;
use crate::agent::admin::credentials::{
    AccountLine, CredentialDesk, CredentialLine, ExpiringLine, RemovedLine, StoredLine, TestedLine,
};
use crate::agent::credentials::fetched::ClientCredentials;
use crate::agent::credentials::probe::{Outcome, Probed, Token, probe};
use crate::agent::credentials::stored::{Listed, SecretPlace, SetFault};
use crate::agent::credentials::{Credential, Credentials};
use crate::agent::front::Site;
use crate::agent::policy::{Identity, Policy};
use crate::agent::store::Store;
use crate::agent::store::tables::services::SecretKind;
use crate::agent::upstream::Upstream;
use crate::common::clock::Clock;
use crate::common::ids::{ServiceName, UpstreamName};
use crate::common::secret::Secret;
use crate::net::local::Refused;

/// The services' secrets: those in force, and the store.
pub struct CredentialRoom {
    store: Store,
    clock: Clock,
    view: Box<dyn Fn() -> View + Send + Sync>,
}

/// What is in force.
#[derive(Clone)]
pub struct View {
    /// The services' accounts.
    pub credentials: Arc<Credentials>,
    /// Which rules use them, and where.
    pub policy: Arc<Policy>,
    /// The applications.
    pub upstreams: BTreeMap<UpstreamName, Arc<Upstream>>,
}

impl View {
    /// Of a running agent.
    pub fn of(site: &Site) -> Self {
        let upstreams = site.upstreams.iter();
        Self {
            credentials: site.credentials.clone(),
            policy: site.policy.clone(),
            upstreams: upstreams.map(|(name, proxy)| (name.clone(), proxy.upstream().clone())).collect(),
        }
    }
}

impl CredentialRoom {
    /// For the services of what is in force whenever it is asked.
    pub fn new(store: Store, clock: Clock, view: impl Fn() -> View + Send + Sync + 'static) -> Self {
        Self { store, clock, view: Box::new(view) }
    }

    fn credentials(&self) -> Arc<Credentials> {
        (self.view)().credentials
    }

    fn listed(&self, name: &ServiceName) -> Option<Listed> {
        self.credentials().list().into_iter().find(|listed| listed.name == *name)
    }

    /// Where a secret is to be tested: at applications that it is sent to anyhow.
    fn places(
        &self,
        name: &ServiceName,
        wanted: Option<&UpstreamName>,
    ) -> Result<Vec<UpstreamName>, Refused> {
        let View { policy, upstreams, .. } = (self.view)();
        let there = || upstreams.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if let Some(wanted) = wanted {
            if upstreams.contains_key(wanted) {
                return Ok(vec![wanted.clone()]);
            }
            let text = format!("there is no upstream “{wanted}”; there are: {}", there());
            return Err(Refused::new(StatusCode::NOT_FOUND, text));
        }
        let identity = Identity::Service(name.clone());
        let used = policy.rules().iter().filter(|rule| *rule.identity() == identity);
        let used: BTreeSet<UpstreamName> = used.map(|rule| rule.upstream().clone()).collect();
        match (used.is_empty(), upstreams.len()) {
            (false, _) => Ok(used.into_iter().collect()),
            (true, 1) => Ok(upstreams.keys().cloned().collect()),
            _ => {
                let text =
                    format!("no rule uses service “{name}”, so nobody knows for which application it is");
                Err(Refused::new(StatusCode::UNPROCESSABLE_ENTITY, text)
                    .with_remedy(format!("Name one with --upstream: {}.", there())))
            }
        }
    }

    /// The one stored secret's end, where Jira tells it without doubt: the account has no other token.
    async fn note(&self, name: &ServiceName, tokens: &[Token]) {
        let (Some(listed), [only]) = (self.listed(name), tokens) else { return };
        let in_store = listed.config.is_some_and(|config| *config.proof.place() == SecretPlace::Stored);
        if let Some((SecretKind::Pat, set, before)) = listed.stored
            && in_store
            && before != only.expires
        {
            let noted = self.credentials().note_expiry(&self.store, name, set, only.expires).await;
            if let Err(fault) = noted {
                tracing::warn!(%fault, service = %name, "when a token expires could not be noted");
            }
        }
    }

    /// One whose tokens are fetched is tested with one of them, at the application that gives them.
    async fn test_fetched(&self, fetched: &ClientCredentials) -> Result<Vec<TestedLine>, Refused> {
        let credential = self.credentials().credential(&fetched.name).await;
        let credential = credential
            .map_err(|problem| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, problem.detail.clone()))?;
        let Some(application) = (self.view)().upstreams.remove(&fetched.upstream) else {
            return Ok(Vec::new());
        };
        let probed = Box::pin(probe(&application, &credential, SecretKind::ClientSecret)).await;
        Ok(vec![self.tested(&fetched.name, &fetched.upstream, &fetched.user, Some(probed))])
    }

    fn tested(
        &self,
        name: &ServiceName,
        upstream: &UpstreamName,
        user: &str,
        probed: Option<Probed>,
    ) -> TestedLine {
        let skipped = || Probed {
            outcome: Outcome::Unclear,
            words: "not tried, since another application refused the password: each try counts".to_owned(),
            account: None,
            tokens: None,
        };
        let (outcome, probed) = match probed {
            Some(probed) => (probed.outcome.as_str(), probed),
            None => ("skipped", skipped()),
        };
        let soon = self.clock.unix_seconds().saturating_add(SOON);
        let tokens = probed.tokens.unwrap_or_default();
        let expiring = tokens.iter().filter_map(|token| {
            let expires = token.expires.filter(|expires| *expires < soon)?;
            Some(ExpiringLine { name: token.name.clone(), expires: seconds(expires) })
        });
        TestedLine {
            service: name.to_string(),
            upstream: upstream.to_string(),
            ok: probed.outcome.is_good(),
            outcome: outcome.to_owned(),
            detail: probed.words,
            user: user.to_owned(),
            account: probed.account.map(|account| AccountLine {
                name: account.name,
                key: account.key,
                display_name: account.display_name,
                active: account.active,
            }),
            expires: match tokens.as_slice() {
                [only] => only.expires.map(seconds),
                _ => None,
            },
            expiring: expiring.collect(),
            tokens: Some(tokens.len()).filter(|count| *count > 0),
        }
    }
}

impl CredentialDesk for CredentialRoom {
    fn list(&self) -> Vec<CredentialLine> {
        let now = self.clock.unix_seconds();
        let credentials = self.credentials();
        let stored = credentials.list().into_iter().map(|listed| line(listed, now));
        stored.chain(credentials.fetched().list().into_iter().map(fetched_line)).collect()
    }

    fn set<'a>(&'a self, name: &'a ServiceName, secret: Secret<String>) -> Answer<'a, StoredLine> {
        Box::pin(async move {
            let now = self.clock.unix_seconds();
            let put = self.credentials().set(&self.store, name, secret, now).await.map_err(refused)?;
            let elsewhere = self.listed(name).and_then(|listed| listed.config);
            let note = elsewhere.filter(|_| !put.in_use).map(|config| {
                let key = key(put.kind);
                format!(
                    "it is not in use: [service.{name}] takes its secret from the {}. Write {key} = \"stored\" there",
                    config.proof.place()
                )
            });
            Ok(StoredLine {
                service: name.to_string(),
                kind: put.kind.as_str().to_owned(),
                set: seconds(put.set),
                replaced: put.replaced,
                in_use: put.in_use,
                note,
            })
        })
    }

    fn test<'a>(
        &'a self,
        name: &'a ServiceName,
        upstream: Option<&'a UpstreamName>,
    ) -> Answer<'a, Vec<TestedLine>> {
        Box::pin(async move {
            if let Some(fetched) =
                self.credentials().fetched().list().into_iter().find(|one| one.name == *name)
            {
                return self.test_fetched(&fetched).await;
            }
            let config = self.listed(name).and_then(|listed| listed.config).ok_or_else(|| unknown(name))?;
            let kind = config.proof.kind();
            let credential: Arc<Credential> = self
                .credentials()
                .service(name)
                .map_err(|fault| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, fault.to_string()))?;
            let mut lines: Vec<TestedLine> = Vec::new();
            let mut refused = false;
            for place in self.places(name, upstream)? {
                let Some(application) = (self.view)().upstreams.remove(&place) else { continue };
                let probed =
                    if refused { None } else { Some(Box::pin(probe(&application, &credential, kind)).await) };
                if let Some(probed) = &probed {
                    let unheard = matches!(probed.outcome, Outcome::Works | Outcome::Unreachable);
                    refused = kind == SecretKind::Password && !unheard;
                    self.note(name, probed.tokens.as_deref().unwrap_or_default()).await;
                }
                lines.push(self.tested(name, &place, &config.user, probed));
            }
            Ok(lines)
        })
    }

    fn remove<'a>(&'a self, name: &'a ServiceName) -> Answer<'a, RemovedLine> {
        Box::pin(async move {
            let place = self.listed(name).and_then(|listed| listed.config);
            let was_in_use = place.is_some_and(|config| *config.proof.place() == SecretPlace::Stored);
            let there = self.credentials().remove(&self.store, name).await;
            if !there.map_err(|fault| refused(SetFault::Store(fault)))? {
                let text = format!("the store holds no secret of a service “{name}”");
                return Err(Refused::new(StatusCode::NOT_FOUND, text)
                    .with_remedy("`outhaul-agent credential list` shows where each secret lies."));
            }
            Ok(RemovedLine { service: name.to_string(), was_in_use })
        })
    }
}

fn line(listed: Listed, now: u64) -> CredentialLine {
    let Listed { name, config, stored, fault } = listed;
    let place = config.as_ref().map(|config| config.proof.place().clone());
    let in_store = place.as_ref().is_none_or(|place| *place == SecretPlace::Stored);
    let expired = stored.and_then(|(_, _, expires)| expires).is_some_and(|expires| expires <= now);
    let note = match (&config, &stored) {
        (None, _) => Some(format!("not used: the configuration has no [service.{name}]")),
        _ if fault.is_some() => fault.clone(),
        (Some(_), Some(_)) if !in_store => Some("the store holds one too, which is not used".to_owned()),
        _ if in_store && expired => Some("it has expired".to_owned()),
        _ => None,
    };
    let kind = config.as_ref().map(|config| config.proof.kind()).or(stored.map(|(kind, _, _)| kind));
    CredentialLine {
        service: name.to_string(),
        user: config.as_ref().map(|config| config.user.clone()),
        kind: kind.map(|kind| kind.as_str().to_owned()),
        place: place.unwrap_or(SecretPlace::Stored).to_string(),
        set: stored.filter(|_| in_store).map(|(_, set, _)| seconds(set)),
        expires: stored.filter(|_| in_store).and_then(|(_, _, expires)| expires).map(seconds),
        usable: config.is_some() && fault.is_none() && !(in_store && expired),
        note,
    }
}

fn fetched_line(config: ClientCredentials) -> CredentialLine {
    CredentialLine {
        service: config.name.to_string(),
        user: Some(config.user),
        kind: Some(SecretKind::ClientSecret.as_str().to_owned()),
        place: config.client_secret.to_string(),
        set: None,
        expires: None,
        usable: true,
        note: Some(format!("tokens are fetched at {} as client {}", config.upstream, config.client_id)),
    }
}

fn unknown(name: &ServiceName) -> Refused {
    Refused::new(StatusCode::NOT_FOUND, SetFault::Unknown { name: name.clone() }.to_string())
}

fn refused(fault: SetFault) -> Refused {
    match fault {
        SetFault::Unknown { name } => unknown(&name),
        SetFault::Unfit { .. } => Refused::new(StatusCode::UNPROCESSABLE_ENTITY, fault.to_string()),
        SetFault::Store(fault) => super::store::refused(&fault),
    }
}

/// The key of a `[service.NAME]` table.
fn key(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::Pat => "pat",
        SecretKind::Password => "basic-password",
        SecretKind::ClientSecret => "client-secret",
    }
}

fn seconds(seconds: u64) -> String {
    stamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Thirty days: time to make a new token.
const SOON: u64 = 30 * 86_400;
