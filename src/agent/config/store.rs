//! `[store]`: where the key lies that opens what the agent keeps.

use toml::de::DeValue;

use crate::agent::store::KeySource;
use crate::config::diagnose::{Source, Span};
use crate::config::table::Table;
use crate::config::value::FromValue;
use crate::config::values::SecretRef;

/// What `[store]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// `key`.
    pub key: KeySource,
}

pub(super) fn store(mut table: Table<'_>) -> Store {
    Store { key: table.or("key", KeySource::Usual) }
}

impl FromValue for KeySource {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        match value {
            DeValue::Table(entries) if entries.contains_key(ENVIRONMENT) => {
                let mut table = Table::inline(source, entries, at);
                table.required(ENVIRONMENT, "\"OUTHAUL_STORE_KEY\"").map(Self::Environment)
            }
            value => SecretRef::from_value(value, at, source).map(Self::At),
        }
    }
}

const ENVIRONMENT: &str = "development-environment";
