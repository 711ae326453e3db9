//! The hosts that each site may reach through the relay.

use std::collections::HashMap;

use rusqlite::params;

use super::{Store, StoreFault, seconds};
use crate::common::host::HostPattern;
use crate::common::ids::SiteName;

/// What came of adding a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is on the list now.
    New,
    /// It was there before.
    Before,
    /// There is no such site.
    NoSite,
    /// The site's list is full.
    Full,
}

impl Store {
    /// Puts a host on a site's list.
    pub async fn allow_egress(
        &self,
        site: SiteName,
        host: HostPattern,
        now: u64,
    ) -> Result<Added, StoreFault> {
        self.call(move |connection| {
            if super::sites::find(connection, &site)?.is_none() {
                return Ok(Added::NoSite);
            }
            let known: i64 = connection
                .prepare_cached("SELECT count(*) FROM egress WHERE site = ?1")?
                .query_row([site.as_str()], |row| row.get(0))?;
            if known >= MAX_HOSTS {
                return Ok(Added::Full);
            }
            let rows = connection.execute(
                "INSERT INTO egress (site, host, created) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                params![site.as_str(), host.to_string(), seconds(now)],
            )?;
            Ok(if rows == 1 { Added::New } else { Added::Before })
        })
        .await
    }

    /// Takes a host off a site's list; `false` if it was not on it.
    pub async fn deny_egress(&self, site: SiteName, host: HostPattern) -> Result<bool, StoreFault> {
        self.call(move |connection| {
            let rows = connection.execute(
                "DELETE FROM egress WHERE site = ?1 AND host = ?2",
                params![site.as_str(), host.to_string()],
            )?;
            Ok(rows == 1)
        })
        .await
    }

    /// The lists of all sites that have one, each in order.
    pub async fn egress(&self) -> Result<HashMap<SiteName, Vec<HostPattern>>, StoreFault> {
        self.call(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT site, host FROM egress ORDER BY site, host")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut lists: HashMap<SiteName, Vec<HostPattern>> = HashMap::new();
            for row in rows {
                let (site, host): (String, String) = row?;
                let site = site.parse().map_err(|_| StoreFault::Corrupt("a site's name"))?;
                let host = host.parse().map_err(|_| StoreFault::Corrupt("a host that a site may reach"))?;
                lists.entry(site).or_default().push(host);
            }
            Ok(lists)
        })
        .await
    }
}

/// No site's list is longer.
const MAX_HOSTS: i64 = 200;
