//! From the store to a credential in use, and from an old pair of tokens to a new one.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::decide::{self, Next};
use super::keeper::PersonKeeper;
use super::people::{Ready, View};
use super::{Change, Inner, MappingFault};
use crate::agent::credentials::Credential;
use crate::agent::credentials::renewal::{self, Ends};
use crate::agent::credentials::tokens::within;
use crate::agent::store::tables::mappings::{Account, MappingRow, MappingState, Pair, Secrets};
use crate::common::secret::Secret;
use crate::common::tasks::Tasks;
use crate::identity::oauth::{Grant, Tokens};

type Usable = Result<Arc<Credential>, MappingFault>;

/// Renews the tokens of those who called of late, ahead of their end.
pub(super) async fn sweep(inner: Weak<Inner>, tasks: Tasks) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    loop {
        tokio::select! {
            () = tasks.cancelled() => return,
            _ = every.tick() => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        due(&inner);
    }
}

/// Starts the renewals that are due now.
pub(super) fn due(inner: &Arc<Inner>) {
    for site in inner.sites.load().values() {
        for (act_as, held) in site.people.due(inner.clock.now(), RECENT, AT_ONCE) {
            let change = Change { inner: Arc::clone(inner), site: Arc::clone(site), act_as, held };
            inner.tasks.spawn_detached(async move {
                if let Err(fault) = ready_ahead(change).await {
                    tracing::debug!(%fault, "a token was not renewed ahead of its end");
                }
            });
        }
    }
}

async fn ready_ahead(mut change: Change) -> Usable {
    renew(&mut change).await
}

/// For a call that has no usable credential in memory.
pub(super) async fn ready(mut change: Change) -> Usable {
    if matches!(&*change.held.person.view(), View::Unread) {
        load(&mut change).await?;
        if let Some(known) = change.held.person.usable(change.inner.clock.now()) {
            return known;
        }
    }
    renew(&mut change).await
}

/// Reads the mapping from the store and shows it. Whoever has none leaves the list.
pub(super) async fn load(change: &mut Change) -> Result<(MappingRow, Option<Secrets>), MappingFault> {
    let found = read(change).await?;
    if let (row, Some(secrets)) = &found {
        show(change, row.account.clone(), secrets);
    }
    Ok(found)
}

/// The same, but what is shown of a usable one stays as it is.
async fn read(change: &mut Change) -> Result<(MappingRow, Option<Secrets>), MappingFault> {
    let found = change.inner.store.mapping(&change.site.name, &change.act_as).await?;
    let Some((row, secrets)) = found else {
        change.site.people.retire(&change.act_as, &mut change.held);
        return Err(MappingFault::LinkRequired);
    };
    if secrets.is_none() {
        let reason = row.reason.as_deref().unwrap_or("no credential was stored").into();
        change.held.person.show(View::Fault(match row.state {
            MappingState::Suspended => MappingFault::Suspended(reason),
            MappingState::Active | MappingState::NeedsReauth => MappingFault::NeedsReauth(reason),
        }));
    }
    Ok((row, secrets))
}

/// From here on calls use these secrets.
pub(super) fn show(change: &mut Change, account: Account, secrets: &Secrets) {
    let (token, left) = match secrets {
        Secrets::Pat(token) => (token, None),
        Secrets::OAuth(pair) => {
            let left = pair.expires.saturating_sub(change.inner.clock.unix_seconds());
            (&pair.access, Some(Duration::from_secs(left)))
        }
    };
    let ends = left.map(|left| Ends::of(change.inner.clock.now(), left, rand::random()));
    let view = match Credential::bearer(&account.name, token) {
        Ok(credential) => {
            let credential = Arc::new(credential.of_account(&account.key).kept_by(PersonKeeper::of(change)));
            View::Ready(Ready { credential, account, ends })
        }
        // Nothing that was proved before it was stored.
        Err(unsendable) => View::Fault(MappingFault::NeedsReauth(unsendable.to_string().into())),
    };
    change.held.person.show(view);
}

/// Puts a new pair of tokens in the place of the old one, if the application gives one.
pub(super) async fn renew(change: &mut Change) -> Usable {
    let now = change.inner.clock.now();
    if let Some(not_before) = change.held.turn.not_before.filter(|not_before| now < *not_before) {
        return wait(change, not_before - now);
    }
    if let Some(pair) = change.held.turn.unsaved.take() {
        return save(change, pair).await;
    }
    let (row, Some(Secrets::OAuth(pair))) = read(change).await? else {
        // It was replaced meanwhile by what needs no renewal.
        load(change).await?;
        return usable(change);
    };
    let Some(refresh_token) = &pair.refresh else {
        return Err(end(
            change,
            MappingState::NeedsReauth,
            "its access token ran out, and Jira gave none to renew it",
        )
        .await);
    };
    let (site, at) = (Arc::clone(&change.site), change.inner.clock.unix_seconds());
    let no_link = "this application has no [upstream.NAME.oauth] at the agent any more";
    let result = match site.oauth.as_ref().ok_or(no_link).map(|oauth| (oauth, oauth.client.as_ref())) {
        Err(fault) => Next::Keep(fault.to_owned()),
        Ok((_, Err(fault))) => Next::Keep(fault.clone()),
        Ok((oauth, Ok(client))) => {
            let grant = Grant::RefreshToken { refresh_token, redirect_uri: &oauth.config.redirect_url };
            let form = grant.form(client);
            let answer = site.application.tokens(&oauth.config.token_path, form);
            decide::refreshed(within(PATIENCE, answer).await)
        }
    };
    match result {
        Next::Take(tokens) => {
            change.note(&row.account, "the access token was renewed");
            let pair = pair_of(tokens, pair.refresh, at);
            save(change, pair).await
        }
        Next::Keep(reason) => {
            change.note(&row.account, &format!("the access token could not be renewed: {reason}"));
            later(change, reason)
        }
        Next::Doubt(reason) => {
            let since = *change.held.turn.doubted.get_or_insert(now);
            if now.saturating_duration_since(since) >= decide::DOUBT
                && change.held.person.usable(now).is_none()
            {
                let reason = format!("Jira has refused to renew it for an hour: {reason}");
                return Err(end(change, MappingState::NeedsReauth, &reason).await);
            }
            change.note(&row.account, &format!("the access token could not be renewed: {reason}"));
            later(change, reason)
        }
        Next::End(reason) => Err(end(change, MappingState::NeedsReauth, &reason).await),
    }
}

