//! Who is whom, and with which credential: the people that calls are made for, and their accounts at the applications.
//!
//! [`Mappings::credential`] is what a call asks. Somebody who called of late costs one look-up in memory; others are
//! read from the store. Access tokens are renewed ahead of their end, by one request at a time for each person, and a
//! new pair is on disk before it is used. What the application says of a credential comes back by its
//! [`crate::agent::credentials::Keeper`]. Nobody ever gets another account instead.
//!
//! `agent::front` asks, the link pages and the admin socket make and end mappings. Decides nothing about what a call
//! may do.

mod config;
mod decide;
mod fault;
mod keeper;
mod link;
mod manage;
mod people;
mod renew;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use config::OAuthConfig;
pub use fault::MappingFault;
pub use link::{LinkFault, Linkable, ProveFault};
pub use manage::{CreateFault, Import, ImportFault, Link};

use people::{Held, People};

use crate::agent::audit::{As, Audit, Event, Facts, Record};
use crate::agent::credentials::Credential;
use crate::agent::credentials::application::{Answer, Application};
use crate::agent::store::Store;
pub use crate::agent::store::tables::mappings::{Account, MappingRow, MappingState, Pair, Secrets};
use crate::agent::upstream::Upstream;
pub use crate::common::act_as::{ActAs, ActAsFault};
use crate::common::clock::Clock;
pub use crate::common::ids::Provider;
use crate::common::ids::UpstreamName;
use crate::common::tasks::Tasks;
use crate::config::values::SecretRef;
use crate::identity::oauth::Client;

/// The mappings of all applications. Cheap to clone.
#[derive(Clone)]
pub struct Mappings(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    tasks: Tasks,
    sites: ArcSwap<HashMap<UpstreamName, Arc<Site>>>,
    audit: OnceLock<Audit>,
}

/// An application as a configuration names it: its name, what its addresses begin with, how to ask it, its link.
type Named = (UpstreamName, String, Box<dyn Application>, Option<OAuth>);

/// One application, as one configuration has it.
struct Site {
    name: UpstreamName,
    application: Box<dyn Application>,
    /// What its browser addresses begin with.
    base_url: String,
    oauth: Option<OAuth>,
    /// The same before and after a reload.
    people: Arc<People>,
}

struct OAuth {
    config: OAuthConfig,
    /// The secret may be missing while the agent runs.
    client: Result<Client, String>,
}

impl Mappings {
    /// Begins with no application; [`Mappings::configure`] names them. Renews what is due among these tasks.
    pub fn start(store: Store, clock: Clock, tasks: &Tasks) -> Self {
        let mappings = Self(Arc::new(Inner {
            store,
            clock,
            tasks: tasks.clone(),
            sites: ArcSwap::default(),
            audit: OnceLock::new(),
        }));
        let (inner, group) = (Arc::downgrade(&mappings.0), tasks.clone());
        tasks.spawn("renewal of tokens", async move { renew::sweep(inner, group).await });
        mappings
    }

    /// From here on each use of a secret, other than for a call, is recorded there.
    pub fn record_in(&self, audit: Audit) {
        // The first one stays: there is one audit.
        let _ = self.0.audit.set(audit);
    }

    /// Puts a configuration in force: the applications, and the link at each. Gives what can't be read; the rest works.
    pub fn configure(
        &self,
        upstreams: impl IntoIterator<Item = (Arc<Upstream>, Option<OAuthConfig>)>,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let sites = upstreams.into_iter().map(|(upstream, oauth)| {
            let name = upstream.config().name.clone();
            let base_url = upstream.config().base_url.to_string();
            let oauth = oauth.map(|config| OAuth::read(config, &name, &mut faults));
            (name, base_url, Box::new(upstream) as Box<dyn Application>, oauth)
        });
        let sites = sites.collect();
        self.set(sites);
        faults
    }

    fn set(&self, sites: Vec<Named>) {
        let old = self.0.sites.load();
        let site = |(name, base_url, application, oauth): (UpstreamName, String, _, _)| {
            if old.get(&name).is_some_and(|before| before.base_url != base_url) {
                // People stay: this may be the same Jira, and their tokens are good for one use, so none may be lost.
                tracing::warn!(
                    upstream = %name, base_url,
                    "the application has another base URL; the linked accounts stay in use. If it is another \
                     application, remove its links, or give it a name of its own"
                );
            }
            let people = old.get(&name).map_or_else(
                || Arc::new(People::new(self.0.clock.now(), MAX_PEOPLE)),
                |site| Arc::clone(&site.people),
            );
            (name.clone(), Arc::new(Site { name, application, base_url, oauth, people }))
        };
        let sites = sites.into_iter().map(site).collect();
        self.0.sites.store(Arc::new(sites));
    }

