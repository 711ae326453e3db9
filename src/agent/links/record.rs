//! What the audit is told of links, and the log.

use crate::agent::audit::{As, Audit, Event, Facts, Record};
use crate::agent::mapping::Account;
use crate::agent::store::tables::links::LinkRow;
use crate::common::act_as::ActAs;
use crate::common::ids::{CallerName, UpstreamName};

/// Whose link it is, by whom, and where.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) caller: CallerName,
    pub(super) act_as: ActAs,
    pub(super) upstream: UpstreamName,
}

impl Subject {
    pub(super) fn of(row: &LinkRow) -> Self {
        Self { caller: row.caller.clone(), act_as: row.act_as.clone(), upstream: row.upstream.clone() }
    }

    /// That something happened to it.
    pub(super) fn note(&self, audit: &Audit, event: Event, detail: &str) {
        let Self { caller, act_as, upstream } = self;
        tracing::info!(%caller, %act_as, %upstream, detail, "{}", event.as_str());
        let record = Record::new(event).about(self.facts());
        audit.note(&if detail.is_empty() { record } else { record.detail(detail) });
    }

    /// That this account was proved, and nothing is linked yet.
    pub(super) fn proved(&self, audit: &Audit, account: &Account) {
        let Self { caller, act_as, upstream } = self;
        tracing::info!(%caller, %act_as, %upstream, account = %account.name, "{}", Event::LinkProved.as_str());
        audit.note(&Record::new(Event::LinkProved).about(self.with(account)));
    }

    /// That this account is linked. On disk when this returns, if that can be.
    pub(super) async fn created(&self, audit: &Audit, account: &Account) {
        let Self { caller, act_as, upstream } = self;
        tracing::info!(%caller, %act_as, %upstream, account = %account.name, "{}", Event::LinkCreated.as_str());
        if let Err(fault) = audit.intent(&Record::new(Event::LinkCreated).about(self.with(account))).await {
            tracing::error!(%fault, "that an account was linked could not be recorded");
        }
    }

    fn with<'a>(&'a self, account: &'a Account) -> Facts<'a> {
        Facts { identity: Some(As::User(&account.key)), jira_user: Some(&account.name), ..self.facts() }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            caller: Some(self.caller.as_str()),
            act_as: Some((self.act_as.provider(), self.act_as.subject())),
            upstream: Some(self.upstream.as_str()),
            ..Facts::default()
        }
    }
}
