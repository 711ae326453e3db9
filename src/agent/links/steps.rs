//! The person's side: what a browser does with an attempt.

use std::future::Future;
use std::sync::Arc;

use super::asking::Asked;
use super::attempt::{self, Refusal};
use super::desk::{Inner, LinkDesk};
use super::record::Subject;
use super::secrets::{Code, Token};
use crate::agent::audit::Event;
use crate::agent::mapping::{LinkFault, Linkable, ProveFault, Secrets};
use crate::agent::store::StoreFault;
use crate::agent::store::tables::links::{LinkKey, LinkRow, Pending};
use crate::common::ids::{LinkId, UpstreamName};
use crate::common::secret::Secret;
use crate::identity::oauth::Verifier;

/// Why a browser is shown a page of refusal.
#[derive(Debug, Clone)]
pub(super) enum StepFault {
    /// There is no such attempt, or none any more.
    Unknown,
    /// The step is not to be taken.
    Refused(Refusal),
    /// No account was proved; the person may try again at this attempt.
    Unproved(LinkId, Unproved),
    /// The form was not made by a page of ours for this browser.
    Forged,
    /// The store, or the system.
    Broken(String),
}

/// Why no account was proved.
#[derive(Debug, Clone)]
pub(super) enum Unproved {
    /// The person said no at the application, or it did.
    Denied(String),
    /// The application gave no tokens.
    Link(LinkFault),
    /// It did not say whose they are.
    Prove(ProveFault),
}

/// What a browser came back with from the application.
#[derive(Debug)]
pub(super) enum Returned {
    /// A code.
    Code(Secret<String>),
    /// Its word for no.
    Denied(String),
}

type Step<T> = Result<T, StepFault>;

impl LinkDesk {
    /// An attempt as this browser may see it. Changes nothing.
    pub(super) async fn look(&self, which: LinkKey, browser: Option<&Token>) -> Step<LinkRow> {
        // The id of an attempt is no secret: by it only the browser that began gets in.
        let by_id = matches!(which, LinkKey::Id(_));
        let mut row = self.0.store.link(which).await?.ok_or(StepFault::Unknown)?;
        let now = self.0.clock.unix_seconds();
        let browser = browser.map(Token::hash);
        attempt::look(&mut row, browser, now)?;
        if by_id && row.browser.is_none() { Err(Refusal::OtherBrowser.into()) } else { Ok(row) }
    }

    /// The application of an attempt, if it is still there.
    pub(super) fn application_of(&self, row: &LinkRow) -> Option<Linkable> {
        self.0.accounts.applications().into_iter().find(|application| application.upstream == row.upstream)
    }

    /// Whether an account of this attempt is asked for at this moment.
    pub(super) fn is_asking(&self, row: &LinkRow) -> bool {
        self.0.asking.is_under_way(row.id)
    }

    /// The person goes to consent: where to.
    pub(super) async fn consent(&self, row: &LinkRow, browser: &Token) -> Step<String> {
        let verifier = Verifier::generate().map_err(broken)?;
        let state = Token::generate().map_err(broken)?;
        let (browser, hash) = (browser.hash(), state.hash());
        let kept = Secret::new(verifier.expose().to_owned());
        // First of all the attempt is this browser's: a page of refusal leads back to it.
        self.change(row.id, move |row, now| attempt::consent(row, browser, hash, kept, now)).await?;
        let url =
            self.0.accounts.authorization_url(&row.upstream, state.expose().expose(), verifier.challenge());
        url.map_err(|fault| StepFault::Unproved(row.id, Unproved::Link(fault)))
    }

    /// The person has pasted a token.
    pub(super) async fn paste(&self, row: &LinkRow, browser: &Token, token: Secret<String>) -> Step<()> {
        let hash = browser.hash();
        let asked = self.0.asking.begin(row.id);
        let round = self.change(row.id, move |row, now| attempt::paste(row, hash, now)).await?;
        let (inner, upstream) = (Arc::clone(&self.0), row.upstream.clone());
        let proof = Proof { inner, id: row.id, round, upstream, _asked: asked };
        self.aside(async move { proof.prove(Secrets::Pat(token)).await }).await
    }

