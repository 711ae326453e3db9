//! What the application says of a person's credential while it is used.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::people::{Ready, View};
use super::renew::{end, expire, load, renew};
use super::{Answer, Change, Inner, Mappings, PATIENCE};
use crate::agent::credentials::myself::Myself;
use crate::agent::credentials::{Asked, Credential, Keeper, Refusal};
use crate::agent::store::tables::mappings::{MappingState, Secrets};
use crate::common::act_as::ActAs;
use crate::common::ids::UpstreamName;
use crate::common::problem::{Code, Problem};

/// Watches over one person's credential.
pub(super) struct PersonKeeper {
    mappings: Weak<Inner>,
    upstream: UpstreamName,
    act_as: ActAs,
}

impl PersonKeeper {
    pub(super) fn of(change: &Change) -> Arc<Self> {
        Arc::new(Self {
            mappings: Arc::downgrade(&change.inner),
            upstream: change.site.name.clone(),
            act_as: change.act_as.clone(),
        })
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Change) -> Answer<'static, T> + Send + 'static,
    ) -> Option<T> {
        let mappings = Mappings(self.mappings.upgrade()?);
        let site = mappings.site(&self.upstream)?;
        let asked = mappings.alone(site, &self.act_as, question);
        tokio::time::timeout(PATIENCE * 2, asked).await.ok()?.ok()
    }
}

impl Keeper for PersonKeeper {
    fn refused<'a>(&'a self, credential: &'a Credential) -> Asked<'a, Refusal> {
        let (used, key) = (credential.authorization().clone(), credential.key().map(str::to_owned));
        Box::pin(async move {
            let refused = move |change| -> Answer<'static, Refusal> {
                Box::pin(async move { refused(change, &used, key.as_deref()).await })
            };
            let said = self.ask(refused).await;
            said.unwrap_or(Refusal::Alive)
        })
    }

    fn other_name<'a>(&'a self, credential: &'a Credential) -> Asked<'a, Option<Arc<Credential>>> {
        let (user, key) = (credential.user().to_owned(), credential.key().map(str::to_owned));
        Box::pin(async move {
            let named = move |change| -> Answer<'static, Option<Arc<Credential>>> {
                Box::pin(async move { other_name(change, &user, key.as_deref()).await })
            };
            self.ask(named).await.flatten()
        })
    }
}

async fn refused(mut change: Change, used: &http::HeaderValue, key: Option<&str>) -> Refusal {
    let ready = match ready(&mut change).await {
        Ok(ready) => ready,
        Err(lost) => return lost,
    };
    // Sent again as this call, it would be made as one account and recorded as another.
    if key != Some(ready.account.key.as_str()) {
        return Refusal::Lost(Box::new(linked_anew()));
    }
    // Others were refused with it before, and it is dealt with.
    if ready.credential.authorization() != used {
        return Refusal::Renewed(ready.credential);
    }
    let now = change.inner.clock.now();
    if change.held.turn.alive.is_some_and(|when| now.saturating_duration_since(when) < HOLDS) {
        return Refusal::Alive;
    }
    let said = change.site.application.myself(used).await;
    change.note(&ready.account, "asked whose it is, after a refusal");
    match said {
        Myself::Is(account) if account.key == ready.account.key => {
            change.held.turn.alive = Some(change.inner.clock.now());
            Refusal::Alive
        }
        // The answer's own name is what tells that to the caller.
        Myself::Is(_) => Refusal::Alive,
        Myself::Unknown(reason) => {
            tracing::debug!(upstream = %change.site.name, reason, "a credential was refused, and `myself` says nothing");
            Refusal::Alive
        }
        Myself::SwitchedOff => lost(&end(&mut change, MappingState::Suspended, SWITCHED_OFF).await),
        Myself::Refused => match load(&mut change).await {
            Ok((_, Some(Secrets::OAuth(_)))) => {
                expire(&mut change);
                match renew(&mut change).await {
                    Ok(renewed) => taken(change, renewed).await,
                    Err(fault) => lost(&fault),
                }
            }
            Ok((_, Some(Secrets::Pat(_)))) => {
                let reason = "Jira no longer takes the personal access token: it was revoked or ran out";
                lost(&end(&mut change, MappingState::NeedsReauth, reason).await)
            }
            // It ended meanwhile.
            Ok(_) => match change.held.person.usable(change.inner.clock.now()) {
                Some(Err(fault)) => lost(&fault),
                _ => Refusal::Alive,
            },
            Err(fault) => lost(&fault),
        },
    }
}

