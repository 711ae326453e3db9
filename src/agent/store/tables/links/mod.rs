//! Attempts of people to link an account. A step of one is read, decided and written in one job: no two meet.

mod pending;
mod rows;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use rusqlite::{OptionalExtension as _, Row, params};

pub use rows::{Hash, LinkEnd, LinkKey, LinkLimits, LinkRow, LinkStage, Pending};

use crate::agent::store::{Place, Session, Store, StoreFault, row_id};
use crate::common::act_as::ActAs;
use crate::common::ids::LinkId;
use crate::common::secret::Secret;
use crate::sqlite::{signed, unsigned};

pub(in crate::agent::store) const VERIFIER: Place = Place { table: "links", column: "verifier" };
pub(in crate::agent::store) const PENDING: Place = Place { table: "links", column: "pending" };

impl Store {
    /// Takes an attempt in, within the bounds; `replace` ends the one that the same person has. Says whether there was
    /// room.
    pub async fn add_link(
        &self,
        new: LinkRow,
        limits: LinkLimits,
        replace: impl FnOnce(&mut LinkRow) + Send + 'static,
    ) -> Result<bool, StoreFault> {
        self.call(move |session| {
            let connection = session.connection();
            let mut before = read(session, &LinkKey::Person(new.act_as.clone()))?;
            before = before.filter(|row| row.stage.ending().is_none());
            let count = |sql: &str, caller: Option<&str>| {
                let mut statement = connection.prepare_cached(sql)?;
                let number: i64 = match caller {
                    Some(caller) => statement.query_row([caller], |row| row.get(0))?,
                    None => statement.query_row([], |row| row.get(0))?,
                };
                Ok::<_, StoreFault>(unsigned(number))
            };
            let own = before.as_ref().is_some_and(|row| row.caller == new.caller);
            let of_caller = count(
                "SELECT count(*) FROM links WHERE stage <> 'ended' AND caller = ?1",
                Some(new.caller.as_str()),
            )?;
            let open = count("SELECT count(*) FROM links WHERE stage <> 'ended'", None)?;
            if of_caller - u64::from(own) >= limits.of_caller
                || open - u64::from(before.is_some()) >= limits.open
            {
                return Ok(false);
            }
            if let Some(mut row) = before {
                replace(&mut row);
                write(session, &row)?;
            }
            // What has ended is kept for a while, to tell people what became of it.
            let all = count("SELECT count(*) FROM links", None)?;
            if all >= limits.kept {
                connection.execute(
                    "DELETE FROM links WHERE id IN
                     (SELECT id FROM links WHERE stage = 'ended' ORDER BY created LIMIT ?1)",
                    [signed(all - limits.kept + 1)],
                )?;
            }
            write(session, &new)?;
            Ok(true)
        })
        .await
    }

    /// One attempt, as it is now.
    pub async fn link(&self, which: LinkKey) -> Result<Option<LinkRow>, StoreFault> {
        self.call(move |session| read(session, &which)).await
    }

    /// Takes a step of an attempt, if it is there: whatever `decide` makes of the row is stored.
    pub async fn change_link<R: Send + 'static>(
        &self,
        which: LinkKey,
        decide: impl FnOnce(&mut LinkRow) -> R + Send + 'static,
    ) -> Result<Option<R>, StoreFault> {
        self.call(move |session| {
            let Some(mut row) = read(session, &which)? else { return Ok(None) };
            let decided = decide(&mut row);
            write(session, &row)?;
            Ok(Some(decided))
        })
        .await
    }

    /// Lets `settle` look at each open attempt that was not begun `within` these times, and stores those it ended;
    /// forgets those that ended and were begun before `forget_before`. Gives how many it ended.
    pub async fn sweep_links(
        &self,
        settle: impl Fn(&mut LinkRow) + Send + 'static,
        within: RangeInclusive<u64>,
        forget_before: u64,
    ) -> Result<usize, StoreFault> {
        self.call(move |session| {
            let connection = session.connection();
            let ids = connection
                .prepare_cached(
                    "SELECT id FROM links WHERE stage <> 'ended' AND created NOT BETWEEN ?1 AND ?2",
                )?
                .query_map([signed(*within.start()), signed(*within.end())], |row| {
                    row.get(0).map(LinkId::from_bytes)
                })?
                .collect::<Result<Vec<_>, _>>()?;
            let mut ended = 0;
            for id in ids {
                let Some(mut row) = read(session, &LinkKey::Id(id))? else { continue };
                settle(&mut row);
                if row.stage.ending().is_some() {
                    write(session, &row)?;
                    ended += 1;
                }
            }
            connection.execute(
                "DELETE FROM links WHERE stage = 'ended' AND created < ?1",
                [signed(forget_before)],
            )?;
            Ok(ended)
        })
        .await
    }
}

