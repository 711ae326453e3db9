//! What the admin socket may ask of the audit.

use http::StatusCode;

use super::store::refused;
use crate::agent::admin::Answer;
use crate::agent::admin::audit::{Action, AuditDesk, LookAsk};
use crate::agent::audit::{self, Audit, Look, Page, Query, Record};
use crate::agent::store::Store;
use crate::net::local::Refused;

/// The audit and where it lies.
pub struct AuditRoom {
    /// Records.
    pub audit: Audit,
    /// Where they are read.
    pub store: Store,
}

impl AuditDesk for AuditRoom {
    fn page(&self, query: Query) -> Answer<'_, Page> {
        Box::pin(async move {
            query.check().map_err(|text| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, text))?;
            self.settle().await;
            audit::page(&self.store, &query).await.map_err(|fault| refused(&fault))
        })
    }

    fn look(&self, ask: LookAsk) -> Answer<'_, Look> {
        Box::pin(async move {
            let look = if let Some(look) = ask.look {
                look
            } else {
                self.settle().await;
                audit::look(&self.store, ask.anchors.clone()).await.map_err(|fault| refused(&fault))?
            };
            audit::look_on(&self.store, look, ask.anchors).await.map_err(|fault| refused(&fault))
        })
    }

    fn record<'a>(&'a self, action: Action<'a>) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut record = Record::new(action.event).by(&action.by);
            record.facts.caller = action.caller;
            record.detail = action.detail.as_deref();
            if let Err(fault) = self.audit.intent(&record).await {
                let (event, by) = (action.event.as_str(), &action.by);
                tracing::error!(%fault, event, by, "an administrator's action is not in the audit");
            }
            Ok(())
        })
    }
}

impl AuditRoom {
    /// What was noted a moment ago is shown too; while nothing can be written, what is there is.
    async fn settle(&self) {
        if let Err(fault) = self.audit.flush().await {
            tracing::debug!(%fault, "the audit is read while its newest records are not written");
        }
    }
}
