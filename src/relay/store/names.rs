//! Customers' own names whose TLS passes the relay unopened.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, StoreFault, seconds, sites, unsigned};
use crate::common::host_name::HostName;
use crate::common::ids::SiteName;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: HostName,
    /// Whose it is.
    pub site: SiteName,
    /// When the operator added it. Seconds since 1970.
    pub created: u64,
}

/// What became of a name that was to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameAdded {
    /// It is the site's.
    Added,
    /// It is this site's already.
    Taken(SiteName),
    /// There is no such site.
    SiteUnknown,
    /// The site has as many as it may.
    Full,
}

impl Store {
    /// Adds a name to a site that has fewer than `at_most`; one name belongs to one site.
    pub async fn add_name(
        &self,
        name: HostName,
        site: SiteName,
        at_most: u64,
        now: u64,
    ) -> Result<NameAdded, StoreFault> {
        self.call(move |connection| {
            if sites::find(connection, &site)?.is_none() {
                return Ok(NameAdded::SiteUnknown);
            }
            let owner: Option<String> = connection
                .query_row("SELECT site FROM names WHERE name = ?1", [name.as_str()], |row| row.get(0))
                .optional()?;
            if let Some(owner) = owner {
                return Ok(NameAdded::Taken(site_name(&owner)?));
            }
            let has: i64 = connection.query_row(
                "SELECT count(*) FROM names WHERE site = ?1",
                [site.as_str()],
                |row| row.get(0),
            )?;
            if unsigned(has) >= at_most {
                return Ok(NameAdded::Full);
            }
            connection.execute(
                "INSERT INTO names (name, site, level, created) VALUES (?1, ?2, 'customer', ?3)",
                params![name.as_str(), site.as_str(), seconds(now)],
            )?;
            Ok(NameAdded::Added)
        })
        .await
    }

    /// All of them, by site and name.
    pub async fn names(&self) -> Result<Vec<Name>, StoreFault> {
        self.call(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT name, site, created FROM names ORDER BY site, name")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
            })?;
            rows.map(|row| {
                let (name, site, created) = row?;
                let name = name.parse().map_err(|_| StoreFault::Corrupt("a host name"))?;
                Ok(Name { name, site: site_name(&site)?, created: unsigned(created) })
            })
            .collect()
        })
        .await
    }

    /// Takes a name from a site; `false` if it is not that site's.
    pub async fn remove_name(&self, name: HostName, site: SiteName) -> Result<bool, StoreFault> {
        self.call(move |connection| {
            let rows = connection.execute(
                "DELETE FROM names WHERE name = ?1 AND site = ?2",
                params![name.as_str(), site.as_str()],
            )?;
            Ok(rows == 1)
        })
        .await
    }
}

fn site_name(text: &str) -> Result<SiteName, StoreFault> {
    text.parse().map_err(|_| StoreFault::Corrupt("a site's name"))
}