fn read(session: &Session<'_>, which: &LinkKey) -> Result<Option<LinkRow>, StoreFault> {
    let connection = session.connection();
    let select =
        |condition: &str| connection.prepare_cached(&format!("SELECT {COLUMNS} FROM links {condition}"));
    let found = match which {
        LinkKey::Id(id) => select("WHERE id = ?1")?.query_row([id.as_bytes()], columns).optional()?,
        LinkKey::Url(hash) => select("WHERE url = ?1")?.query_row([hash.0], columns).optional()?,
        LinkKey::Consent(hash) => select("WHERE consent = ?1")?.query_row([hash.0], columns).optional()?,
        LinkKey::Person(act_as) => select(
            "WHERE provider = ?1 AND subject = ?2 ORDER BY stage = 'ended', created DESC, id DESC LIMIT 1",
        )?
        .query_row([act_as.provider(), act_as.subject()], columns)
        .optional()?,
    };
    found.map(|columns| row(session, columns)).transpose()
}

/// As they lie in the file.
struct Columns {
    id: [u8; 16],
    texts: [String; 5],
    display_name: Option<String>,
    ending: Option<String>,
    created: i64,
    url: [u8; 32],
    browser: Option<[u8; 32]>,
    rounds: u32,
    consent: Option<[u8; 32]>,
    verifier: Option<Vec<u8>>,
    pending: Option<Vec<u8>>,
    code: Option<[u8; 32]>,
    confirmed: Option<i64>,
    tries: u32,
}

const COLUMNS: &str =
    "id, caller, upstream, provider, subject, stage, display_name, ending, created, url, browser,
    rounds, consent, verifier, pending, code, confirmed, tries";

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok(Columns {
        id: row.get(0)?,
        texts: [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?],
        display_name: row.get(6)?,
        ending: row.get(7)?,
        created: row.get(8)?,
        url: row.get(9)?,
        browser: row.get(10)?,
        rounds: row.get(11)?,
        consent: row.get(12)?,
        verifier: row.get(13)?,
        pending: row.get(14)?,
        code: row.get(15)?,
        confirmed: row.get(16)?,
        tries: row.get(17)?,
    })
}

fn row(session: &Session<'_>, columns: Columns) -> Result<LinkRow, StoreFault> {
    let corrupt = || StoreFault::Corrupt("an attempt to link");
    let [caller, upstream, provider, subject, stage] = columns.texts;
    let provider = provider.parse().map_err(|_| corrupt())?;
    let id = row_id(&[&columns.id]);
    let verifier = columns.verifier.map(|sealed| session.open(VERIFIER, &id, &sealed)).transpose()?;
    let verifier = verifier.map(|plain| {
        let text = std::str::from_utf8(plain.expose()).map_err(|_| corrupt())?;
        Ok::<_, StoreFault>(Secret::new(text.to_owned()))
    });
    let pending = columns.pending.map(|sealed| session.open(PENDING, &id, &sealed)).transpose()?;
    let pending = pending.map(|plain| pending::read(plain.expose()).ok_or_else(corrupt)).transpose()?;
    Ok(LinkRow {
        id: LinkId::from_bytes(columns.id),
        caller: caller.parse().map_err(|_| corrupt())?,
        upstream: upstream.parse().map_err(|_| corrupt())?,
        act_as: ActAs::new(&provider, &subject).map_err(|_| corrupt())?,
        display_name: columns.display_name,
        stage: LinkStage::parse(&stage, columns.ending.as_deref()).ok_or_else(corrupt)?,
        created: unsigned(columns.created),
        url: rows::hash(columns.url),
        browser: columns.browser.map(rows::hash),
        rounds: columns.rounds,
        consent: columns.consent.map(rows::hash),
        verifier: verifier.transpose()?,
        pending,
        code: columns.code.map(rows::hash),
        confirmed: columns.confirmed.map(unsigned),
        tries: columns.tries,
    })
}

fn write(session: &Session<'_>, link: &LinkRow) -> Result<(), StoreFault> {
    let id = row_id(&[link.id.as_bytes()]);
    let verifier = link.verifier.as_ref();
    let verifier =
        verifier.map(|secret| session.seal(VERIFIER, &id, secret.expose().as_bytes())).transpose()?;
    let pending = link.pending.as_ref().map(pending::write);
    let pending = pending.map(|plain| session.seal(PENDING, &id, &plain)).transpose()?;
    session
        .connection()
        .prepare_cached(
            "INSERT INTO links (id, caller, upstream, provider, subject, stage, display_name, ending, created, url,
                 browser, rounds, consent, verifier, pending, code, confirmed, tries)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
             ON CONFLICT (id) DO UPDATE SET stage = excluded.stage, ending = excluded.ending,
                 browser = excluded.browser, rounds = excluded.rounds, consent = excluded.consent,
                 verifier = excluded.verifier, pending = excluded.pending, code = excluded.code,
                 confirmed = excluded.confirmed, tries = excluded.tries",
        )?
        .execute(params![
            link.id.as_bytes(),
            link.caller.as_str(),
            link.upstream.as_str(),
            link.act_as.provider(),
            link.act_as.subject(),
            link.stage.as_str(),
            link.display_name,
            link.stage.ending().map(LinkEnd::as_str),
            signed(link.created),
            link.url.0,
            link.browser.map(|hash| hash.0),
            link.rounds,
            link.consent.map(|hash| hash.0),
            verifier,
            pending,
            link.code.map(|hash| hash.0),
            link.confirmed.map(signed),
            link.tries
        ])?;
    Ok(())
}
