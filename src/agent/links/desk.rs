//! The caller's side: a link is asked for, and a code is brought back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::accounts::Accounts;
use super::asking::Asking;
use super::attempt::{self, LIFE, SKEW};
use super::config::Config;
use super::fault::{FinishFault, StartFault};
use super::record::Subject;
use super::secrets::{Code, Token};
use crate::agent::audit::{Audit, Event};
use crate::agent::mapping::{Account, Link, Linkable, Mappings};
use crate::agent::store::Store;
use crate::agent::store::tables::links::{LinkEnd, LinkKey, LinkLimits, LinkRow, LinkStage};
use crate::common::act_as::ActAs;
use crate::common::clock::Clock;
use crate::common::ids::{CallerName, LinkId, UpstreamName};
use crate::common::tasks::Tasks;

/// Where links are asked for and finished. Cheap to clone.
#[derive(Clone)]
pub struct LinkDesk(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
    pub(super) audit: Audit,
    pub(super) accounts: Box<dyn Accounts>,
    /// Without pages nobody links.
    pub(super) pages: Option<Config>,
    /// The attempts whose accounts this process is asking about now.
    pub(super) asking: Asking,
    /// When what ran out was ended last.
    swept: Mutex<Option<Instant>>,
}

/// What a caller asks for. That it may name this person was decided before.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Who asks.
    pub caller: CallerName,
    /// For whom.
    pub act_as: ActAs,
    /// At which application; may be left out where there is one.
    pub upstream: Option<UpstreamName>,
    /// What the person is called, for the page.
    pub display_name: Option<String>,
    /// Whether the caller's word holds against the relay.
    pub is_proved: bool,
}

/// A link that waits for its person.
#[derive(Debug, Clone)]
pub struct Started {
    /// What the person opens, once.
    pub url: String,
    /// Until when. Seconds since 1970.
    pub expires: u64,
    /// At which application.
    pub upstream: UpstreamName,
}

/// A link that is active.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The application.
    pub upstream: UpstreamName,
    /// The person.
    pub act_as: ActAs,
    /// The account that is theirs.
    pub account: Account,
}

impl LinkDesk {
    /// Opens the desk; without pages it refuses. Ends what runs out among these tasks.
    pub fn new(
        store: Store,
        audit: Audit,
        mappings: Mappings,
        pages: Option<Config>,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        Self::open(store, audit, Box::new(mappings), pages, clock, tasks)
    }

    pub(super) fn open(
        store: Store,
        audit: Audit,
        accounts: Box<dyn Accounts>,
        pages: Option<Config>,
        clock: Clock,
        tasks: &Tasks,
    ) -> Self {
        let asking = Asking::default();
        let desk = Self(Arc::new(Inner {
            store,
            clock,
            tasks: tasks.clone(),
            audit,
            accounts,
            pages,
            asking,
            swept: Mutex::default(),
        }));
        let (inner, group) = (Arc::downgrade(&desk.0), tasks.clone());
        tasks.spawn("sweep of links", async move { sweep(inner, group).await });
        desk
    }

    /// Makes a one-use address for a person. What that person had open before is over.
    pub async fn start(&self, wish: Wish) -> Result<Started, StartFault> {
        let pages = self.0.pages.as_ref().ok_or(StartFault::Off)?;
        if !wish.is_proved && !pages.accept_relay_trust {
            return Err(StartFault::Unproved);
        }
        let Linkable { upstream, .. } = self.application(wish.upstream)?;
        let url = Token::generate().map_err(|_| StartFault::Random)?;
        let now = self.0.clock.unix_seconds();
        let row = LinkRow {
            id: LinkId::generate(),
            caller: wish.caller,
            upstream: upstream.clone(),
            act_as: wish.act_as,
            display_name: wish.display_name.map(|name| plain(&name)).filter(|name| !name.is_empty()),
            stage: LinkStage::Open,
            created: now,
            url: url.hash(),
            browser: None,
            rounds: 0,
            consent: None,
            verifier: None,
            pending: None,
            code: None,
            confirmed: None,
            tries: 0,
        };
        let expires = attempt::expires(&row);
        let subject = Subject::of(&row);
        let replace = |row: &mut LinkRow| {
            attempt::end(row, LinkEnd::Replaced);
        };
        if !self.0.store.add_link(row.clone(), LIMITS, replace).await? {
            // Those whose time is over take no room. But every open row is read for that: a caller that has no room
            // can't have it done all the time.
            if !self.0.may_sweep() {
                return Err(StartFault::Full);
            }
            self.0.sweep().await?;
            if !self.0.store.add_link(row, LIMITS, replace).await? {
                return Err(StartFault::Full);
            }
        }
        subject.note(&self.0.audit, Event::LinkStarted, "");
        Ok(Started { url: format!("{}/link/{}", pages.url, url.expose().expose()), expires, upstream })
    }

