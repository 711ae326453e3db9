//! Who this agent is: its enrolment and its key.

use rusqlite::{OptionalExtension as _, params};

use crate::agent::store::{Place, Session, Store, StoreFault, row_id};
use crate::common::ids::{AgentId, SiteName};
use crate::common::secret::Secret;
use crate::identity::handshake::join::Join;
use crate::identity::handshake::messages::SLOTS;
use crate::identity::keys::{PublicKey, SigningKey};
use crate::identity::token::EnrolmentSecret;
use crate::sqlite::{signed, unsigned};

pub(in crate::agent::store) const KEY: Place = Place { table: "identity", column: "key" };
pub(in crate::agent::store) const ENROLLING_KEY: Place = Place { table: "enrolling", column: "key" };

/// What the relay gave at enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The relay's address at enrolment.
    pub relay_url: String,
    /// The relay's key; another one is not talked to.
    pub relay_key: PublicKey,
    /// The site.
    pub site: SiteName,
    /// The id the relay gave.
    pub agent: AgentId,
    /// When. Seconds since 1970.
    pub enrolled: u64,
}

/// An agent that can connect.
#[derive(Debug)]
pub struct Identity {
    /// Who it is.
    pub enrolment: Enrolment,
    /// Its key.
    pub key: SigningKey,
}

impl Store {
    /// Who this agent is, if it is enrolled.
    pub async fn identity(&self) -> Result<Option<Identity>, StoreFault> {
        self.call(|session| {
            let found = session
                .connection()
                .prepare_cached("SELECT agent, relay_url, relay_key, site, enrolled, key FROM identity")?
                .query_row([], |row| {
                    let site: String = row.get(3)?;
                    let agent: [u8; 16] = row.get(0)?;
                    let relay_key: [u8; 32] = row.get(2)?;
                    let enrolled = unsigned(row.get(4)?);
                    Ok((AgentId::from_bytes(agent), row.get(1)?, relay_key, site, enrolled, row.get(5)?))
                })
                .optional()?;
            let Some((agent, relay_url, relay_key, site, enrolled, sealed)) = found else { return Ok(None) };
            let sealed: Vec<u8> = sealed;
            let key = session.open(KEY, &row_id(&[agent.as_bytes()]), &sealed)?;
            let key = SigningKey::from_pkcs8(key.expose()).ok_or(StoreFault::Corrupt("the agent's key"))?;
            let relay_key =
                PublicKey::from_slice(&relay_key).map_err(|_| StoreFault::Corrupt("the relay's key"))?;
            let site = site.parse().map_err(|_| StoreFault::Corrupt("the site's name"))?;
            Ok(Some(Identity { enrolment: Enrolment { relay_url, relay_key, site, agent, enrolled }, key }))
        })
        .await
    }

    /// The key to enrol with: the same one when the same token is tried again, so that an enrolment that was cut
    /// off can be finished; otherwise a new one.
    pub async fn enrolling_key(&self, secret: &EnrolmentSecret) -> Result<SigningKey, StoreFault> {
        let token = secret.hash().0;
        self.call(move |session| {
            let corrupt = || StoreFault::Corrupt("a key to enrol with");
            if let Some(document) = enrolling(session, token)? {
                return SigningKey::from_pkcs8(document.expose()).ok_or_else(corrupt);
            }
            let (key, document) = SigningKey::generate().map_err(|_| corrupt())?;
            let sealed = session.seal(ENROLLING_KEY, &row_id(&[&token]), document.expose())?;
            session
                .connection()
                .execute("INSERT INTO enrolling (token, key) VALUES (?1, ?2)", params![token, sealed])?;
            Ok(key)
        })
        .await
    }

    /// Makes what the relay gave at enrolment this agent's identity, with the first join state in every slot. What
    /// was before is gone, and so are the keys of enrolments that did not come to their end.
    pub async fn enrolled(
        &self,
        secret: &EnrolmentSecret,
        enrolment: &Enrolment,
        first: Join,
    ) -> Result<(), StoreFault> {
        let (token, enrolment) = (secret.hash().0, enrolment.clone());
        self.call(move |session| {
            let document = enrolling(session, token)?.ok_or(StoreFault::Corrupt("no key to enrol with"))?;
            session
                .connection()
                .execute_batch("DELETE FROM identity; DELETE FROM joins; DELETE FROM enrolling")?;
            write(session, &enrolment, &document)?;
            for slot in 0..SLOTS {
                super::joins::write(session, enrolment.agent, slot, first)?;
            }
            Ok(())
        })
        .await
    }
}

/// Writes the identity, sealed.
pub(super) fn write(
    session: &Session<'_>,
    enrolment: &Enrolment,
    document: &Secret<Vec<u8>>,
) -> Result<(), StoreFault> {
    let key = session.seal(KEY, &row_id(&[enrolment.agent.as_bytes()]), document.expose())?;
    session.connection().execute(
        "INSERT INTO identity (agent, relay_url, relay_key, site, enrolled, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            enrolment.agent.as_bytes(),
            enrolment.relay_url,
            enrolment.relay_key.as_bytes(),
            enrolment.site.as_str(),
            signed(enrolment.enrolled),
            key
        ],
    )?;
    Ok(())
}

fn enrolling(session: &Session<'_>, token: [u8; 32]) -> Result<Option<Secret<Vec<u8>>>, StoreFault> {
    let sealed: Option<Vec<u8>> = session
        .connection()
        .query_row("SELECT key FROM enrolling WHERE token = ?1", [token], |row| row.get(0))
        .optional()?;
    sealed.map(|sealed| session.open(ENROLLING_KEY, &row_id(&[&token]), &sealed)).transpose()
}
