//! What an operator must look at.

use rusqlite::params;

use super::{Store, StoreFault, seconds, unsigned};
use crate::common::ids::AgentId;

/// What kinds there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlarmKind {
    /// Somebody connected with an agent's key and a stale join state: there are two copies of it.
    CloneSuspected,
    /// An agent's audit has fewer records than it had.
    AuditWentBack,
    /// An agent's audit has other records than it had.
    AuditRewritten,
}

impl AlarmKind {
    /// As in the store and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloneSuspected => "clone-suspected",
            Self::AuditWentBack => "audit-went-back",
            Self::AuditRewritten => "audit-rewritten",
        }
    }
}

/// One row: an agent and a kind, however often it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// About whom.
    pub agent: AgentId,
    /// About what.
    pub kind: String,
    /// Seconds since 1970.
    pub first_at: u64,
    /// Seconds since 1970.
    pub last_at: u64,
    /// How often.
    pub count: u64,
    /// More about the last time.
    pub detail: String,
}

impl Store {
    /// Raises an alarm, or counts one more on it.
    pub async fn raise_alarm(
        &self,
        agent: AgentId,
        kind: AlarmKind,
        detail: String,
        now: u64,
    ) -> Result<(), StoreFault> {
        self.call(move |connection| {
            connection.execute(
                "INSERT INTO alarms (agent, kind, first_at, last_at, count, detail)
                 VALUES (?1, ?2, ?3, ?3, 1, ?4)
                 ON CONFLICT (agent, kind) DO UPDATE
                 SET last_at = excluded.last_at, count = count + 1, detail = excluded.detail",
                params![agent.as_bytes(), kind.as_str(), seconds(now), detail],
            )?;
            Ok(())
        })
        .await
    }

    /// All alarms, the latest first.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, StoreFault> {
        self.call(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT agent, kind, first_at, last_at, count, detail FROM alarms ORDER BY last_at DESC",
            )?;
            let alarms = statement.query_map([], |row| {
                Ok(Alarm {
                    agent: AgentId::from_bytes(row.get(0)?),
                    kind: row.get(1)?,
                    first_at: unsigned(row.get(2)?),
                    last_at: unsigned(row.get(3)?),
                    count: unsigned(row.get(4)?),
                    detail: row.get(5)?,
                })
            })?;
            Ok(alarms.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The operator has looked at an agent's alarms.
    pub async fn clear_alarms(&self, agent: AgentId) -> Result<(), StoreFault> {
        self.call(move |connection| {
            connection.execute("DELETE FROM alarms WHERE agent = ?1", [agent.as_bytes()])?;
            Ok(())
        })
        .await
    }
}
