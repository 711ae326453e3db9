//! What tells an agent from a copy of it ([`crate::identity::handshake::join`]), for each slot.
//!
//! The values are kept hashed, so that a stolen store lets nobody connect: the caller hashes what an agent shows
//! and what it gives out, and the rules hold for hashes as for values.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, StoreFault, seconds, unsigned};
use crate::common::ids::AgentId;
use crate::identity::encoded::Encoded;
use crate::identity::handshake::join::{CloneFault, Join, JoinState};
use crate::identity::handshake::messages::SLOTS;

impl Store {
    /// Judges what a connect shows. If it is good, the next state is pending, durably, and is given.
    pub async fn admit(
        &self,
        agent: AgentId,
        slot: u8,
        shown: Option<Join>,
        fresh: Encoded<32>,
    ) -> Result<Result<Join, CloneFault>, StoreFault> {
        self.call(move |connection| {
            let state = match find(connection, agent, slot)?.admit(shown, fresh) {
                Ok(state) => state,
                Err(fault) => return Ok(Err(fault)),
            };
            write(connection, agent, slot, &state)?;
            Ok(state.pending.ok_or(CloneFault::Unknown))
        })
        .await
    }

    /// The agent holds the state it was given: it is the accepted one now. `false` if a later connect of the slot
    /// was given another meanwhile.
    pub async fn confirm(&self, agent: AgentId, slot: u8, given: Join) -> Result<bool, StoreFault> {
        self.call(move |connection| {
            let Some(state) = find(connection, agent, slot)?.confirmed(&given) else { return Ok(false) };
            write(connection, agent, slot, &state)?;
            Ok(true)
        })
        .await
    }

    /// The agent holds the state it was given at enrolment, in every slot.
    pub async fn confirm_enrolment(&self, agent: AgentId, given: Join) -> Result<bool, StoreFault> {
        self.call(move |connection| {
            for slot in 0..SLOTS {
                let Some(state) = find(connection, agent, slot)?.confirmed(&given) else { return Ok(false) };
                write(connection, agent, slot, &state)?;
            }
            Ok(true)
        })
        .await
    }
}

/// Makes the first state pending in every slot.
pub(super) fn begin(connection: &Connection, agent: AgentId, first: Join) -> Result<(), StoreFault> {
    for slot in 0..SLOTS {
        write(connection, agent, slot, &JoinState { accepted: None, pending: Some(first) })?;
    }
    Ok(())
}

/// Whether the agent ever confirmed a state, on any slot.
pub(super) fn ever_accepted(connection: &Connection, agent: AgentId) -> Result<bool, StoreFault> {
    Ok(connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM join_states WHERE agent = ?1 AND accepted_hash IS NOT NULL)",
        [agent.as_bytes()],
        |row| row.get(0),
    )?)
}

fn write(connection: &Connection, agent: AgentId, slot: u8, state: &JoinState) -> Result<(), StoreFault> {
    let counter = |join: Option<Join>| join.map(|join| seconds(join.counter));
    let hash = |join: Option<Join>| join.map(|join| join.value.0);
    connection
        .prepare_cached(
            "INSERT INTO join_states
                 (agent, slot, accepted_counter, accepted_hash, pending_counter, pending_hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (agent, slot) DO UPDATE SET
                 accepted_counter = excluded.accepted_counter, accepted_hash = excluded.accepted_hash,
                 pending_counter = excluded.pending_counter, pending_hash = excluded.pending_hash",
        )?
        .execute(params![
            agent.as_bytes(),
            slot,
            counter(state.accepted),
            hash(state.accepted),
            counter(state.pending),
            hash(state.pending)
        ])?;
    Ok(())
}

fn find(connection: &Connection, agent: AgentId, slot: u8) -> Result<JoinState, StoreFault> {
    let join = |counter: Option<i64>, hash: Option<[u8; 32]>| {
        Some(Join { counter: unsigned(counter?), value: Encoded(hash?) })
    };
    let state = connection
        .prepare_cached(
            "SELECT accepted_counter, accepted_hash, pending_counter, pending_hash
             FROM join_states WHERE agent = ?1 AND slot = ?2",
        )?
        .query_row(params![agent.as_bytes(), slot], |row| {
            Ok(JoinState {
                accepted: join(row.get(0)?, row.get(1)?),
                pending: join(row.get(2)?, row.get(3)?),
            })
        })
        .optional()?;
    Ok(state.unwrap_or_default())
}
