//! `[egress]`: how the agent reaches hosts on the internet, and which.

use crate::agent::egress::{Settings, Way};
use crate::common::limits::ByteSize;
use crate::config::diagnose::Located;
use crate::config::table::Table;

/// Reads the table. `has_proxy`: whether `[relay]` names a proxy.
pub(super) fn egress(mut table: Table<'_>, has_proxy: bool) -> Settings {
    let usual = Settings::default();
    let connections = table.integer("connections", 1..=10_000, usual.connections.into());
    let bounds = ByteSize::kib(64)..=ByteSize(1 << 50);
    let bytes_a_day = table.has("bytes-a-day").then(|| table.size("bytes-a-day", bounds, ByteSize(1 << 50)));
    Settings {
        way: way(&mut table, "way", has_proxy).unwrap_or(usual.way),
        allow: table.or("allow", usual.allow),
        ca_file: table.optional("ca-file"),
        connections: u32::try_from(connections).unwrap_or(u32::MAX),
        bytes_a_day,
    }
}

/// A key that names a way: here, and in the tables of clients that have one of their own.
pub(super) fn way(table: &mut Table<'_>, key: &'static str, has_proxy: bool) -> Option<Way> {
    let way: Located<Way> = table.optional(key)?;
    if way.value == Way::Proxy && !has_proxy {
        let help = "add proxy = \"http://HOST:PORT\" to [relay], or choose another way";
        table.source().fault(way.at, "the way is a proxy, and [relay] names none", help);
    }
    Some(way.value)
}
