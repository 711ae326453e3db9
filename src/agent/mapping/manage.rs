//! Mappings made, listed and ended: by the link pages, by an administrator, by whoever learns that somebody left.

use std::time::Duration;

use super::renew::{end, load, show};
use super::{Account, ActAs, Busy, Change, MappingRow, MappingState, Mappings, Secrets};
use crate::agent::credentials::tokens::within;
use crate::agent::store::StoreFault;
use crate::agent::store::tables::mappings::{NewMapping, Stored};
use crate::common::ids::UpstreamName;
use crate::common::secret::Secret;

/// A mapping to be made. The account was proved with the secrets ([`Mappings::prove`]).
#[derive(Debug, Clone)]
pub struct Link {
    /// The application.
    pub upstream: UpstreamName,
    /// The person.
    pub act_as: ActAs,
    /// Their account.
    pub account: Account,
    /// Its credential.
    pub secrets: Secrets,
    /// Lets this person use an account to which another one is linked. An administrator's word only.
    pub allow_shared: bool,
}

/// Why a mapping can't be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateFault {
    /// There is no such application.
    #[error("there is no application “{0}”: it would be a table [upstream.{0}]")]
    NoUpstream(UpstreamName),
    /// Another person is linked to this account.
    #[error(
        "the account {name} is linked to {other} already, and one account is one person's: remove that link, or let \
         an administrator allow both"
    )]
    Taken {
        /// The account's name.
        name: String,
        /// The other person.
        other: ActAs,
    },
    /// An administrator's list says that the person is another account.
    #[error(
        "the account {name} is not the one that the administrator's list names for this person: log in to Jira as \
         {listed}, or let the administrator remove the link of the list first"
    )]
    OtherAccount {
        /// The account that was proved.
        name: String,
        /// The account of the list.
        listed: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
}

/// A mapping from a list, without a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The application.
    pub upstream: UpstreamName,
    /// The person.
    pub act_as: ActAs,
    /// Their account.
    pub account: Account,
}

/// Why a list can't be taken. Nothing of it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ImportFault {
    /// An application is not there.
    #[error("there is no application “{upstream}”: it would be a table [upstream.{upstream}]")]
    NoUpstream {
        /// Which of the list, from 0.
        index: usize,
        /// Its name.
        upstream: UpstreamName,
    },
    /// An account is another's.
    #[error("the account is linked to {other} already")]
    Taken {
        /// Which of the list, from 0.
        index: usize,
        /// The other person.
        other: ActAs,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl Mappings {
    /// Makes a mapping, or puts it in the place of the one that this person had. On return it is on disk and in use.
    pub async fn create(&self, link: Link) -> Result<MappingRow, CreateFault> {
        let site = self.site(&link.upstream).ok_or_else(|| CreateFault::NoUpstream(link.upstream.clone()))?;
        let act_as = link.act_as.clone();
        let made = self.alone(site, &act_as, |change| Box::pin(create(change, link)));
        made.await.unwrap_or_else(|busy| Err(busy.into()))
    }

    /// All mappings, without their secrets.
    pub async fn list(&self) -> Result<Vec<MappingRow>, StoreFault> {
        self.0.store.mappings().await
    }

    /// Takes a mapping away, and its secrets; tells the application where it has an endpoint for that. Gives what it
    /// was.
    pub async fn remove(
        &self,
        upstream: &UpstreamName,
        act_as: &ActAs,
    ) -> Result<Option<MappingRow>, StoreFault> {
        let Some(site) = self.site(upstream) else {
            // Of an application that is no longer configured.
            return Ok(self.0.store.remove_mapping(upstream, act_as).await?.map(|(row, _)| row));
        };
        let removed = self.alone(site, act_as, |change| Box::pin(remove(change)));
        removed.await.unwrap_or_else(|busy| Err(busy.into()))
    }

    /// Ends a mapping's use, and wipes its secrets; says whether it was there. For whoever learns by another way that
    /// a person left, or that their credential is not to be used any more.
    pub async fn end(
        &self,
        upstream: &UpstreamName,
        act_as: &ActAs,
        state: MappingState,
        reason: &str,
    ) -> Result<bool, StoreFault> {
        let Some(site) = self.site(upstream) else {
            let at = self.0.clock.unix_seconds();
            return self.0.store.end_mapping(upstream, act_as, state, reason, at).await;
        };
        let reason = reason.to_owned();
        let ended = self.alone(site, act_as, move |mut change| {
            Box::pin(async move {
                match load(&mut change).await {
                    Ok(_) => {
                        end(&mut change, state, &reason).await;
                        Ok(true)
                    }
                    Err(super::MappingFault::Store(fault)) => Err(fault),
                    Err(_) => Ok(false),
                }
            })
        });
        ended.await.unwrap_or_else(|busy| Err(busy.into()))
    }

    /// Takes those of a list whose person has no mapping yet, all or none; each waits for a credential. Gives how many
    /// were new.
    pub async fn import(&self, list: Vec<Import>, allow_shared: bool) -> Result<usize, ImportFault> {
        let at = self.0.clock.unix_seconds();
        let mut new = Vec::with_capacity(list.len());
        for (index, Import { upstream, act_as, account }) in list.into_iter().enumerate() {
            if self.site(&upstream).is_none() {
                return Err(ImportFault::NoUpstream { index, upstream });
            }
            let (secrets, reason) = (None, Some(IMPORTED.to_owned()));
            new.push(NewMapping { upstream, act_as, account, secrets, reason, shared: allow_shared, at });
        }
        let taken = |(index, other)| ImportFault::Taken { index, other };
        self.0.store.import_mappings(new).await?.map_err(taken)
    }
}

impl From<Busy> for StoreFault {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Stopping => Self::Closed,
            Busy::Held => Self::Overloaded,
        }
    }
}

