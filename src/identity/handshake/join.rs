//! Join state: what tells an agent from its copy.
//!
//! At each connect the relay gives a new value, which counts once the agent has said that it is on disk. A crash
//! between the two leaves either the old or the new one at the agent, so the relay accepts both: the accepted one,
//! and the one that is pending. Whoever comes with an older one is a copy, or was restored from a backup.
//!
//! At enrolment the relay gives one state for every slot: it is pending for all of them, and each slot's first
//! connect shows it. A relay may keep hashes of the values, and put the hash of what is shown in its place.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::identity::encoded::{Encoded, RandomFault};

/// One join state of one tunnel slot.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Counts the connects.
    pub counter: u64,
    /// 32 random bytes.
    pub value: Encoded<32>,
}

impl Join {
    /// The first one, given at enrolment.
    pub fn first() -> Result<Self, RandomFault> {
        Ok(Self { counter: 1, value: Encoded::random()? })
    }

    fn is(&self, other: &Self) -> bool {
        let same_value: bool = self.value.0.ct_eq(&other.value.0).into();
        same_value && self.counter == other.counter
    }
}

/// The value lets one connect: it is not shown.
impl std::fmt::Debug for Join {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Join({})", self.counter)
    }
}

/// What the relay keeps for each slot of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JoinState {
    /// The one that the agent confirmed last.
    pub accepted: Option<Join>,
    /// The one that was sent and is not confirmed yet.
    pub pending: Option<Join>,
}

/// A connect without a current join state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloneFault {
    /// It shows an older state than the accepted one.
    #[error("the agent shows join state {shown}, but {current} was already given out")]
    Stale {
        /// What it shows.
        shown: u64,
        /// What counts.
        current: u64,
    },
    /// It shows one that was never given out, or none.
    #[error("the agent shows no join state that was ever given out")]
    Unknown,
}

impl JoinState {
    /// What a slot has right after enrolment.
    pub fn enrolled(first: Join) -> Self {
        Self { accepted: Some(first), pending: None }
    }

    /// Judges what a connect shows. If it is good: the state to store, durably, before WELCOME carries its
    /// pending part.
    pub fn admit(&self, shown: Option<Join>, fresh: Encoded<32>) -> Result<Self, CloneFault> {
        let shown = shown.ok_or(CloneFault::Unknown)?;
        let known = |state: &Option<Join>| state.is_some_and(|state| state.is(&shown));
        if !known(&self.accepted) && !known(&self.pending) {
            let current = self.counter();
            return Err(if shown.counter < current {
                CloneFault::Stale { shown: shown.counter, current }
            } else {
                CloneFault::Unknown
            });
        }
        // What the agent shows it has on disk; so the other of the two can come only from a copy.
        let counter = self.counter().saturating_add(1);
        Ok(Self { accepted: Some(shown), pending: Some(Join { counter, value: fresh }) })
    }

    /// The agent confirmed the one it was given: the state to store. `None` if a later connect has taken the slot
    /// meanwhile; then this one must end.
    pub fn confirmed(&self, given: &Join) -> Option<Self> {
        let current = self.pending.is_some_and(|pending| pending.is(given));
        current.then_some(Self { accepted: self.pending, pending: None })
    }

    fn counter(&self) -> u64 {
        let counter = |state: Option<Join>| state.map_or(0, |state| state.counter);
        counter(self.accepted).max(counter(self.pending))
    }
}