/// Whether the application takes what its provider has just given. For an account that was switched off it may go on
/// giving tokens; without this look each call would renew them, and act as nobody where nobody may act.
async fn taken(mut change: Change, renewed: Arc<Credential>) -> Refusal {
    let said = change.site.application.myself(renewed.authorization()).await;
    let (state, reason) = match said {
        Myself::Refused => (
            MappingState::NeedsReauth,
            "Jira gave a new access token, and does not take it: the account may be switched off",
        ),
        Myself::SwitchedOff => (MappingState::Suspended, SWITCHED_OFF),
        Myself::Is(_) | Myself::Unknown(_) => return Refusal::Renewed(renewed),
    };
    lost(&end(&mut change, state, reason).await)
}

async fn other_name(mut change: Change, user: &str, key: Option<&str>) -> Option<Arc<Credential>> {
    let ready = ready(&mut change).await.ok()?;
    // Another account since, and not a new name of that one.
    if key != Some(ready.account.key.as_str()) {
        return None;
    }
    if ready.credential.user() != user {
        return Some(ready.credential);
    }
    let now = change.inner.clock.now();
    if change.held.turn.named.is_some_and(|when| now.saturating_duration_since(when) < HOLDS) {
        return None;
    }
    let said = change.site.application.myself(ready.credential.authorization()).await;
    change.note(&ready.account, "asked whose it is, after an answer in another name");
    let account = match said {
        Myself::Is(account) if account.key == ready.account.key => account,
        said => {
            tracing::warn!(upstream = %change.site.name, ?said, "a person's credential is not of the mapped account");
            return None;
        }
    };
    if account.name == ready.account.name {
        change.held.turn.named = Some(change.inner.clock.now());
        return None;
    }
    let at = change.inner.clock.unix_seconds();
    if let Err(fault) =
        change.inner.store.rename_mapping(&change.site.name, &change.act_as, &account, at).await
    {
        // It is found again after a restart.
        tracing::error!(%fault, "the new name of an account can't be stored");
    }
    tracing::info!(upstream = %change.site.name, provider = change.act_as.provider(), "an account has a new name");
    let credential = Arc::new(ready.credential.renamed(&account.name));
    let view = Ready { credential: Arc::clone(&credential), account, ends: ready.ends };
    change.held.person.show(View::Ready(view));
    Some(credential)
}

/// What calls use now. Somebody who was forgotten since the call began is read again.
async fn ready(change: &mut Change) -> Result<Ready, Refusal> {
    if matches!(&*change.held.person.view(), View::Unread) {
        load(change).await.map_err(|fault| lost(&fault))?;
    }
    match &*change.held.person.view() {
        View::Ready(ready) => Ok(ready.clone()),
        View::Fault(fault) => Err(lost(fault)),
        View::Unread => Err(Refusal::Alive),
    }
}

fn linked_anew() -> Problem {
    Problem::new(
        Code::CredentialRenewed,
        "While the call was made, another account was linked to this person, and the application refused the call with \
         the credential of the account before. Send the call again: it is made as the new one.",
    )
}

fn lost(fault: &super::MappingFault) -> Refusal {
    Refusal::Lost(Box::new(fault.problem()))
}

/// How long an answer of `myself` holds.
const HOLDS: Duration = Duration::from_secs(30);
const SWITCHED_OFF: &str = "Jira says that the account is switched off, or may not log in any more";
