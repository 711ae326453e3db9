//! The agents that are known, and those that were revoked.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{Store, StoreFault, seconds, unsigned};
use crate::common::ids::{AgentId, SiteName};

/// Whether an agent takes a site's calls, or stands by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Takes all calls.
    Active,
    /// Takes calls for stateless upstreams while the active one is away.
    Standby,
}

impl Role {
    /// As in the store and in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
        }
    }

    pub(super) fn read(text: &str) -> Result<Self, StoreFault> {
        match text {
            "active" => Ok(Self::Active),
            "standby" => Ok(Self::Standby),
            _ => Err(StoreFault::Corrupt("a role")),
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Whose agent it is.
    pub site: SiteName,
    /// Its Ed25519 key.
    pub public_key: [u8; 32],
    /// Active or standby.
    pub role: Role,
    /// What it said it runs when it enrolled.
    pub software: String,
    /// When it enrolled. Seconds since 1970.
    pub created: u64,
    /// When an operator revoked it.
    pub revoked_at: Option<u64>,
    /// The operator's own words.
    pub note: String,
}

/// An agent about to be known.
#[derive(Debug, Clone)]
pub struct NewAgent {
    /// Its id, chosen by the relay.
    pub id: AgentId,
    /// Its Ed25519 key, proved in the handshake.
    pub public_key: [u8; 32],
    /// What it says it runs.
    pub software: String,
}

impl Store {
    /// One agent.
    pub async fn agent(&self, id: AgentId) -> Result<Option<Agent>, StoreFault> {
        self.call(move |connection| find(connection, id)).await
    }

    /// All agents by site, the active one first.
    pub async fn agents(&self) -> Result<Vec<Agent>, StoreFault> {
        self.call(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("{SELECT} ORDER BY site, role, created"))?;
            statement.query_map([], |row| Ok(read(row)))?.map(|row| row?).collect()
        })
        .await
    }

    /// Revokes an agent for good; gives it, or nothing if there is none.
    pub async fn revoke_agent(&self, id: AgentId, now: u64) -> Result<Option<Agent>, StoreFault> {
        self.call(move |connection| {
            connection.execute(
                "UPDATE agents SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1",
                params![id.as_bytes(), seconds(now)],
            )?;
            find(connection, id)
        })
        .await
    }

    /// Makes an agent the active one of its site, and the one before it a standby. Gives it as it is afterwards;
    /// a revoked one stays as it is.
    pub async fn activate_agent(&self, id: AgentId) -> Result<Option<Agent>, StoreFault> {
        self.call(move |connection| {
            let Some(agent) = find(connection, id)? else { return Ok(None) };
            if agent.revoked_at.is_some() {
                return Ok(Some(agent));
            }
            stand_down(connection, &agent.site)?;
            connection.execute("UPDATE agents SET role = 'active' WHERE id = ?1", [id.as_bytes()])?;
            find(connection, id)
        })
        .await
    }
}

/// Makes room for a new active agent.
pub(super) fn stand_down(connection: &Connection, site: &SiteName) -> Result<(), StoreFault> {
    connection.execute(
        "UPDATE agents SET role = 'standby' WHERE site = ?1 AND role = 'active' AND revoked_at IS NULL",
        [site.as_str()],
    )?;
    Ok(())
}

pub(super) fn insert(connection: &Connection, agent: &Agent) -> Result<(), StoreFault> {
    connection
        .prepare_cached(
            "INSERT INTO agents (id, site, public_key, role, software, created, note)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            agent.id.as_bytes(),
            agent.site.as_str(),
            agent.public_key,
            agent.role.as_str(),
            agent.software,
            seconds(agent.created),
            agent.note
        ])?;
    Ok(())
}

pub(super) fn find(connection: &Connection, id: AgentId) -> Result<Option<Agent>, StoreFault> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE id = ?1"))?
        .query_row([id.as_bytes()], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

pub(super) fn find_by_key(connection: &Connection, key: &[u8; 32]) -> Result<Option<Agent>, StoreFault> {
    connection
        .prepare_cached(&format!("{SELECT} WHERE public_key = ?1"))?
        .query_row([key], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<Agent, StoreFault> {
    let site: String = row.get(1)?;
    let role: String = row.get(3)?;
    Ok(Agent {
        id: AgentId::from_bytes(row.get(0)?),
        site: site.parse().map_err(|_| StoreFault::Corrupt("a site's name"))?,
        public_key: row.get(2)?,
        role: Role::read(&role)?,
        software: row.get(4)?,
        created: unsigned(row.get(5)?),
        revoked_at: row.get::<_, Option<i64>>(6)?.map(unsigned),
        note: row.get(7)?,
    })
}

const SELECT: &str = "SELECT id, site, public_key, role, software, created, revoked_at, note FROM agents";
