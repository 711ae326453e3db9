//! SQLite as both programs use it: one thread owns the connection, and what has gathered shares a commit.
//!
//! Knows no table: [`Worker`] runs what a store gives it, [`migrations`] brings a file to a program's form.

pub mod migrations;
mod worker;

pub use worker::{Worker, WorkerFault};

/// Makes a new file the owner's alone; SQLite gives its companion files the same rights.
pub fn own_alone(path: &std::path::Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    // A fault here comes back, with its reason, when SQLite opens the file.
    let _ = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
}

/// A time or a count as SQLite keeps it.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// And back; what is below zero was never written by us.
pub fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
