//! `[signed]`: how signed calls are judged.

use std::time::Duration;

use crate::agent::signed::Settings;
use crate::common::limits::ByteSize;
use crate::config::table::Table;

pub(super) fn signed(table: &mut Table<'_>) -> Settings {
    let usual = Settings::default();
    let second = Duration::from_secs(1);
    let body = ByteSize(0)..=ByteSize::mib(16);
    Settings {
        window: table.duration("window", second * 10..=second * 300, usual.window),
        clock_skew: table.duration("clock-skew", second..=second * 300, usual.clock_skew),
        hold: table.size("hold", body.clone(), usual.hold),
        hold_answer: table.size("hold-answer", body, usual.hold_answer),
        max_nonces: usize::try_from(table.integer("max-nonces", 100..=1_000_000, usual.max_nonces as u64))
            .unwrap_or(usual.max_nonces),
    }
}
