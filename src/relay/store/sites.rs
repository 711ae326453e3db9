//! The customers' installations.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Store, StoreFault, seconds, unsigned};
use crate::common::ids::SiteName;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its public name.
    pub name: SiteName,
    /// When the operator added it. Seconds since 1970.
    pub created: u64,
    /// Whether the operator lets no call pass.
    pub paused: bool,
}

impl Store {
    /// Adds a site; `false` if there is one of that name.
    pub async fn add_site(&self, name: SiteName, now: u64) -> Result<bool, StoreFault> {
        self.call(move |connection| {
            let rows = connection.execute(
                "INSERT INTO sites (name, created) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![name.as_str(), seconds(now)],
            )?;
            Ok(rows == 1)
        })
        .await
    }

    /// All sites by name.
    pub async fn sites(&self) -> Result<Vec<Site>, StoreFault> {
        self.call(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT name, created, paused FROM sites ORDER BY name")?;
            statement.query_map([], |row| Ok(read(row)))?.map(|row| row?).collect()
        })
        .await
    }

    /// Removes a site with its agents and registrations; `false` if there is none.
    pub async fn remove_site(&self, name: SiteName) -> Result<bool, StoreFault> {
        self.call(move |connection| {
            Ok(connection.execute("DELETE FROM sites WHERE name = ?1", [name.as_str()])? == 1)
        })
        .await
    }

    /// Pauses or resumes a site; `false` if there is none.
    pub async fn pause_site(&self, name: SiteName, paused: bool) -> Result<bool, StoreFault> {
        self.call(move |connection| {
            let rows = connection.execute(
                "UPDATE sites SET paused = ?2 WHERE name = ?1",
                params![name.as_str(), i64::from(paused)],
            )?;
            Ok(rows == 1)
        })
        .await
    }
}

pub(super) fn find(connection: &Connection, name: &SiteName) -> Result<Option<Site>, StoreFault> {
    connection
        .prepare_cached("SELECT name, created, paused FROM sites WHERE name = ?1")?
        .query_row([name.as_str()], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<Site, StoreFault> {
    let name: String = row.get(0)?;
    Ok(Site {
        name: name.parse().map_err(|_| StoreFault::Corrupt("a site's name"))?,
        created: unsigned(row.get(1)?),
        paused: row.get::<_, i64>(2)? != 0,
    })
}
