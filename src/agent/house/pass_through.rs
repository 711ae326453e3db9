//! What there is to say about names whose callers' TLS ends here.

use std::time::{Duration, SystemTime};

use super::stamp;
use crate::agent::admin::pass_through::{NameStatus, PassThroughStatus};
use crate::agent::pass_through::{NameState, PassThrough};
use crate::agent::policy::Channel;

pub(super) fn status(passing: Option<&PassThrough>, now: SystemTime) -> PassThroughStatus {
    let Some(passing) = passing else { return PassThroughStatus::default() };
    let name = |state: NameState| {
        let ends = state.certificate_ends.and_then(|ends| u64::try_from(ends).ok());
        let ends = ends.map(|ends| SystemTime::UNIX_EPOCH + Duration::from_secs(ends));
        NameStatus {
            name: state.name.to_string(),
            level: if state.channel == Channel::CustomerName { "customer" } else { "operator" }.to_owned(),
            certificate_ends: ends.map(stamp),
            certificate_ends_soon: ends.is_some_and(|ends| ends <= now + SOON),
        }
    };
    let names = passing.names().into_iter().map(name).collect();
    PassThroughStatus { names, connections: passing.counters().open_now() }
}

/// A certificate should have been renewed by then.
const SOON: Duration = Duration::from_secs(10 * 24 * 3600);