    /// Takes the code that the person brought. The right one makes the link active; it is good once.
    pub async fn finish(
        &self,
        caller: &CallerName,
        act_as: &ActAs,
        code: &str,
        is_proved: bool,
    ) -> Result<Finished, FinishFault> {
        let pages = self.0.pages.as_ref().ok_or(FinishFault::Off)?;
        if !is_proved && !pages.accept_relay_trust {
            return Err(FinishFault::Unproved);
        }
        let code: Code = code.parse().map_err(|_| FinishFault::Unreadable)?;
        self.0.audit.check(false).map_err(FinishFault::Audit)?;
        let (inner, caller, act_as) = (Arc::clone(&self.0), caller.clone(), act_as.clone());
        // In a task of its own: a caller that leaves must not lose what is handed out once.
        let done = self.0.tasks.spawn_detached(async move { inner.finish(caller, act_as, code).await });
        done.await.unwrap_or(Err(FinishFault::Stopping))
    }

    /// The application that is meant.
    fn application(&self, named: Option<UpstreamName>) -> Result<Linkable, StartFault> {
        let mut all = self.0.accounts.applications();
        if let Some(name) = named {
            let found = all.into_iter().find(|application| application.upstream == name);
            return found.ok_or(StartFault::NoUpstream(name));
        }
        let several = all.len() > 1;
        match all.pop() {
            Some(only) if !several => Ok(only),
            _ => Err(StartFault::WhichUpstream),
        }
    }
}

impl Inner {
    async fn finish(&self, caller: CallerName, act_as: ActAs, code: Code) -> Result<Finished, FinishFault> {
        let (now, by) = (self.clock.unix_seconds(), caller.clone());
        let taken = self.store.change_link(LinkKey::Person(act_as.clone()), move |row| {
            let given = code.hash(row.id);
            (row.upstream.clone(), attempt::finish(row, &by, given, now))
        });
        // Of an attempt that is another caller's, this one learns nothing.
        let Some((upstream, taken)) = taken.await? else { return Err(FinishFault::NotOpen(None)) };
        let subject = Subject { caller, act_as, upstream };
        let pending = match taken {
            Ok(pending) => pending,
            Err(refusal) => {
                subject.note(&self.audit, Event::LinkRefused, refusal.word());
                return Err(FinishFault::of(refusal));
            }
        };
        let account = pending.account.clone();
        let link = Link {
            upstream: subject.upstream.clone(),
            act_as: subject.act_as.clone(),
            account: pending.account,
            secrets: pending.secrets,
            allow_shared: false,
        };
        if let Err(fault) = self.accounts.create(link).await {
            subject.note(&self.audit, Event::LinkRefused, "the mapping could not be made");
            return Err(FinishFault::Create(fault));
        }
        subject.created(&self.audit, &account).await;
        let Subject { act_as, upstream, .. } = subject;
        Ok(Finished { upstream, act_as, account })
    }

    /// Whether the last sweep is a while ago.
    fn may_sweep(&self) -> bool {
        let (swept, now) = (self.swept(), self.clock.now());
        swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_PAUSE)
    }

    fn swept(&self) -> MutexGuard<'_, Option<Instant>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what ran out.
    async fn sweep(&self) -> Result<(), StartFault> {
        *self.swept() = Some(self.clock.now());
        let now = self.clock.unix_seconds();
        let settle = move |row: &mut LinkRow| {
            let _ = attempt::settle(row, now);
        };
        let within = now.saturating_sub(LIFE.as_secs()) + 1..=now + SKEW;
        self.store.sweep_links(settle, within, now.saturating_sub(KEPT.as_secs())).await?;
        Ok(())
    }
}

async fn sweep(inner: Weak<Inner>, group: Tasks) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = group.cancelled() => return,
            _ = every.tick() => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        if let Err(fault) = inner.sweep().await {
            tracing::warn!(%fault, "links that ran out could not be ended; they can't be used in any case");
        }
    }
}

/// Text that can't turn the page's own words around, or hide in them.
fn plain(text: &str) -> String {
    let turns = |one: char| matches!(one, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}');
    let shown = text.chars().filter(|one| !one.is_control() && !turns(*one));
    shown.take(MAX_DISPLAY_NAME).collect::<String>().trim().to_owned()
}

const LIMITS: LinkLimits = LinkLimits { of_caller: 1000, open: 5000, kept: 20_000 };
const MAX_DISPLAY_NAME: usize = 100;
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// A caller that finds no room has it done not more often than this.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);
/// So long the page of an attempt that is over says what became of it.
const KEPT: Duration = Duration::from_secs(LIFE.as_secs() + 3600);
