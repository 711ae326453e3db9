//! A call between its beginning and its end.

use std::time::Instant;

use super::fault::AuditFault;
use super::handle::Audit;
use super::record::{Answered, Ended, Event, Prepared};
use crate::common::problem::Problem;

/// Follows a call; its result is recorded when this is dropped, with what [`UnderWay::ended`] says by then. So a call
/// whose caller went away is recorded too.
#[derive(Debug)]
pub struct UnderWay {
    audit: Audit,
    facts: Prepared,
    event: Event,
    began: Instant,
    /// What has come of it so far.
    pub ended: Ended,
}

impl UnderWay {
    pub(super) fn new(audit: Audit, facts: Prepared) -> Self {
        let began = audit.0.clock.now();
        Self { audit, facts, event: Event::Call, began, ended: Ended::default() }
    }

    /// Records that an unsafe call is about to leave; once it gives `Ok`, that is on disk.
    pub async fn intent(&self) -> Result<(), AuditFault> {
        self.audit.intent_prepared(&self.facts).await
    }

    /// Whether a call that changes nothing may be made while its result can't be written.
    pub fn check(&self) -> Result<(), AuditFault> {
        self.audit.check(true)
    }

    /// It ends with a refusal of ours.
    pub fn refused(&mut self, problem: &Problem) {
        self.ended.result = Some(Answered::Problem(problem.code));
        self.ended.outcome = Some(problem.outcome);
    }

    /// It ends with a refusal of ours, and nothing was tried: recorded as `refused`, not as a call.
    pub fn not_made(mut self, problem: &Problem) {
        self.event = Event::Refused;
        self.refused(problem);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let took = self.audit.0.clock.now().saturating_duration_since(self.began);
        self.ended.took.get_or_insert(took);
        self.audit.note_prepared(self.event, &self.facts, &self.ended);
    }
}
