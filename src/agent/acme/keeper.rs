//! Keeps a valid certificate for each name: one task that orders, one at a time, whenever `renewal` says so.
//!
//! What could burn an authority's limits is written down before it happens: a try counts as failed, with the wait that
//! follows, until it has succeeded. So a crash anywhere, or a restart loop, is a failed try and no more; what an
//! order that was cut off leaves at the authority, the authority drops by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::certificate::Leaf;
use super::config::{Config, hmac_key};
use super::fault::Fault;
use super::http::Http;
use super::load::{KEEP_ORDERS, load, show};
use super::order::{Authority, NewOne};
use super::renewal::{DAY, HOUR, back_off, cap, heeded};
use super::report::{self, CertificatesReport};
use super::shown::Shown;
use super::state::{State, Step};
use crate::agent::audit::{Audit, Event, Record};
use crate::agent::store::tables::acme::{Account, Chain, Kept, TriesRow};
use crate::agent::store::{Store, StoreFault};
use crate::common::clock::Clock;
use crate::common::tasks::Tasks;
use crate::net::http_client::HttpClient;

/// The certificates by ACME of this agent. Cheap to clone.
#[derive(Clone)]
pub struct Acme(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) config: Config,
    pub(super) store: Store,
    audit: Audit,
    pub(super) clock: Clock,
    http: Http,
    shown: Arc<Shown>,
    state: Mutex<State>,
    pub(super) poke: Notify,
}

impl Acme {
    /// Reads what is kept, and shows the certificates that there are from now on. Connects to nothing.
    pub async fn load(
        config: Config,
        client: HttpClient,
        store: Store,
        audit: Audit,
        clock: Clock,
    ) -> Result<Self, StoreFault> {
        let shown = Arc::new(Shown::default());
        let now = clock.unix_seconds();
        let mut names = BTreeMap::new();
        for ordered in &config.names {
            let mut entry = load(&store, &ordered.name, now).await?;
            entry.customer = ordered.customer;
            show(&ordered.name, &mut entry, &shown);
            names.insert(ordered.name.clone(), entry);
        }
        let account = match store.acme_account(&config.directory).await {
            Ok(account) => account,
            Err(fault @ StoreFault::Seal { .. }) => {
                tracing::error!(%fault, "the key of the ACME account does not open; a new account will be made");
                None
            }
            Err(fault) => return Err(fault),
        };
        let account_tries = store.acme_tries(&config.directory, now).await?.0;
        let state = Mutex::new(State { account, account_tries, names });
        let http = Http::new(client, clock.clone());
        let poke = Notify::new();
        let inner = Inner { config, store, audit, clock, http, shown, state, poke };
        Ok(Self(Arc::new(inner)))
    }

    /// What to show in handshakes.
    pub fn shown(&self) -> Arc<Shown> {
        self.0.shown.clone()
    }

    /// Orders whatever is due, for as long as the tasks run. `ready` says whether an authority that comes for a name
    /// would reach this agent: before that an order would be in vain.
    pub fn start(&self, ready: impl Fn() -> bool + Send + Sync + 'static, tasks: &Tasks) {
        let (acme, group) = (self.clone(), tasks.clone());
        tasks.spawn("certificates", async move { acme.run(ready, group).await });
    }

    /// How it stands.
    pub fn report(&self) -> CertificatesReport {
        report::report(&self.0.lock(), &self.0.config, self.0.clock.unix_seconds())
    }

