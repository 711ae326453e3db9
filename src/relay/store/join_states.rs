//! What tells an agent from a copy of it: a counter and a random value for each slot, renewed at each connect.
//!
//! The relay writes the next state as *pending* before it tells the agent, and makes it *accepted* when the agent
//! has confirmed that it holds it. An agent that was cut off in between shows one of the two; a copy shows neither.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, StoreFault, seconds, unsigned};
use crate::common::ids::AgentId;

/// A join state as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinMark {
    /// Rises by one at each connect.
    pub counter: u64,
    /// SHA-256 of the random value.
    pub hash: [u8; 32],
}

/// Both states of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JoinState {
    /// The agent confirmed this one.
    pub accepted: Option<JoinMark>,
    /// The relay sent this one and heard no confirmation yet.
    pub pending: Option<JoinMark>,
}

impl Store {
    /// The state of a slot; empty for a slot that never connected.
    pub async fn join_state(&self, agent: AgentId, slot: u8) -> Result<JoinState, StoreFault> {
        self.call(move |connection| find(connection, agent, slot)).await
    }

    /// Writes the next state of a slot. On return it is durable.
    pub async fn set_pending(&self, agent: AgentId, slot: u8, mark: JoinMark) -> Result<(), StoreFault> {
        self.call(move |connection| set_pending(connection, agent, slot, mark)).await
    }

    /// The agent holds the pending state: it is the accepted one now. `false` if another connect was faster.
    pub async fn accept_pending(&self, agent: AgentId, slot: u8, mark: JoinMark) -> Result<bool, StoreFault> {
        self.call(move |connection| {
            let rows = connection
                .prepare_cached(
                    "UPDATE join_states
                     SET accepted_counter = pending_counter, accepted_hash = pending_hash,
                         pending_counter = NULL, pending_hash = NULL
                     WHERE agent = ?1 AND slot = ?2 AND pending_counter = ?3 AND pending_hash = ?4",
                )?
                .execute(params![agent.as_bytes(), slot, seconds(mark.counter), mark.hash])?;
            Ok(rows == 1)
        })
        .await
    }
}

pub(super) fn set_pending(
    connection: &Connection,
    agent: AgentId,
    slot: u8,
    mark: JoinMark,
) -> Result<(), StoreFault> {
    connection
        .prepare_cached(
            "INSERT INTO join_states (agent, slot, pending_counter, pending_hash) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (agent, slot) DO UPDATE
             SET pending_counter = excluded.pending_counter, pending_hash = excluded.pending_hash",
        )?
        .execute(params![agent.as_bytes(), slot, seconds(mark.counter), mark.hash])?;
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

fn find(connection: &Connection, agent: AgentId, slot: u8) -> Result<JoinState, StoreFault> {
    let mark = |counter: Option<i64>, hash: Option<[u8; 32]>| {
        Some(JoinMark { counter: unsigned(counter?), hash: hash? })
    };
    let state = connection
        .prepare_cached(
            "SELECT accepted_counter, accepted_hash, pending_counter, pending_hash
             FROM join_states WHERE agent = ?1 AND slot = ?2",
        )?
        .query_row(params![agent.as_bytes(), slot], |row| {
            Ok(JoinState {
                accepted: mark(row.get(0)?, row.get(1)?),
                pending: mark(row.get(2)?, row.get(3)?),
            })
        })
        .optional()?;
    Ok(state.unwrap_or_default())
}
