//! Who is whom: a person as a provider names them, and their account at an application, with its credential.

mod rows;

use rusqlite::{OptionalExtension as _, Row, params};

pub use rows::{Account, MappingRow, MappingState, NewMapping, Pair, Secrets, Stored};

use crate::agent::store::{Place, Session, Store, StoreFault, row_id};
use crate::common::act_as::ActAs;
use crate::common::ids::UpstreamName;
use crate::common::secret::Secret;
use crate::sqlite::{signed, unsigned};

pub(in crate::agent::store) const TOKEN: Place = Place { table: "mappings", column: "token" };
pub(in crate::agent::store) const REFRESH_TOKEN: Place = Place { table: "mappings", column: "refresh_token" };
/// The primary key.
pub(in crate::agent::store) const ROW: &[&str] = &["upstream", "provider", "subject"];

impl Store {
    /// One mapping, with its secrets if it is active.
    pub async fn mapping(
        &self,
        upstream: &UpstreamName,
        act_as: &ActAs,
    ) -> Result<Option<(MappingRow, Option<Secrets>)>, StoreFault> {
        let (upstream, act_as) = (upstream.clone(), act_as.clone());
        self.call(move |session| read(session, &upstream, &act_as)).await
    }

    /// All mappings, by application and person.
    pub async fn mappings(&self) -> Result<Vec<MappingRow>, StoreFault> {
        self.call(|session| {
            let sql = format!("SELECT {COLUMNS} FROM mappings ORDER BY upstream, provider, subject");
            let mut statement = session.connection().prepare(&sql)?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(mapping(row)?);
            }
            Ok(found)
        })
        .await
    }

    /// Stores a mapping, in place of the one that this person had at this application.
    pub async fn store_mapping(&self, new: NewMapping) -> Result<Stored, StoreFault> {
        self.call(move |session| {
            if let Some(other) = holder(session, &new)? {
                return Ok(Stored::Taken(other));
            }
            write(session, &new)?;
            Ok(Stored::Done)
        })
        .await
    }

    /// Stores those of these mappings whose person has none at the application yet: all, or none if one of the
    /// accounts is another's. Gives how many were new.
    pub async fn import_mappings(
        &self,
        all: Vec<NewMapping>,
    ) -> Result<Result<usize, (usize, ActAs)>, StoreFault> {
        self.call(move |session| {
            let mut fresh = Vec::new();
            for (index, new) in all.iter().enumerate() {
                if read(session, &new.upstream, &new.act_as)?.is_some() {
                    continue;
                }
                if let Some(other) = holder(session, new)? {
                    // Those before it are taken back, since they all lie in one savepoint.
                    for before in fresh {
                        erase(session, before)?;
                    }
                    return Ok(Err((index, other)));
                }
                write(session, new)?;
                fresh.push(new);
            }
            Ok(Ok(fresh.len()))
        })
        .await
    }

    /// Puts a new pair of tokens in the place of the old one. Says whether the mapping was still there and active.
    pub async fn renew_mapping(
        &self,
        upstream: &UpstreamName,
        act_as: &ActAs,
        pair: Pair,
        at: u64,
    ) -> Result<bool, StoreFault> {
        let (upstream, act_as) = (upstream.clone(), act_as.clone());
        self.call(move |session| {
            let row = id(&upstream, &act_as);
            let token = session.seal(TOKEN, &row, pair.access.expose().as_bytes())?;
            let refresh = pair.refresh.as_ref();
            let refresh = refresh.map(|token| session.seal(REFRESH_TOKEN, &row, token.expose().as_bytes()));
            let changed = session
                .connection()
                .prepare_cached(
                    "UPDATE mappings SET token = ?4, refresh_token = ?5, expires = ?6,
                         scope = coalesce(?7, scope), changed = ?8
                     WHERE upstream = ?1 AND provider = ?2 AND subject = ?3 AND state = 'active' AND kind = 'oauth'",
                )?
                .execute(params![
                    upstream.as_str(),
                    act_as.provider(),
                    act_as.subject(),
                    token,
                    refresh.transpose()?,
                    signed(pair.expires),
                    pair.scope,
                    signed(at)
                ])?;
            Ok(changed > 0)
        })
        .await
    }

    /// Ends a mapping's use: its state, why, and its secrets are gone. Says whether it was there.
    pub async fn end_mapping(
        &self,
        upstream: &UpstreamName,
        act_as: &ActAs,
        state: MappingState,
        reason: &str,
        at: u64,
    ) -> Result<bool, StoreFault> {
        let (upstream, act_as, reason) = (upstream.clone(), act_as.clone(), reason.to_owned());
        self.call(move |session| {
            // Without a credential nothing is active.
            let state = if state == MappingState::Active { MappingState::NeedsReauth } else { state };
            let changed = session
                .connection()
                .prepare_cached(
                    "UPDATE mappings SET state = ?4, reason = ?5, kind = NULL, token = NULL, refresh_token = NULL,
                         expires = NULL, scope = NULL, changed = ?6
                     WHERE upstream = ?1 AND provider = ?2 AND subject = ?3",
                )?
                .execute(params![
                    upstream.as_str(),
                    act_as.provider(),
                    act_as.subject(),
                    state.as_str(),
                    reason,
                    signed(at)
                ])?;
            Ok(changed > 0)
        })
        .await
    }

    /// The account is called otherwise now.
    pub async fn rename_mapping(
        &self,
        upstream: &UpstreamName,
        act_as: &ActAs,
        account: &Account,
        at: u64,
    ) -> Result<bool, StoreFault> {
        let (upstream, act_as, account) = (upstream.clone(), act_as.clone(), account.clone());
        self.call(move |session| {
            let changed = session
                .connection()
                .prepare_cached(
                    "UPDATE mappings SET user_name = ?5, display_name = ?6, changed = ?7
                     WHERE upstream = ?1 AND provider = ?2 AND subject = ?3 AND user_key = ?4",
                )?
                .execute(params![
                    upstream.as_str(),
                    act_as.provider(),
                    act_as.subject(),
                    account.key,
                    account.name,
                    account.display_name,
                    signed(at)
                ])?;
            Ok(changed > 0)
        })
        .await
    }

    /// Takes a mapping away; gives what it was, with the secrets, so that they can be revoked.
    pub async fn remove_mapping(
        &self,
        upstream: &UpstreamName,
        act_as: &ActAs,
    ) -> Result<Option<(MappingRow, Option<Secrets>)>, StoreFault> {
        let (upstream, act_as) = (upstream.clone(), act_as.clone());
        self.call(move |session| {
            // A secret that does not open must not keep the row alive.
            let found = match read(session, &upstream, &act_as) {
                Err(StoreFault::Seal { .. }) => row(session, &upstream, &act_as)?.map(|row| (row, None)),
                found => found?,
            };
            erase_row(session, &upstream, &act_as)?;
            Ok(found)
        })
        .await
    }
}