    async fn run(&self, ready: impl Fn() -> bool, tasks: Tasks) {
        loop {
            let now = self.0.clock.unix_seconds();
            let step = self.0.lock().step(now, &self.0.config.directory);
            let wait = match step {
                Step::Register => {
                    tokio::select! {
                        () = tasks.cancelled() => return,
                        () = Box::pin(self.0.register(now)) => {}
                    }
                    continue;
                }
                Step::Order(name) if ready() => {
                    tokio::select! {
                        () = tasks.cancelled() => return,
                        () = Box::pin(self.0.order(&name, now)) => {}
                    }
                    continue;
                }
                Step::Order(_) => READY_AGAIN,
                // The wall clock may be set meanwhile.
                Step::Wait(until) => Duration::from_secs(until.saturating_sub(now).max(1)).min(LOOK_AGAIN),
            };
            tokio::select! {
                () = tasks.cancelled() => return,
                () = self.0.poke.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authority(&self) -> Authority<'_> {
        Authority { http: &self.http, directory: &self.config.directory }
    }

    async fn register(&self, now: u64) {
        let directory = &self.config.directory;
        let mut tries = self.lock().account_tries.clone();
        let result = match self.begin(directory, &mut tries, DAY, now).await {
            Ok(()) => bounded(self.make_account(now)).await,
            Err(fault) => Err(fault.into()),
        };
        match result {
            Ok(account) => {
                tracing::info!(%directory, account = %account.uri, "the certificate authority made an account");
                let mut state = self.lock();
                state.account = Some(account);
                state.account_tries = TriesRow::default();
            }
            Err(fault) => {
                self.failed(directory, &mut tries, &fault, now).await;
                self.lock().account_failed(tries);
            }
        }
    }

    async fn make_account(&self, now: u64) -> Result<Account, Fault> {
        let external = self.config.external_account.as_ref();
        let hmac = external.map(hmac_key).transpose()?;
        let external = external.zip(hmac.as_ref()).map(|(external, key)| (external.key_id.as_str(), key));
        let new = NewOne { contact: &self.config.contact, external };
        let account = self.authority().register(&new, now).await?;
        self.store.keep_acme_account(&account).await?;
        self.store.set_acme_tries(&self.config.directory, &TriesRow::default()).await?;
        Ok(account)
    }

    async fn order(&self, name: &str, now: u64) {
        let (mut tries, held) = {
            let mut state = self.lock();
            let Some(entry) = state.names.get_mut(name) else { return };
            entry.under_way = true;
            (entry.tries.clone(), entry.held(&self.config.directory))
        };
        let result = match self.begin(name, &mut tries, cap(held), now).await {
            Ok(()) => bounded(self.obtain(name, now)).await,
            Err(fault) => Err(fault.into()),
        };
        match &result {
            Ok((kept, leaf)) => {
                tries = TriesRow::default();
                let (ends, pin) = (report::stamp(leaf.ends), &leaf.pin);
                tracing::info!(%name, issuer = %leaf.issuer, %ends, %pin, "a new certificate is in use");
                let detail =
                    format!("{name}: serial {}, by {}, until {ends}, key {pin}", leaf.serial, leaf.issuer);
                self.audit.note(&Record::new(Event::CertificateIssued).by("the agent").detail(&detail));
                if let (Some(chain), Err(fault)) = (
                    &kept.chain,
                    kept.chain.as_ref().map_or(Ok(()), |chain| self.shown.set(name, &chain.pem, &kept.key)),
                ) {
                    tracing::error!(%name, %fault, issued = chain.issued, "the new certificate can't be shown");
                }
            }
            Err(fault) => self.failed(name, &mut tries, fault, now).await,
        }
        let gone = matches!(&result, Err(fault) if fault.is_unknown_account());
        {
            let mut state = self.lock();
            if gone {
                state.account = None;
            }
            if let Some(entry) = state.names.get_mut(name) {
                if let Ok((kept, leaf)) = result {
                    entry.adopt(kept, leaf);
                }
                entry.tries = tries;
                entry.asked = false;
                entry.under_way = false;
                entry.ended += 1;
            }
        }
        if gone {
            tracing::warn!(
                "the certificate authority does not know the account any more; a new one is made, so the CAA lines change"
            );
            if let Err(fault) = self.store.forget_acme_account(&self.config.directory).await {
                tracing::error!(%fault, "the account is not forgotten");
            }
        }
    }

    async fn obtain(&self, name: &str, now: u64) -> Result<(Kept, Leaf), Fault> {
        let directory = &self.config.directory;
        let (account, key) = {
            let state = self.lock();
            let kept = state.names.get(name).and_then(|entry| entry.kept.as_ref().ok());
            let key = kept.map(|kept| kept.next_key.as_ref().unwrap_or(&kept.key).clone());
            (state.account.clone(), key)
        };
        let (Some(mut account), Some(key)) = (account, key) else {
            return Err(Fault::Local("the account or the key is gone".to_owned()));
        };
        let authority = self.authority();
        let opened = authority.open(&account).await?;
        if account.contact != self.config.contact {
            authority.tell_contact(&opened, &self.config.contact).await?;
            account.contact.clone_from(&self.config.contact);
            self.store.keep_acme_account(&account).await?;
            self.lock().account = Some(account);
        }
        self.store.note_acme_order(name, now, now.saturating_sub(KEEP_ORDERS)).await?;
        if let Some(entry) = self.lock().names.get_mut(name) {
            entry.orders.retain(|at| at.saturating_add(KEEP_ORDERS) > now);
            entry.orders.push(now);
        }
        tracing::info!(%name, %directory, "a certificate is ordered");
        let (pem, leaf) = authority.certificate(&opened, name, &key, &self.shown, now).await?;
        let chain = Chain { pem, directory: directory.clone(), issued: now };
        self.store.keep_acme_certificate(name, &key, &chain).await?;
        Ok((Kept { key, next_key: None, chain: Some(chain) }, leaf))
    }

    /// Counts the try as failed before it begins.
    async fn begin(&self, whose: &str, tries: &mut TriesRow, cap: u64, now: u64) -> Result<(), StoreFault> {
        tries.failures = tries.failures.saturating_add(1);
        tries.not_before = now + back_off(tries.failures, cap, rand::random());
        tries.error = Some("the agent stopped while it was tried".to_owned());
        tries.tried = now;
        self.store.set_acme_tries(whose, tries).await
    }

    async fn failed(&self, whose: &str, tries: &mut TriesRow, fault: &Fault, now: u64) {
        let action = fault.action(whose);
        if fault.is_unreachable() {
            // It was not even asked.
            tries.not_before = tries.not_before.min(now + back_off(tries.failures, HOUR, rand::random()));
        } else if fault.is_bad_nonce() && tries.failures < 4 {
            // Bad luck (RFC 8555 section 6.5), not a verdict.
            tries.not_before = now + 2;
        }
        tries.refused_until = heeded(fault.until(), now);
        tries.error = Some(format!("{fault}\n{action}"));
        let again = report::stamp(tries.not_before.max(tries.refused_until));
        tracing::error!(%whose, %fault, %action, failures = tries.failures, %again, "no new certificate");
        if let Err(fault) = self.store.set_acme_tries(whose, tries).await {
            tracing::error!(%fault, "what came of it is not in the store");
        }
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let done = tokio::time::timeout(WHOLE_TRY, Box::pin(work)).await;
    done.unwrap_or(Err(Fault::Slow(WHOLE_TRY.as_secs())))
}

/// The longest that a whole try takes.
const WHOLE_TRY: Duration = Duration::from_secs(300);
/// How soon to look again whether this agent can be reached.
const READY_AGAIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_secs(60);
