//! Numbered migrations, counted in SQLite's `user_version`.

use rusqlite::Connection;

/// Why a file can't be brought to this program's form.
#[derive(Debug, thiserror::Error)]
pub enum MigrationFault {
    /// A newer program wrote it.
    #[error("it has form {found}, this program knows {known}")]
    TooNew {
        /// The form found.
        found: i64,
        /// The newest form this program knows.
        known: i64,
    },
    /// SQLite's own word.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
}

/// The form that the file has; 0 is a new one. A newer one than this program knows is a fault.
pub fn form(connection: &Connection, migrations: &[&str]) -> Result<usize, MigrationFault> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(MigrationFault::TooNew { found, known });
    }
    Ok(usize::try_from(found).unwrap_or(0))
}

/// Brings the file to the newest form. Each step is one transaction, so a crash leaves a whole step.
pub fn run(connection: &mut Connection, migrations: &[&str]) -> Result<(), MigrationFault> {
    let found = form(connection, migrations)?;
    for (number, sql) in (1i64..).zip(migrations).skip(found) {
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
        run(&mut connection, &first).unwrap();
        run(&mut connection, &first).unwrap();
        assert_eq!(form(&connection, &both).unwrap(), 1);
        run(&mut connection, &both).unwrap();
        let fault = run(&mut connection, &first).unwrap_err();
        assert!(matches!(fault, MigrationFault::TooNew { found: 2, known: 1 }), "{fault}");
    }

    #[test]
    fn a_broken_step_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert!(run(&mut connection, &["CREATE TABLE a (x INTEGER) STRICT; NONSENSE"]).is_err());
        run(&mut connection, &["CREATE TABLE a (x INTEGER) STRICT"]).unwrap();
    }
}