const COLUMNS: &str = "upstream, provider, subject, user_key, user_name, display_name, state, reason, shared, kind, \
                       expires, scope, created, changed";

type Sealed = Option<Vec<u8>>;

fn id(upstream: &UpstreamName, act_as: &ActAs) -> Vec<u8> {
    row_id(&[upstream.as_str().as_bytes(), act_as.provider().as_bytes(), act_as.subject().as_bytes()])
}

fn mapping(row: &Row<'_>) -> Result<MappingRow, StoreFault> {
    let corrupt = || StoreFault::Corrupt("a mapping");
    let (upstream, provider, subject): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let provider = provider.parse().map_err(|_| corrupt())?;
    let state: String = row.get(6)?;
    Ok(MappingRow {
        upstream: upstream.parse().map_err(|_| corrupt())?,
        act_as: ActAs::new(&provider, &subject).map_err(|_| corrupt())?,
        account: Account { key: row.get(3)?, name: row.get(4)?, display_name: row.get(5)? },
        state: MappingState::parse(&state).ok_or_else(corrupt)?,
        reason: row.get(7)?,
        shared: row.get(8)?,
        kind: row.get(9)?,
        expires: row.get::<_, Option<i64>>(10)?.map(unsigned),
        scope: row.get(11)?,
        created: unsigned(row.get(12)?),
        changed: unsigned(row.get(13)?),
    })
}

fn row(
    session: &Session<'_>,
    upstream: &UpstreamName,
    act_as: &ActAs,
) -> Result<Option<MappingRow>, StoreFault> {
    let sql =
        format!("SELECT {COLUMNS} FROM mappings WHERE upstream = ?1 AND provider = ?2 AND subject = ?3");
    let mut statement = session.connection().prepare_cached(&sql)?;
    let mut rows = statement.query(params![upstream.as_str(), act_as.provider(), act_as.subject()])?;
    rows.next()?.map(mapping).transpose()
}

