//! What the command lines of both programs share: parsing with the right exit code, output that survives a closed
//! pipe, a prompt, and the manual pages made from the definition of the commands.

mod generate;
mod prompt;
mod secret;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::future::Future;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

pub use generate::{Generate, generate};
pub use prompt::{TypedFault, read_line};
pub use secret::read_secret;

use crate::common::report::{Exit, Report};

/// Reads the command line. Help and version are printed here; a wrong line ends with 64, as in `sysexits.h`.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        let _ = error.print();
        if error.use_stderr() { ExitCode::from(Exit::Usage.code()) } else { ExitCode::SUCCESS }
    })
}

/// A runtime on the calling thread, for programs that hand calls on. It looks at few sockets at a time: a hundred requests
/// taken in one go would travel as one batch, and while one program works on it the next in line would wait idle.
pub fn one_thread() -> tokio::runtime::Builder {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_io_events_per_tick(EVENTS_A_TURN);
    builder
}

/// More than a few, so that frames still share a write.
const EVENTS_A_TURN: usize = 16;

/// Runs one command to its end on a small runtime of its own.
pub fn block_on<T>(work: impl Future<Output = Result<T, Report>>) -> Result<T, Report> {
    let runtime = one_thread().build();
    let runtime = runtime.map_err(|error| Report::from_error(Exit::System, &error))?;
    runtime.block_on(work)
}

/// Prints to standard output, without controls but tabs and line ends: some of it was written by others, who must not move
/// a person's cursor. A reader that has gone away (`| head`) is no fault.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", plain(text).trim_end_matches('\n'));
    let _ = out.flush();
}

/// JSON leaves some controls as they are; only texts hold any.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_control() && letter != '\n' {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}

/// A carriage return moves the cursor too, but for one at a line's end, as CSV has it (RFC 4180, section 2).
fn plain(text: &str) -> Cow<'_, str> {
    let acts = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t');
    if !text.contains(acts) {
        return text.into();
    }
    let lines: Vec<_> = text.split("\r\n").map(|line| line.replace(acts, "\u{fffd}")).collect();
    lines.join("\r\n").into()
}

/// Prints a document for machines, indented.
pub fn say_json(document: &Value) {
    say(&escaped(&format!("{document:#}")));
}

/// Columns set flush, two spaces apart; the first row is the heading.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_moves_no_cursor() {
        assert_eq!(plain("a\tb\nü\n"), "a\tb\nü\n");
        assert_eq!(plain("a,b\r\nc,\rd\r\r\n"), "a,b\r\nc,\u{fffd}d\u{fffd}\r\n");
        assert_eq!(plain("\u{1b}[2J\u{9b}1m\r\u{7}"), "\u{fffd}[2J\u{fffd}1m\u{fffd}\u{fffd}");
        let document = serde_json::json!({ "a": "\u{1b}\u{9b}\u{7f}ü\n" });
        let json = escaped(&format!("{document:#}"));
        assert!(!json.contains(|letter: char| letter.is_control() && letter != '\n'), "{json:?}");
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), document);
    }

    #[test]
    fn columns_are_flush() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let text = table(&[row(&["NAME", "STATE"]), row(&["jira-ü", "up"]), row(&["x"])]);
        assert_eq!(text, "NAME    STATE\njira-ü  up\nx\n");
    }
}
