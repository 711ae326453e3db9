//! Every secret column there is: what a change of the data key seals anew, and what `store verify` opens.

use rusqlite::types::ValueRef;
use rusqlite::{Row, params_from_iter, types::Value};

use super::StoreFault;
use super::seal::{Place, version};
use super::session::{Session, row_id};

/// A secret column, and the primary key of its table in the order that [`row_id`] was given.
pub(super) struct SealedColumn {
    pub(super) place: Place,
    pub(super) key: &'static [&'static str],
}

/// All of them. A column that is not here keeps its old data key alive.
pub(super) const SEALED: &[SealedColumn] = &[
    SealedColumn { place: super::tables::identity::KEY, key: &["agent"] },
    SealedColumn { place: super::tables::identity::ENROLLING_KEY, key: &["token"] },
    SealedColumn { place: super::tables::joins::VALUE, key: &["agent", "slot"] },
    SealedColumn { place: super::tables::mappings::TOKEN, key: super::tables::mappings::ROW },
    SealedColumn { place: super::tables::mappings::REFRESH_TOKEN, key: super::tables::mappings::ROW },
    SealedColumn { place: super::tables::links::VERIFIER, key: &["id"] },
    SealedColumn { place: super::tables::links::PENDING, key: &["id"] },
    SealedColumn { place: super::tables::services::SECRET, key: &["name"] },
    SealedColumn { place: super::tables::acme::ACCOUNT_KEY, key: &["directory"] },
    SealedColumn { place: super::tables::acme::KEY, key: &["name"] },
    SealedColumn { place: super::tables::acme::NEXT_KEY, key: &["name"] },
];

/// What came of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There may be more.
    More,
    /// All values of the column are sealed with the newest key.
    Done,
}

impl SealedColumn {
    /// Seals some of the values anew that an older key sealed.
    pub(super) fn reseal(&self, session: &Session<'_>, newest: u32) -> Result<Step, StoreFault> {
        let Place { table, column } = self.place;
        let keys = self.key.join(", ");
        let sql = format!(
            "SELECT {keys}, {column} FROM {table}
             WHERE {column} IS NOT NULL AND substr({column}, 1, 4) <> ?1 LIMIT {STEP}"
        );
        let mut select = session.connection().prepare_cached(&sql)?;
        let found =
            select.query_map([newest.to_be_bytes()], |row| self.read(row))?.collect::<Result<Vec<_>, _>>()?;
        let assignments: Vec<String> =
            self.key.iter().zip(2..).map(|(key, number)| format!("{key} = ?{number}")).collect();
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE {}", assignments.join(" AND "));
        let mut update = session.connection().prepare_cached(&sql)?;
        let mut resealed = 0;
        for (key, sealed) in &found {
            let row = id(key);
            let plain = match session.open(self.place, &row, sealed) {
                Ok(plain) => plain,
                Err(fault) => {
                    // Nobody can open it, so no key need be kept for it; `store verify` names it too.
                    tracing::error!(%fault, "a value is left as it is");
                    continue;
                }
            };
            resealed += 1;
            let fresh = Value::Blob(session.seal(self.place, &row, plain.expose())?);
            update.execute(params_from_iter(std::iter::once(&fresh).chain(key)))?;
        }
        Ok(if found.len() < STEP || resealed == 0 { Step::Done } else { Step::More })
    }

    /// Opens every value; gives how many there are, and those that do not open, by their row.
    pub(super) fn verify(&self, session: &Session<'_>) -> Result<(u64, Vec<String>), StoreFault> {
        let Place { table, column } = self.place;
        let keys = self.key.join(", ");
        let sql = format!("SELECT {keys}, {column} FROM {table} WHERE {column} IS NOT NULL");
        let mut select = session.connection().prepare(&sql)?;
        let mut rows = select.query([])?;
        let (mut count, mut broken) = (0, Vec::new());
        while let Some(row) = rows.next()? {
            let (key, sealed) = self.read(row)?;
            count += 1;
            if let Err(fault) = session.open(self.place, &id(&key), &sealed)
                && broken.len() < MAX_BROKEN
            {
                let key: Vec<String> = key.iter().map(shown).collect();
                let data_key =
                    version(&sealed).map_or_else(String::new, |version| format!(", data key {version}"));
                broken.push(format!("{fault}; row {}{data_key}", key.join(" ")));
            }
        }
        Ok((count, broken))
    }

    fn read(&self, row: &Row<'_>) -> rusqlite::Result<(Vec<Value>, Vec<u8>)> {
        let key = (0..self.key.len()).map(|index| row.get(index)).collect::<Result<_, _>>()?;
        let sealed = match row.get_ref(self.key.len())? {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        };
        Ok((key, sealed))
    }
}

/// Numbers as their digits, texts and bytes as they are.
fn id(key: &[Value]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = key
        .iter()
        .map(|value| match value {
            Value::Null => Vec::new(),
            Value::Integer(number) => number.to_string().into_bytes(),
            Value::Real(number) => number.to_string().into_bytes(),
            Value::Text(text) => text.clone().into_bytes(),
            Value::Blob(bytes) => bytes.clone(),
        })
        .collect();
    row_id(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        _ => "(bytes)".to_owned(),
    }
}

/// How many values a step takes: others wait for it.
const STEP: usize = 200;
const MAX_BROKEN: usize = 20;
