//! A table of a file, emptied key by key: what a reader does not take is an unknown key.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::common::limits::ByteSize;

use super::diagnose::{Located, Source, Span};
use super::value::{FromValue, kind, show_duration};

/// One table. Each method takes a key out and reads it; a fault is noted in the [`Source`] and reading goes on.
///
/// When it is dropped, the keys nobody took are noted as unknown, so that a reader can't forget to ask.
pub struct Table<'d> {
    source: &'d Source<'d>,
    entries: DeTable<'d>,
    name: String,
    at: Span,
    asked: Vec<&'static str>,
}

impl<'d> Table<'d> {
    pub(super) fn top(source: &'d Source<'d>, document: Spanned<DeTable<'d>>) -> Self {
        Self::new(source, document.into_inner(), String::new(), Span::default())
    }

    fn new(source: &'d Source<'d>, entries: DeTable<'d>, name: String, at: Span) -> Self {
        Self { source, entries, name, at, asked: Vec::new() }
    }

    /// The file it belongs to.
    pub fn source(&self) -> &'d Source<'d> {
        self.source
    }

    /// Where it stands: its head, for faults about the whole.
    pub fn at(&self) -> Span {
        self.at
    }

    /// Whether no key is left in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it holds this key, not yet taken.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The key's value, if the key is there and its value is right.
    pub fn optional<T: FromValue>(&mut self, key: &'static str) -> Option<T> {
        let (at, value) = self.take(key)?;
        T::from_value(value, at, self.source)
    }

    /// The key's value, or a default where the key is absent.
    pub fn or<T: FromValue>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// The key's value, or a fault that shows how to write it: `example` is a TOML value.
    pub fn required<T: FromValue>(&mut self, key: &'static str, example: &str) -> Option<T> {
        if !self.has(key) {
            self.asked.push(key);
            self.missing(key, example);
            return None;
        }
        self.optional(key)
    }

    /// A key that had a meaning once: a fault where it is still written. `help` says what to do.
    pub fn retired(&mut self, key: &'static str, help: &str) {
        // Not among the keys that are named to who misspells one.
        if let Some(value) = self.entries.remove(key) {
            self.source.fault(value.span().into(), format!("{key} is no more"), help);
        }
    }

    /// Notes that a key is missing here.
    pub fn missing(&self, key: &str, example: &str) {
        let place = if self.name.is_empty() { "the file".to_owned() } else { self.title() };
        self.source.fault(self.at, format!("{place} lacks {key}"), format!("add: {key} = {example}"));
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(Located { value, at }) = self.optional::<Located<u64>>(key) else { return default };
        self.bounded(key, &value, &bounds, at, u64::to_string)
    }

    /// A size within bounds.
    pub fn size(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<ByteSize>,
        default: ByteSize,
    ) -> ByteSize {
        let Some(Located { value, at }) = self.optional::<Located<ByteSize>>(key) else { return default };
        self.bounded(key, &value, &bounds, at, |size| format!("\"{size}\""))
    }

    /// A duration within bounds.
    pub fn duration(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let Some(Located { value, at }) = self.optional::<Located<Duration>>(key) else { return default };
        self.bounded(key, &value, &bounds, at, |duration| format!("\"{}\"", show_duration(*duration)))
    }

    /// A table under this key; an empty one where the key is absent, so that all its defaults apply.
    #[must_use]
    pub fn table(&mut self, key: &'static str) -> Self {
        self.optional_table(key)
            .unwrap_or_else(|| Self::new(self.source, DeTable::new(), self.below(key), self.at))
    }

