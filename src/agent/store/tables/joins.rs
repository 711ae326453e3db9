//! What tells this agent from a copy of it ([`crate::identity::handshake::join`]), for each tunnel slot.

use rusqlite::{OptionalExtension as _, params};

use crate::agent::store::{Place, Session, Store, StoreFault, row_id};
use crate::common::ids::AgentId;
use crate::identity::encoded::Encoded;
use crate::identity::handshake::join::Join;
use crate::sqlite::{signed, unsigned};

pub(in crate::agent::store) const VALUE: Place = Place { table: "joins", column: "value" };

impl Store {
    /// The join state of a slot.
    pub async fn join(&self, agent: AgentId, slot: u8) -> Result<Option<Join>, StoreFault> {
        self.call(move |session| {
            let found: Option<(i64, Vec<u8>)> = session
                .connection()
                .prepare_cached("SELECT counter, value FROM joins WHERE agent = ?1 AND slot = ?2")?
                .query_row(params![agent.as_bytes(), slot], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((counter, sealed)) = found else { return Ok(None) };
            let value = session.open(VALUE, &row(agent, slot), &sealed)?;
            let value =
                Encoded::from_slice(value.expose()).map_err(|_| StoreFault::Corrupt("a join state"))?;
            Ok(Some(Join { counter: unsigned(counter), value }))
        })
        .await
    }

    /// Stores the join state of a slot.
    pub async fn store_join(&self, agent: AgentId, slot: u8, join: Join) -> Result<(), StoreFault> {
        self.call(move |session| write(session, agent, slot, join)).await
    }
}

pub(super) fn write(session: &Session<'_>, agent: AgentId, slot: u8, join: Join) -> Result<(), StoreFault> {
    let sealed = session.seal(VALUE, &row(agent, slot), &join.value.0)?;
    session
        .connection()
        .prepare_cached(
            "INSERT INTO joins (agent, slot, counter, value) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (agent, slot) DO UPDATE SET counter = excluded.counter, value = excluded.value",
        )?
        .execute(params![agent.as_bytes(), slot, signed(join.counter), sealed])?;
    Ok(())
}

fn row(agent: AgentId, slot: u8) -> Vec<u8> {
    row_id(&[agent.as_bytes(), slot.to_string().as_bytes()])
}
