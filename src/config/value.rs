//! How a TOML value becomes a typed one, and what is said when it does not.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use crate::common::host::HostPattern;
use crate::common::host_name::HostName;
use crate::common::ids::{CallerName, IssuerName, Provider, ServiceName, SiteName, UpstreamName};
use crate::common::limits::{ByteSize, parse_duration};

use super::diagnose::{Located, Source, Span};

/// A type that a key of a file may have.
pub trait FromValue: Sized {
    /// Reads the value; on a fault it is noted in `source` and there is none.
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self>;
}

/// Reads a text that must parse; the type's own error is what people see.
pub fn parse_text<'d, T>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<T>
where
    T: FromStr<Err: std::error::Error + 'static>,
{
    let text = String::from_value(value, at, source)?;
    match text.parse() {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            source.plain_fault(at, error.to_string());
            None
        }
    }
}

/// Lets types with a `FromStr` stand in a file as texts.
#[macro_export]
macro_rules! read_as_text {
    ($($type:ty),* $(,)?) => {$(
        impl $crate::config::value::FromValue for $type {
            fn from_value<'d>(
                value: toml::de::DeValue<'d>,
                at: $crate::config::diagnose::Span,
                source: &'d $crate::config::diagnose::Source<'d>,
            ) -> Option<Self> {
                $crate::config::value::parse_text(value, at, source)
            }
        }
    )*};
}

read_as_text!(HostName, HostPattern, SiteName, UpstreamName, CallerName, ServiceName, IssuerName, Provider);

impl FromValue for String {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        match value {
            DeValue::String(text) => Some(text.into_owned()),
            other => wrong(&other, at, source, "write a text in quotes"),
        }
    }
}

impl FromValue for bool {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        match value {
            DeValue::Boolean(truth) => Some(truth),
            other => wrong(&other, at, source, "write true or false, without quotes"),
        }
    }
}

impl FromValue for u64 {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let help = "write a whole number of 0 or more, without quotes";
        match &value {
            DeValue::Integer(number) => {
                let read = Self::from_str_radix(number.as_str(), number.radix()).ok();
                if read.is_none() {
                    source.fault(at, format!("{number} is no number of 0 or more"), help);
                }
                read
            }
            other => wrong(other, at, source, help),
        }
    }
}

impl FromValue for ByteSize {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        match value {
            DeValue::String(_) => parse_text(value, at, source),
            DeValue::Integer(_) => u64::from_value(value, at, source).map(Self),
            other => wrong(&other, at, source, "write a size, as in \"64 KB\""),
        }
    }
}

impl FromValue for Duration {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let DeValue::String(text) = &value else {
            return wrong(&value, at, source, "write a duration with its unit, as in \"15 s\"");
        };
        parse_duration(text).map_err(|error| source.plain_fault(at, error.to_string())).ok()
    }
}

impl FromValue for PathBuf {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let text = String::from_value(value, at, source)?;
        if !text.starts_with('/') || text.contains('\0') {
            // A relative path would depend on where the daemon was started.
            source.fault(at, format!("“{text}” is no absolute path"), "write it whole, beginning with /");
            return None;
        }
        Some(text.into())
    }
}

impl<T: FromValue> FromValue for Located<T> {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        T::from_value(value, at, source).map(|value| Self { value, at })
    }
}

/// A list, or one value where a list of one is meant. Every item's fault is noted.
impl<T: FromValue> FromValue for Vec<T> {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let DeValue::Array(items) = value else {
            return T::from_value(value, at, source).map(|item| vec![item]);
        };
        if items.len() > MAX_ITEMS {
            source.plain_fault(at, format!("the list has more than {MAX_ITEMS} items"));
            return None;
        }
        let count = items.len();
        let read: Self = items
            .into_iter()
            .filter_map(|item| {
                let at = item.span().into();
                T::from_value(item.into_inner(), at, source)
            })
            .collect();
        (read.len() == count).then_some(read)
    }
}

/// What a value is, for people.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Notes that a value is of another kind than wanted.
pub(super) fn wrong<'d, T>(
    value: &DeValue<'d>,
    at: Span,
    source: &'d Source<'d>,
    help: impl Into<String>,
) -> Option<T> {
    source.fault(at, format!("this is {}", kind(value)), help);
    None
}

/// As [`parse_duration`] reads it.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if millis >= factor && millis.is_multiple_of(factor) {
            return format!("{} {unit}", millis / factor);
        }
    }
    format!("{millis} ms")
}

/// No list in a configuration is longer.
const MAX_ITEMS: usize = 1_000;