    /// A table under this key, if it is there.
    pub fn optional_table(&mut self, key: &'static str) -> Option<Table<'d>> {
        let (at, value) = self.take(key)?;
        let name = self.below(key);
        self.sub_table(value, at, name, &format!("write a table [{}]", self.below(key)))
    }

    /// The tables under this key with the names people gave them, as in `[upstream.NAME]`, in the file's order.
    pub fn named_tables(&mut self, key: &'static str) -> Vec<(Located<String>, Table<'d>)> {
        let Some((at, value)) = self.take(key) else { return Vec::new() };
        let help = format!("write a table with a name, [{}.NAME]", self.below(key));
        let DeValue::Table(entries) = value else {
            self.source.fault(at, format!("{} is {}", self.below(key), kind(&value)), help);
            return Vec::new();
        };
        let mut tables: Vec<_> = entries
            .into_iter()
            .filter_map(|(name, value)| {
                let located = Located { value: name.get_ref().to_string(), at: name.span().into() };
                let below = format!("{}.{}", self.below(key), located.value);
                let table = self.sub_table(value.into_inner(), located.at, below, &help)?;
                Some((located, table))
            })
            .collect();
        tables.sort_by_key(|(name, _)| name.at.start);
        tables
    }

    /// The tables of an array, as in `[[policy.rule]]`, in the file's order.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'d>> {
        let Some((at, value)) = self.take(key) else { return Vec::new() };
        let name = self.below(key);
        let help = format!("write each as a table of its own, [[{name}]]");
        let DeValue::Array(values) = value else {
            self.source.fault(at, format!("{name} is {}", kind(&value)), help);
            return Vec::new();
        };
        let table = |value: Spanned<DeValue<'d>>| {
            let at = value.span().into();
            self.sub_table(value.into_inner(), at, name.clone(), &help)
        };
        values.into_iter().filter_map(table).collect()
    }

    /// Leaves the rest unread without calling it unknown: for readers that gave up on this table.
    pub fn give_up(mut self) {
        self.entries = DeTable::new();
    }

    /// Takes a raw value out, for readers with a shape of their own.
    pub(super) fn take(&mut self, key: &'static str) -> Option<(Span, DeValue<'d>)> {
        self.asked.push(key);
        let value = self.entries.remove(key)?;
        Some((value.span().into(), value.into_inner()))
    }

    /// A table that stands as a value, for types with a shape of their own.
    pub fn inline(source: &'d Source<'d>, entries: DeTable<'d>, at: Span) -> Self {
        Self::new(source, entries, String::new(), at)
    }

    fn sub_table(&self, value: DeValue<'d>, at: Span, name: String, help: &str) -> Option<Table<'d>> {
        match value {
            DeValue::Table(entries) => Some(Self::new(self.source, entries, name, at)),
            other => {
                self.source.fault(at, format!("{name} is {}", kind(&other)), help);
                None
            }
        }
    }

    fn bounded<T: PartialOrd + Copy>(
        &self,
        key: &str,
        value: &T,
        bounds: &RangeInclusive<T>,
        at: Span,
        show: impl Fn(&T) -> String,
    ) -> T {
        if !bounds.contains(value) {
            let (low, high) = (show(bounds.start()), show(bounds.end()));
            let what = if value < bounds.start() { "too small" } else { "too large" };
            self.source.fault(at, format!("{key} is {what}"), format!("write {low} to {high}"));
        }
        *value
    }

    fn below(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn title(&self) -> String {
        format!("[{}]", self.name)
    }

    fn unknown(&self, key: &Spanned<std::borrow::Cow<'d, str>>, value: &Spanned<DeValue<'d>>) {
        let name = key.get_ref().as_ref();
        if SECRET_WORDS.iter().any(|word| name.to_ascii_lowercase().contains(word)) {
            self.source.hide(value.span().into());
        }
        let place = if self.name.is_empty() { String::new() } else { format!(" in {}", self.title()) };
        let near = if self.source.is_full() { None } else { nearest(name, &self.asked) };
        let help = match near {
            Some(near) => format!("did you mean {near}?"),
            None if self.asked.is_empty() => "remove it: no key is known here".to_owned(),
            None => {
                let mut known = self.asked.clone();
                known.sort_unstable();
                known.dedup();
                format!("known here: {}", known.join(", "))
            }
        };
        self.source.fault(key.span().into(), format!("unknown key {name}{place}"), help);
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        for (key, value) in &self.entries {
            self.unknown(key, value);
        }
    }
}

/// The known name that was probably meant.
pub fn nearest<'n>(given: &str, known: &[&'n str]) -> Option<&'n str> {
    let given: String = given.to_ascii_lowercase().replace('_', "-").chars().take(64).collect();
    let best = known.iter().map(|name| (distance(&given, name), *name)).min()?;
    (best.0 <= 1 + given.chars().count() / 4).then_some(best.1)
}

/// How many letters must be put in, left out, changed or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    for (line, letter) in left.iter().enumerate() {
        let mut row = vec![line + 1];
        for (column, other) in right.iter().enumerate() {
            let changed = at(&above, column) + usize::from(letter != other);
            let mut best = changed.min(at(&above, column + 1) + 1).min(at(&row, column) + 1);
            let swapped = line > 0
                && column > 0
                && left.get(line - 1) == Some(other)
                && right.get(column - 1) == Some(letter);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    at(&above, right.len())
}

/// A key named like this probably has a secret beside it.
const SECRET_WORDS: [&str; 6] = ["pass", "secret", "token", "pat", "key", "credential"];