impl From<Busy> for CreateFault {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Stopping => Self::Stopping,
            Busy::Held => StoreFault::Overloaded.into(),
        }
    }
}

async fn create(mut change: Change, link: Link) -> Result<MappingRow, CreateFault> {
    let Link { upstream, act_as, account, secrets, allow_shared } = link;
    let (name, key) = (account.name.clone(), account.key.clone());
    let new = NewMapping {
        upstream,
        act_as,
        account: account.clone(),
        secrets: Some(secrets.clone()),
        reason: None,
        shared: allow_shared,
        at: change.inner.clock.unix_seconds(),
    };
    let before = change.inner.store.mapping(&change.site.name, &change.act_as).await;
    if let Ok(Some((row, _))) = &before
        && row.reason.as_deref() == Some(IMPORTED)
        && row.account.key != key
    {
        return Err(CreateFault::OtherAccount { name, listed: row.account.name.clone() });
    }
    if let Stored::Taken(other) = change.inner.store.store_mapping(new).await? {
        return Err(CreateFault::Taken { name, other });
    }
    *change.held.turn = super::people::Turn::default();
    show(&mut change, account, &secrets);
    let row = load(&mut change).await;
    // A grant of the same account is left to run out: to revoke it could end the new one too.
    if let Ok(Some((before, Some(old)))) = before
        && before.account.key != key
    {
        revoke(&change, &before.account, &old).await;
    }
    match row {
        Ok((row, _)) => Ok(row),
        Err(super::MappingFault::Store(fault)) => Err(fault.into()),
        Err(_) => Err(CreateFault::Store(StoreFault::Corrupt("a mapping"))),
    }
}

async fn remove(mut change: Change) -> Result<Option<MappingRow>, StoreFault> {
    let removed = change.inner.store.remove_mapping(&change.site.name, &change.act_as).await?;
    change.site.people.retire(&change.act_as, &mut change.held);
    change.held.person.show(super::people::View::Fault(super::MappingFault::LinkRequired));
    let Some((row, secrets)) = removed else { return Ok(None) };
    if let Some(secrets) = secrets {
        revoke(&change, &row.account, &secrets).await;
    }
    Ok(Some(row))
}

/// Tells Jira that a grant is no longer wanted, where it can be told. The local copy is gone in any case.
async fn revoke(change: &Change, account: &Account, secrets: &Secrets) {
    let Some(oauth) = &change.site.oauth else { return };
    let (Secrets::OAuth(pair), Some(path), Ok(client)) = (secrets, &oauth.config.revoke_path, &oauth.client)
    else {
        return;
    };
    // The refresh token's end is the grant's (RFC 7009, section 2.1).
    let (token, hint) = match &pair.refresh {
        Some(refresh) => (refresh, "refresh_token"),
        None => (&pair.access, "access_token"),
    };
    let form: Secret<String> = crate::identity::oauth::revocation(client, token, hint);
    change.note(account, "the grant is given back at Jira");
    if let Err(fault) = within(REVOCATION, change.site.application.revoke(path, form)).await {
        tracing::warn!(upstream = %change.site.name, %fault, "Jira was not told that a grant is no longer wanted");
    }
}

/// The local copy is gone already, and whoever removed it waits.
const REVOCATION: Duration = Duration::from_secs(20);
const IMPORTED: &str = "it came from a list, and no credential yet";