/// The pair that an answer gave; `asked` is when it was asked for, in seconds since 1970.
pub(super) fn pair_of(tokens: Tokens, old: Option<Secret<String>>, asked: u64) -> Pair {
    let expires = asked.saturating_add(tokens.lifetime.as_secs());
    // A provider that sends none lets the old one stand (RFC 6749, section 6).
    Pair { access: tokens.access, refresh: tokens.refresh.or(old), expires, scope: tokens.scope }
}

/// A pair is used once it is on disk; until then it is kept in memory, since the old one is dead.
async fn save(change: &mut Change, pair: Pair) -> Usable {
    let at = change.inner.clock.unix_seconds();
    let stored = change.inner.store.renew_mapping(&change.site.name, &change.act_as, pair.clone(), at).await;
    match stored {
        Ok(_) => {
            let turn = &mut *change.held.turn;
            (turn.failures, turn.not_before, turn.why, turn.doubted) = (0, None, None, None);
            load(change).await?;
            usable(change)
        }
        Err(fault) => {
            tracing::error!(%fault, upstream = %change.site.name, "new tokens can't be stored, and are not used");
            change.held.turn.unsaved = Some(pair);
            expire(change);
            later(change, "the agent's store can't be written".to_owned())
        }
    }
}

/// A try failed, and the old pair may still be good.
fn later(change: &mut Change, reason: String) -> Usable {
    let now = change.inner.clock.now();
    let turn = &mut *change.held.turn;
    turn.failures = turn.failures.saturating_add(1);
    let pause = renewal::pause(turn.failures, rand::random());
    turn.not_before = Some(now + pause);
    tracing::warn!(upstream = %change.site.name, reason, failures = turn.failures, "an access token can't be renewed");
    turn.why = Some(reason);
    wait(change, pause)
}

fn wait(change: &Change, pause: Duration) -> Usable {
    if let Some(known) = change.held.person.usable(change.inner.clock.now()) {
        return known;
    }
    let why = change.held.turn.why.as_deref().unwrap_or("the last try failed");
    let seconds = u32::try_from(pause.as_secs().saturating_add(1)).unwrap_or(u32::MAX);
    Err(MappingFault::unavailable(why, seconds))
}

fn usable(change: &Change) -> Usable {
    let known = change.held.person.usable(change.inner.clock.now());
    known.unwrap_or_else(|| {
        Err(MappingFault::unavailable("the new token has run out already: check the clocks", 5))
    })
}

/// The access token is not used any more, whatever its life.
pub(super) fn expire(change: &mut Change) {
    if let View::Ready(ready) = &*change.held.person.view() {
        let now = change.inner.clock.now();
        let ends = Some(Ends { renew: now, stop: now });
        change.held.person.show(View::Ready(Ready { ends, ..ready.clone() }));
    }
}

/// Ends the mapping's use: its secrets are gone from the store, and from here on calls hear why.
pub(super) async fn end(change: &mut Change, state: MappingState, reason: &str) -> MappingFault {
    let at = change.inner.clock.unix_seconds();
    let (name, act_as) = (&change.site.name, &change.act_as);
    tracing::warn!(upstream = %name, provider = act_as.provider(), state = state.as_str(), reason, "a mapping can't be used any more");
    let fault = match state {
        MappingState::Suspended => MappingFault::Suspended(reason.into()),
        MappingState::Active | MappingState::NeedsReauth => MappingFault::NeedsReauth(reason.into()),
    };
    if let View::Ready(ready) = &*change.held.person.view() {
        change.note(&ready.account, &format!("{}: {reason}; its secrets are wiped", state.as_str()));
    }
    // First for the calls, since the store may take its time.
    change.held.person.show(View::Fault(fault.clone()));
    change.held.turn.unsaved = None;
    if let Err(fault) = change.inner.store.end_mapping(name, act_as, state, reason, at).await {
        tracing::error!(%fault, upstream = %name, "the end of a mapping can't be stored; it holds until the agent stops");
    }
    fault
}

/// So long a renewal may take. The person's lock is held meanwhile; but to give up on an answer that still comes costs
/// the grant, so this is as long as a call may wait for its first byte where nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(120);
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Whoever did not call for so long is not worth a request; the next call renews.
const RECENT: Duration = Duration::from_secs(30 * 60);
/// In one sweep, for each application.
const AT_ONCE: usize = 16;