    /// The applications' names, in order.
    pub fn upstreams(&self) -> Vec<UpstreamName> {
        let mut names: Vec<UpstreamName> = self.0.sites.load().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// The files with secrets, to be watched.
    pub fn files(&self) -> Vec<PathBuf> {
        let file = |site: &Arc<Site>| match &site.oauth.as_ref()?.config.client_secret {
            SecretRef::File(path) => Some(path.clone()),
            SecretRef::Credential(_) => None,
        };
        self.0.sites.load().values().filter_map(file).collect()
    }

    /// The credential of this person at this application. Waits only where the store or the application must be
    /// asked, and for no longer than a call may.
    pub async fn credential(
        &self,
        upstream: &UpstreamName,
        act_as: &ActAs,
    ) -> Result<Arc<Credential>, MappingFault> {
        let warm = match self.0.sites.load().get(upstream) {
            Some(site) => site.people.look(act_as, self.0.clock.now()),
            None => Some(Err(MappingFault::LinkRequired)),
        };
        match warm {
            Some(known) => known,
            None => Box::pin(self.cold(upstream, act_as)).await,
        }
    }

    async fn cold(&self, upstream: &UpstreamName, act_as: &ActAs) -> Result<Arc<Credential>, MappingFault> {
        let site = self.site(upstream).ok_or(MappingFault::LinkRequired)?;
        let late = || MappingFault::unavailable("its renewal takes long", 2);
        let held = tokio::time::timeout(PATIENCE, site.people.hold(act_as, self.0.clock.now()));
        let held = held.await.map_err(|_| late())?;
        if let Some(known) = held.person.usable(self.0.clock.now()) {
            return known;
        }
        // In a task of its own: a caller that leaves must not cut a renewal off.
        let change = Change { inner: Arc::clone(&self.0), site, act_as: act_as.clone(), held };
        let ready = self.0.tasks.spawn_detached(async move { renew::ready(change).await });
        match tokio::time::timeout(PATIENCE, ready).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(MappingFault::unavailable("the agent is stopping", 2)),
            Err(_) => Err(late()),
        }
    }

    fn site(&self, upstream: &UpstreamName) -> Option<Arc<Site>> {
        self.0.sites.load().get(upstream).cloned()
    }

    /// Runs a change of one person's mapping to its end, alone, whatever becomes of whoever asked for it. It does not
    /// begin while others have the person's lock for too long.
    async fn alone<T: Send + 'static>(
        &self,
        site: Arc<Site>,
        act_as: &ActAs,
        change: impl FnOnce(Change) -> Answer<'static, T> + Send + 'static,
    ) -> Result<T, Busy> {
        let (inner, act_as) = (Arc::clone(&self.0), act_as.clone());
        let done = self.0.tasks.spawn_detached(async move {
            let held = tokio::time::timeout(TURN, site.people.hold(&act_as, inner.clock.now())).await;
            let held = held.map_err(|_| Busy::Held)?;
            Ok(change(Change { inner, site, act_as, held }).await)
        });
        done.await.unwrap_or(Err(Busy::Stopping))
    }
}

/// Why a change did not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Busy {
    /// The agent is stopping.
    Stopping,
    /// Others have the person's lock.
    Held,
}

/// What a change of one person's mapping works with; holds that person's lock.
struct Change {
    inner: Arc<Inner>,
    site: Arc<Site>,
    act_as: ActAs,
    held: Held,
}

impl Change {
    /// Notes a use of this person's secret.
    fn note(&self, account: &Account, words: &str) {
        self.inner.note(&self.site, words, Some((&self.act_as, account)));
    }
}

impl Inner {
    /// Notes a use of a secret: that of a person, or of the application link itself.
    fn note(&self, site: &Site, words: &str, whose: Option<(&ActAs, &Account)>) {
        let facts = Facts {
            act_as: whose.map(|(act_as, _)| (act_as.provider(), act_as.subject())),
            identity: whose.map(|(_, account)| As::User(&account.key)),
            jira_user: whose.map(|(_, account)| account.name.as_str()),
            upstream: Some(site.name.as_str()),
            ..Facts::default()
        };
        if let Some(audit) = self.audit.get() {
            audit.note(&Record::new(Event::SecretUsed).about(facts).detail(words));
        }
    }
}

impl OAuth {
    fn read(config: OAuthConfig, name: &UpstreamName, faults: &mut Vec<String>) -> Self {
        let client = match config.client_secret.read() {
            Ok(secret) => Ok(Client { id: config.client_id.clone(), secret }),
            Err(fault) => {
                faults.push(format!("[upstream.{name}.oauth] client-secret: {fault}"));
                Err("the secret of the application link can't be read at the agent".to_owned())
            }
        };
        Self { config, client }
    }
}

/// A call waits no longer for a credential.
const PATIENCE: Duration = Duration::from_secs(10);
/// A change waits no longer for a person's lock.
const TURN: Duration = Duration::from_secs(30);
/// So many people of each application are kept in memory.
const MAX_PEOPLE: usize = 10_000;
