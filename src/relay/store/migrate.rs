//! Numbered migrations, counted in SQLite's `user_version`.

use rusqlite::Connection;

use super::StoreFault;

/// In order; a released one is never changed.
const MIGRATIONS: &[&str] = &[include_str!("001_first.sql")];

/// Brings the store to this version's form. Each step is one transaction, so a crash leaves a whole step.
pub(super) fn run(connection: &mut Connection) -> Result<(), StoreFault> {
    apply(connection, MIGRATIONS)
}

fn apply(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreFault> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreFault::TooNew { found, known });
    }
    for (number, sql) in (1i64..).zip(migrations).skip(usize::try_from(found).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_once_and_a_newer_store_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        let first = ["CREATE TABLE a (x INTEGER) STRICT"];
        let both = [first[0], "CREATE TABLE b (x INTEGER) STRICT"];
        apply(&mut connection, &first).unwrap();
        apply(&mut connection, &first).unwrap();
        apply(&mut connection, &both).unwrap();
        let fault = apply(&mut connection, &first).unwrap_err();
        assert!(matches!(fault, StoreFault::TooNew { found: 2, known: 1 }), "{fault}");
        assert!(fault.to_string().contains("newer"), "{fault}");
    }

    #[test]
    fn a_broken_step_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(apply(&mut connection, &["CREATE TABLE a (x INTEGER) STRICT; NONSENSE"]).is_err());
        apply(&mut connection, &["CREATE TABLE a (x INTEGER) STRICT"]).unwrap();
    }
}