fn read(
    session: &Session<'_>,
    upstream: &UpstreamName,
    act_as: &ActAs,
) -> Result<Option<(MappingRow, Option<Secrets>)>, StoreFault> {
    let Some(found) = row(session, upstream, act_as)? else { return Ok(None) };
    let sealed: Option<(Sealed, Sealed)> = session
        .connection()
        .prepare_cached(
            "SELECT token, refresh_token FROM mappings WHERE upstream = ?1 AND provider = ?2 AND subject = ?3",
        )?
        .query_row(params![upstream.as_str(), act_as.provider(), act_as.subject()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (token, refresh) = sealed.unwrap_or_default();
    let id = id(upstream, act_as);
    let token = token.map(|sealed| text(session, TOKEN, &id, &sealed)).transpose()?;
    let refresh = refresh.map(|sealed| text(session, REFRESH_TOKEN, &id, &sealed)).transpose()?;
    let secrets = match (token, found.expires) {
        (None, _) => None,
        (Some(token), None) => Some(Secrets::Pat(token)),
        (Some(access), Some(expires)) => {
            Some(Secrets::OAuth(Pair { access, refresh, expires, scope: found.scope.clone() }))
        }
    };
    Ok(Some((found, secrets)))
}

fn text(
    session: &Session<'_>,
    place: Place,
    row: &[u8],
    sealed: &[u8],
) -> Result<Secret<String>, StoreFault> {
    let plain = session.open(place, row, sealed)?;
    let text = std::str::from_utf8(plain.expose()).map_err(|_| StoreFault::Corrupt("a token"))?;
    Ok(Secret::new(text.to_owned()))
}

/// Who else is linked to the account, where that stands in the way.
fn holder(session: &Session<'_>, new: &NewMapping) -> Result<Option<ActAs>, StoreFault> {
    if new.shared {
        return Ok(None);
    }
    // Who is in stays in.
    let same = row(session, &new.upstream, &new.act_as)?;
    if same.is_some_and(|before| before.account.key == new.account.key) {
        return Ok(None);
    }
    let found: Option<(String, String)> = session
        .connection()
        .prepare_cached(
            "SELECT provider, subject FROM mappings
             WHERE upstream = ?1 AND user_key = ?2 AND NOT (provider = ?3 AND subject = ?4) LIMIT 1",
        )?
        .query_row(
            params![new.upstream.as_str(), new.account.key, new.act_as.provider(), new.act_as.subject()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((provider, subject)) = found else { return Ok(None) };
    let corrupt = StoreFault::Corrupt("a mapping");
    let provider = provider.parse().map_err(|_| corrupt.clone())?;
    ActAs::new(&provider, &subject).map(Some).map_err(|_| corrupt)
}

fn write(session: &Session<'_>, new: &NewMapping) -> Result<(), StoreFault> {
    let row = id(&new.upstream, &new.act_as);
    let seal = |place, secret: &Secret<String>| session.seal(place, &row, secret.expose().as_bytes());
    let (kind, token, refresh, expires, scope) = match &new.secrets {
        None => (None, None, None, None, None),
        Some(Secrets::Pat(token)) => (Some("pat"), Some(seal(TOKEN, token)?), None, None, None),
        Some(Secrets::OAuth(pair)) => (
            Some("oauth"),
            Some(seal(TOKEN, &pair.access)?),
            pair.refresh.as_ref().map(|token| seal(REFRESH_TOKEN, token)).transpose()?,
            Some(signed(pair.expires)),
            pair.scope.as_deref(),
        ),
    };
    let state = if kind.is_some() { MappingState::Active } else { MappingState::NeedsReauth };
    let reason = if kind.is_some() { None } else { new.reason.as_deref() };
    session
        .connection()
        .prepare_cached(
            "INSERT INTO mappings (upstream, provider, subject, user_key, user_name, display_name, state, reason,
                 shared, kind, token, refresh_token, expires, scope, created, changed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?15)
             ON CONFLICT (upstream, provider, subject) DO UPDATE SET
                 shared = iif(user_key = excluded.user_key, max(shared, excluded.shared), excluded.shared),
                 user_key = excluded.user_key, user_name = excluded.user_name,
                 display_name = excluded.display_name, state = excluded.state, reason = excluded.reason,
                 kind = excluded.kind, token = excluded.token, refresh_token = excluded.refresh_token,
                 expires = excluded.expires, scope = excluded.scope, changed = excluded.changed",
        )?
        .execute(params![
            new.upstream.as_str(),
            new.act_as.provider(),
            new.act_as.subject(),
            new.account.key,
            new.account.name,
            new.account.display_name,
            state.as_str(),
            reason,
            new.shared,
            kind,
            token,
            refresh,
            expires,
            scope,
            signed(new.at)
        ])?;
    Ok(())
}

fn erase(session: &Session<'_>, new: &NewMapping) -> Result<(), StoreFault> {
    erase_row(session, &new.upstream, &new.act_as)
}

fn erase_row(session: &Session<'_>, upstream: &UpstreamName, act_as: &ActAs) -> Result<(), StoreFault> {
    session
        .connection()
        .prepare_cached("DELETE FROM mappings WHERE upstream = ?1 AND provider = ?2 AND subject = ?3")?
        .execute(params![upstream.as_str(), act_as.provider(), act_as.subject()])?;
    Ok(())
}
