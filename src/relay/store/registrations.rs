//! One-time secrets, and their use: the one place where an agent becomes known.

use rusqlite::{OptionalExtension as _, params};

use super::agents::{self, Agent, NewAgent, Role};
use super::{Store, StoreFault, join_states, seconds, sites, unsigned};
use crate::common::ids::SiteName;
use crate::identity::handshake::join::Join;

/// A one-time secret, as the operator ordered it.
#[derive(Debug, Clone)]
pub struct Registration {
    /// For which site.
    pub site: SiteName,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// What the agent will be.
    pub role: Role,
    /// When it was made. Seconds since 1970.
    pub created: u64,
    /// From when on it is worth nothing.
    pub expires: u64,
}

/// Why a secret lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// No such secret, or its site is gone.
    Unknown,
    /// Its hour is over.
    Expired,
    /// An agent with another key used it.
    Used,
    /// It was made for another site.
    WrongSite,
    /// The site has as many agents as it may.
    Full,
}

/// What came of an enrolment.
pub type Enrolled = Result<Agent, TokenFault>;

impl Store {
    /// Keeps a registration; `false` if there is no such site. Old ones are swept on the way.
    pub async fn add_registration(&self, registration: Registration) -> Result<bool, StoreFault> {
        self.call(move |connection| {
            connection.execute(
                "DELETE FROM registrations WHERE expires < ?1",
                [seconds(registration.created.saturating_sub(KEPT))],
            )?;
            if sites::find(connection, &registration.site)?.is_none() {
                return Ok(false);
            }
            connection.execute(
                "INSERT INTO registrations (secret_hash, site, role, created, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    registration.secret_hash,
                    registration.site.as_str(),
                    registration.role.as_str(),
                    seconds(registration.created),
                    seconds(registration.expires),
                ],
            )?;
            Ok(true)
        })
        .await
    }

    /// Uses a secret: in one transaction it is marked as used, the agent is known, and its first join state is
    /// pending in every slot.
    ///
    /// An agent whose connection broke before the answer came may ask again with the same secret and key, as long
    /// as it never confirmed: it gets the same id.
    pub async fn enrol(
        &self,
        site: SiteName,
        secret_hash: [u8; 32],
        agent: NewAgent,
        join: Join,
        now: u64,
    ) -> Result<Enrolled, StoreFault> {
        self.call(move |connection| {
            let row = connection
                .prepare_cached(
                    "SELECT site, role, expires, used_at FROM registrations WHERE secret_hash = ?1",
                )?
                .query_row([secret_hash], |row| {
                    Ok((
                        row.get::<_, String>(0)?,
                        row.get::<_, String>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, Option<i64>>(3)?,
                    ))
                })
                .optional()?;
            let Some((registered, role, expires, used_at)) = row else {
                return Ok(Err(TokenFault::Unknown));
            };
            if registered != site.as_str() {
                return Ok(Err(TokenFault::WrongSite));
            }
            if unsigned(expires) <= now {
                return Ok(Err(TokenFault::Expired));
            }
            let known = agents::find_by_key(connection, &agent.public_key)?;
            if used_at.is_some() {
                return match known {
                    Some(known)
                        if known.site == site
                            && known.revoked_at.is_none()
                            && !join_states::ever_accepted(connection, known.id)? =>
                    {
                        join_states::begin(connection, known.id, join)?;
                        Ok(Ok(known))
                    }
                    _ => Ok(Err(TokenFault::Used)),
                };
            }
            if known.is_some() {
                // A key belongs to one enrolment; the agent makes a new one when it enrols again.
                return Ok(Err(TokenFault::Used));
            }
            let count: i64 = connection.query_row(
                "SELECT count(*) FROM agents WHERE site = ?1 AND revoked_at IS NULL",
                [site.as_str()],
                |row| row.get(0),
            )?;
            if count >= MOST_AGENTS {
                return Ok(Err(TokenFault::Full));
            }
            connection.execute(
                "UPDATE registrations SET used_at = ?2 WHERE secret_hash = ?1",
                params![secret_hash, seconds(now)],
            )?;
            let agent = Agent {
                id: agent.id,
                site: site.clone(),
                public_key: agent.public_key,
                role: Role::read(&role)?,
                software: agent.software,
                created: now,
                revoked_at: None,
                note: String::new(),
            };
            if agent.role == Role::Active {
                agents::stand_down(connection, &site)?;
            }
            agents::insert(connection, &agent)?;
            join_states::begin(connection, agent.id, join)?;
            Ok(Ok(agent))
        })
        .await
    }
}

/// How long a dead registration is remembered, so that a late use is told apart from a made-up one. Seconds.
const KEPT: u64 = 30 * 24 * 3600;
/// How many agents a site may have that are not revoked.
const MOST_AGENTS: i64 = 16;
