//! Reads TOML files into values, with every fault at its place. Machinery only: each room owns its contents.
//!
//! [`load`] reads a file and hands its top table to a room's reader; the reader takes what it knows
//! ([`table::Table`]), and whatever is wrong is collected and shown at once, each with line, column and remedy.
//! Nothing here knows a key of any file. Called by `agent::config`, `relay::config` and the commands that check
//! files.

pub mod diagnose;
pub mod file;
pub mod table;
pub mod value;
pub mod values;

use std::path::Path;

use crate::common::report::{Exit, Report};

use diagnose::Source;
use table::Table;

/// Reads a file: `read` takes from its top table what it knows and returns nothing only after it has reported a
/// fault.
pub fn load<T>(
    path: &Path,
    read: impl for<'d> FnOnce(&mut Table<'d>, &'d Source<'d>) -> Option<T>,
) -> Result<T, Report> {
    let text = file::read_text(path, "configuration file", MAX_FILE)?;
    parse(&path.display().to_string(), &text, read)
}

/// The same from a text, with a name to show for it.
pub fn parse<T>(
    name: &str,
    text: &str,
    read: impl for<'d> FnOnce(&mut Table<'d>, &'d Source<'d>) -> Option<T>,
) -> Result<T, Report> {
    let source = Source::new(name, text);
    let (document, errors) = toml::de::DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in &errors {
            source.syntax(error);
        }
        // What could be recovered is not looked at: its faults would be the first one's echo.
        return Err(source.report());
    }
    let mut table = Table::top(&source, document);
    let read = read(&mut table, &source);
    drop(table);
    if source.has_faults() {
        return Err(source.report());
    }
    read.ok_or_else(|| {
        Report::new(Exit::Software, format!("{name} could not be read, and no fault was noted"))
    })
}

/// No configuration is larger: room for ten thousand rules of a policy.
pub const MAX_FILE: usize = 4 << 20;

#[cfg(test)]
mod tests;
