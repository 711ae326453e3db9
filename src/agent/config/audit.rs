//! `[audit]`: how long records are kept, and what happens while none can be written.

use std::time::Duration;

use crate::agent::audit::{Settings, WhenUnavailable};
use crate::common::limits::ByteSize;
use crate::config::diagnose::Located;
use crate::config::table::Table;

pub(super) fn audit(mut table: Table<'_>) -> Settings {
    let usual = Settings::default();
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
    Settings {
        keep: table.duration("keep", hour..=day * 36_500, usual.keep),
        max_size: table.size("max-size", ByteSize::mib(1)..=ByteSize::mib(1 << 30), usual.max_size),
        when_unavailable: when_unavailable(&mut table),
    }
}

fn when_unavailable(table: &mut Table<'_>) -> WhenUnavailable {
    let given: Option<Located<String>> = table.optional("when-unavailable");
    let Some(given) = given else { return WhenUnavailable::default() };
    match given.value.as_str() {
        "refuse-writes" => WhenUnavailable::RefuseWrites,
        "refuse" => WhenUnavailable::Refuse,
        other => {
            let help = "write \"refuse-writes\" or \"refuse\"; the audit can't be turned off";
            table.source().fault(given.at, format!("“{other}” is not what can happen"), help);
            WhenUnavailable::default()
        }
    }
}