    /// A browser has come back from the application with this state. Gives the attempt.
    pub(super) async fn returned(
        &self,
        state: &Token,
        browser: Option<&Token>,
        with: Returned,
    ) -> Step<LinkId> {
        let (browser, now) = (browser.map(Token::hash), self.0.clock.unix_seconds());
        let step = move |row: &mut LinkRow| (row.id, Subject::of(row), attempt::returned(row, browser, now));
        let taken = self.0.store.change_link(LinkKey::Consent(state.hash()), step).await?;
        let (id, subject, taken) = taken.ok_or(StepFault::Unknown)?;
        let (verifier, round) = taken.inspect_err(|refusal| {
            subject.note(&self.0.audit, Event::LinkRefused, refusal.word());
        })?;
        let (inner, upstream, asked) = (Arc::clone(&self.0), subject.upstream, self.0.asking.begin(id));
        let proof = Proof { inner, id, round, upstream, _asked: asked };
        // In a task of its own: the code is good once, and a browser that leaves must not lose what came of it.
        self.aside(async move {
            match with {
                Returned::Code(code) => proof.redeem(code, &verifier).await,
                Returned::Denied(word) => proof.fail(Unproved::Denied(word)).await,
            }
        })
        .await?;
        Ok(id)
    }

    /// The person says yes: what to give back through the caller.
    pub(super) async fn confirm(&self, row: &LinkRow, browser: &Token) -> Step<Code> {
        let code = Code::generate().map_err(broken)?;
        let (browser, hash) = (browser.hash(), code.hash(row.id));
        self.change(row.id, move |row, now| attempt::confirm(row, browser, hash, now)).await?;
        Ok(code)
    }

    /// The person says no.
    pub(super) async fn cancel(&self, row: &LinkRow, browser: &Token) -> Step<()> {
        let browser = browser.hash();
        self.change(row.id, move |row, now| attempt::cancel(row, browser, now)).await?;
        Subject::of(row).note(&self.0.audit, Event::LinkRefused, "cancelled");
        Ok(())
    }

    async fn change<T: Send + 'static>(
        &self,
        id: LinkId,
        step: impl FnOnce(&mut LinkRow, u64) -> Result<T, Refusal> + Send + 'static,
    ) -> Step<T> {
        self.0.change(id, step).await
    }

    async fn aside<T: Send + 'static>(
        &self,
        step: impl Future<Output = Step<T>> + Send + 'static,
    ) -> Step<T> {
        let done = self.0.tasks.spawn_detached(step);
        done.await.unwrap_or_else(|_| Err(StepFault::Broken("the agent is stopping".to_owned())))
    }
}

impl Inner {
    async fn change<T: Send + 'static>(
        &self,
        id: LinkId,
        step: impl FnOnce(&mut LinkRow, u64) -> Result<T, Refusal> + Send + 'static,
    ) -> Step<T> {
        let now = self.clock.unix_seconds();
        let changed = self.store.change_link(LinkKey::Id(id), move |row| step(row, now)).await?;
        Ok(changed.ok_or(StepFault::Unknown)??)
    }
}

/// One round of an attempt, in which an account is to be proved.
struct Proof {
    inner: Arc<Inner>,
    id: LinkId,
    round: u32,
    upstream: UpstreamName,
    _asked: Asked,
}

impl Proof {
    async fn redeem(self, code: Secret<String>, verifier: &Secret<String>) -> Step<()> {
        let Some(verifier) = Verifier::parse(verifier.expose()) else {
            return Err(StepFault::Broken("the proof key that was kept is none".to_owned()));
        };
        match self.inner.accounts.redeem(&self.upstream, code.expose(), &verifier).await {
            Ok(secrets) => self.prove(secrets).await,
            Err(fault) => self.fail(Unproved::Link(fault)).await,
        }
    }

    async fn prove(self, secrets: Secrets) -> Step<()> {
        match self.inner.accounts.prove(&self.upstream, &secrets).await {
            Ok(account) => {
                let (round, pending) = (self.round, Pending { account: account.clone(), secrets });
                let step = move |row: &mut LinkRow, now| {
                    attempt::proved(row, round, pending, now).map(|()| Subject::of(row))
                };
                let subject = self.inner.change(self.id, step).await?;
                subject.proved(&self.inner.audit, &account);
                Ok(())
            }
            Err(fault) => self.fail(Unproved::Prove(fault)).await,
        }
    }

    async fn fail(self, why: Unproved) -> Step<()> {
        tracing::info!(upstream = %self.upstream, %why, "a person proved no account");
        let round = self.round;
        self.inner.change(self.id, move |row, now| attempt::failed(row, round, now)).await?;
        Err(StepFault::Unproved(self.id, why))
    }
}

impl std::fmt::Display for Unproved {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied(word) => write!(formatter, "the application sent the person back with “{word}”"),
            Self::Link(fault) => fault.fmt(formatter),
            Self::Prove(fault) => fault.fmt(formatter),
        }
    }
}

impl From<Refusal> for StepFault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreFault> for StepFault {
    fn from(fault: StoreFault) -> Self {
        tracing::error!(%fault, "a link can't be read or stored");
        Self::Broken("the agent can't use its store".to_owned())
    }
}

fn broken(fault: impl std::fmt::Display) -> StepFault {
    StepFault::Broken(fault.to_string())
}
