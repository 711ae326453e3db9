//! A query: passed byte for byte, but for what no query may hold; and what a rule may ask of it.
//!
//! Conditions look at decoded pairs. Where applications could read a pair in two ways, a rule that looks at it does
//! not guess: the call is refused. Without such a rule nothing is decoded, and any query passes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::path::PathFault;
use super::value::Test;

/// What follows the `?`, unchanged; or no query at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Query(Option<Arc<str>>);

impl Query {
    /// No query.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes a query as it stands in a request, without its `?`.
    pub fn parse(raw: Option<&str>) -> Result<Self, PathFault> {
        let Some(raw) = raw else { return Ok(Self(None)) };
        for byte in raw.bytes() {
            match byte {
                b'#' => return Err(PathFault::Fragment),
                0..=b' ' | 0x7f.. => return Err(PathFault::Query),
                _ => {}
            }
        }
        // Jira logs in by these and would then answer as somebody else than the rule says.
        let is_credential = |pair: &str| {
            let name = decode_name(pair.split_once('=').map_or(pair, |(name, _)| name));
            CREDENTIALS.iter().any(|credential| name.eq_ignore_ascii_case(credential.as_bytes()))
        };
        if raw.split(['&', ';']).any(is_credential) {
            return Err(PathFault::QueryCredentials);
        }
        Ok(Self(Some(raw.into())))
    }

    /// The query, without its `?`.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// All that is asked of a query; each must hold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct QueryTest {
    /// `query`: parameters by name.
    pub tests: Vec<(Box<str>, Test)>,
    /// `query-only`: no other parameters than these and those of `tests`.
    pub only: Option<Vec<Box<str>>>,
}

/// Why a query can't be judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum QueryFault {
    /// `%` without two hex digits.
    #[error("a % in the query is not followed by two hex digits")]
    Percent,
    /// Some servers split pairs there.
    #[error("the query holds a semicolon: send it as %3B")]
    Semicolon,
    /// A space to some, a plus to others.
    #[error("the name of a parameter holds a +: send a space as %20 and a plus as %2B")]
    Plus,
    /// Bytes that can't be shown, let alone compared.
    #[error("a parameter that the rule looks at holds a control character, or is not UTF-8")]
    Text,
    /// Some take the first, some the last.
    #[error("the parameter “{0}” stands there more than once, and the rule looks at it")]
    Twice(Box<str>),
}

/// The condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryMiss<'t> {
    /// This one.
    Test(&'t str, &'t Test),
    /// A parameter that `query-only` does not name.
    Unlisted(String),
}

/// Which way to err where a `+` could be a space or a plus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Each reading must fit: for rules that allow.
    Every,
    /// One reading is enough: for rules that deny.
    Some,
}

impl QueryTest {
    /// Whether it asks nothing.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty() && self.only.is_none()
    }

    /// The first condition that does not hold.
    pub(super) fn first_miss(
        &self,
        query: &Query,
        reading: Reading,
    ) -> Result<Option<QueryMiss<'_>>, QueryFault> {
        if self.is_empty() {
            return Ok(None);
        }
        let raw = query.as_str().unwrap_or("");
        if raw.contains(';') {
            return Err(QueryFault::Semicolon);
        }
        let mut found: Vec<Option<&str>> = vec![None; self.tests.len()];
        let mut unlisted = None;
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.contains('+') {
                return Err(QueryFault::Plus);
            }
            let name = text(name)?;
            decode(value)?;
            let slot = self.tests.iter().zip(&mut found).find(|((wanted, _), _)| **wanted == *name);
            match (slot, &self.only) {
                (Some((_, Some(_))), _) => {
                    return Err(QueryFault::Twice(name.chars().take(60).collect::<String>().into()));
                }
                (Some((_, slot)), _) => *slot = Some(value),
                (None, Some(only)) if !only.iter().any(|listed| **listed == *name) => {
                    unlisted.get_or_insert_with(|| name.chars().take(60).collect());
                }
                (None, _) => {}
            }
        }
        for ((name, test), value) in self.tests.iter().zip(found) {
            let readings = value.map(readings).transpose()?;
            let holds = test.holds(readings, |wanted, (space, plus)| {
                let fits = |value: &str| wanted.iter().any(|wanted| wanted.is_text(value));
                match (plus, reading) {
                    (None, _) => fits(&space),
                    (Some(plus), Reading::Every) => fits(&space) && fits(&plus),
                    (Some(plus), Reading::Some) => fits(&space) || fits(&plus),
                }
            });
            if !holds {
                return Ok(Some(QueryMiss::Test(name, test)));
            }
        }
        Ok(unlisted.map(QueryMiss::Unlisted))
    }
}

/// A value with `+` as a space, and where that differs, with `+` as itself.
fn readings(value: &str) -> Result<(Cow<'_, str>, Option<Cow<'_, str>>), QueryFault> {
    if !value.contains('+') {
        return Ok((text(value)?, None));
    }
    let space = text(&value.replace('+', "%20"))?.into_owned();
    Ok((space.into(), Some(text(value)?)))
}

/// Percent-decodes what a condition looks at.
fn text(raw: &str) -> Result<Cow<'_, str>, QueryFault> {
    let text = match decode(raw)? {
        Cow::Borrowed(_) => Cow::Borrowed(raw),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| QueryFault::Text)?),
    };
    if text.chars().any(char::is_control) { Err(QueryFault::Text) } else { Ok(text) }
}

/// Percent-decodes strictly.
fn decode(raw: &str) -> Result<Cow<'_, [u8]>, QueryFault> {
    if !raw.contains('%') {
        return Ok(raw.as_bytes().into());
    }
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let (high, low) = (digit(bytes.next()), digit(bytes.next()));
            let value = high.zip(low).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            value.ok_or(QueryFault::Percent)?
        } else {
            byte
        };
        decoded.push(byte);
    }
    Ok(decoded.into())
}

impl fmt::Display for QueryTest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> =
            self.tests.iter().map(|(name, test)| format!("{name} must {test}")).collect();
        if let Some(only) = &self.only {
            let names = self.tests.iter().map(|(name, _)| name).chain(only);
            let names: Vec<&str> = names.map(|name| &**name).collect();
            parts.push(match names.as_slice() {
                [] => "no parameter".to_owned(),
                names => format!("no parameters but {}", names.join(", ")),
            });
        }
        formatter.write_str(&parts.join("; "))
    }
}

impl fmt::Display for QueryMiss<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(name, test) => write!(formatter, "{name} must {test}"),
            Self::Unlisted(name) => write!(formatter, "the parameter “{name}” is not among those it takes"),
        }
    }
}

/// Percent-decodes a name as leniently as any application might: what is no escape stays as it is.
fn decode_name(name: &str) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = name.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            decoded.extend(u8::try_from(high << 4 | low));
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    decoded
}

const CREDENTIALS: [&str; 2] = ["os_username", "os_password"];

#[cfg(test)]
mod tests {
    use super::super::value::{Pattern, Wanted};
    use super::*;

    #[test]
    fn what_jql_needs_passes_unchanged() {
        for raw in [
            "",
            "jql=project%20%3D%20DEMO%20AND%20text%20~%20%22a%26b%22&maxResults=50",
            "jql=project+=+X&fields=a,b;c",
            "a=%zz&a=%&b=\"<>[]{}|^`\\",
            "x=os_username",
        ] {
            assert_eq!(Query::parse(Some(raw)).unwrap().as_str(), Some(raw));
        }
        assert_eq!(Query::parse(None).unwrap().as_str(), None);
    }

    #[test]
    fn what_no_query_may_hold_is_refused() {
        for (raw, fault) in [
            ("a=b c", PathFault::Query),
            ("a=\r\nX: y", PathFault::Query),
            ("a=\u{0}", PathFault::Query),
            ("a=\u{7f}", PathFault::Query),
            ("a=ä", PathFault::Query),
            ("a#b", PathFault::Fragment),
            ("os_username=admin&os_password=x", PathFault::QueryCredentials),
            ("a=b&os%5Fpassword=x", PathFault::QueryCredentials),
            ("a;OS_USERNAME", PathFault::QueryCredentials),
        ] {
            assert_eq!(Query::parse(Some(raw)), Err(fault), "{raw}");
        }
    }

    fn test(name: &str, test: Test) -> QueryTest {
        QueryTest { tests: vec![(name.into(), test)], only: None }
    }

    fn is(values: &[&str]) -> Test {
        Test::Is(values.iter().map(|value| Wanted::Text(Pattern::new(value))).collect())
    }

    fn fits(test: &QueryTest, raw: &str, reading: Reading) -> Result<bool, QueryFault> {
        let query = Query::parse(Some(raw).filter(|raw| !raw.is_empty())).unwrap();
        test.first_miss(&query, reading).map(|miss| miss.is_none())
    }

    #[test]
    fn parameters_are_compared_decoded() {
        let expand = test("expand", is(&["names", "rendered fields"]));
        for (raw, expected) in [
            ("expand=names", true),
            ("a=b&ex%70and=n%61mes&c", true),
            ("expand=rendered%20fields", true),
            ("expand=names,schema", false),
            ("expand=Names", false),
            ("Expand=names", false),
            ("expand", false),
            ("", false),
            ("a=expand=names", false),
            // JQL in another parameter may hold what it likes.
            ("jql=a+%3D+%22b%0Ac%FF%22&expand=names", true),
        ] {
            assert_eq!(fits(&expand, raw, Reading::Every), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn a_plus_must_fit_both_ways_to_allow_and_one_way_to_deny() {
        let spaced = test("a", is(&["x y"]));
        assert_eq!(fits(&spaced, "a=x+y", Reading::Every), Ok(false));
        assert_eq!(fits(&spaced, "a=x+y", Reading::Some), Ok(true));
        let plus = test("a", is(&["x+y"]));
        assert_eq!(fits(&plus, "a=x%2By", Reading::Every), Ok(true));
        assert_eq!(fits(&plus, "a=x+y", Reading::Every), Ok(false));
        assert_eq!(fits(&plus, "a=x+y", Reading::Some), Ok(true));
        assert_eq!(fits(&test("a", is(&["x*"])), "a=x+y", Reading::Every), Ok(true));
    }

    #[test]
    fn what_applications_could_read_differently_is_not_judged() {
        let used = test("a", Test::Present);
        for (raw, fault) in [
            ("a=1&a=2", QueryFault::Twice("a".into())),
            ("a=1&%61", QueryFault::Twice("a".into())),
            ("a=1;b=2", QueryFault::Semicolon),
            ("a=%", QueryFault::Percent),
            ("b=%zz&a=1", QueryFault::Percent),
            ("b%5=1", QueryFault::Percent),
            ("a=%00", QueryFault::Text),
            ("a=%0d%0aX", QueryFault::Text),
            ("a=%ff", QueryFault::Text),
            ("b%00=1", QueryFault::Text),
            ("a+=1", QueryFault::Plus),
        ] {
            assert_eq!(fits(&used, raw, Reading::Every), Err(fault), "{raw}");
        }
        for raw in ["a=1&b=2&b=3", "a=1&b=%ff", "a=1&b=%0a", "a=1&&"] {
            assert_eq!(fits(&used, raw, Reading::Every), Ok(true), "{raw}");
        }
        assert_eq!(fits(&QueryTest::default(), "a=1&a=%zz;;", Reading::Every), Ok(true), "nothing asked");
    }

    #[test]
    fn only_the_listed_parameters_pass() {
        let only = QueryTest {
            tests: vec![("expand".into(), Test::AbsentOr(vec![Wanted::Text(Pattern::new("names"))]))],
            only: Some(vec!["fields".into()]),
        };
        for (raw, expected) in [
            ("", true),
            ("fields=a&fields=b", true),
            ("expand=names&fields=a", true),
            ("expand=all", false),
            ("fields=a&properties=b", false),
            ("FIELDS=a", false),
            ("=x", false),
        ] {
            assert_eq!(fits(&only, raw, Reading::Every), Ok(expected), "{raw}");
        }
        let query = Query::parse(Some("x%20y=1")).unwrap();
        let miss = only.first_miss(&query, Reading::Every).unwrap().unwrap().to_string();
        assert_eq!(miss, "the parameter “x y” is not among those it takes");
        assert_eq!(
            only.to_string(),
            "expand must be \"names\" or not be there; no parameters but expand, fields"
        );
    }

    #[test]
    fn absent_means_under_any_spelling() {
        let absent = test("notifyUsers", Test::Absent);
        assert_eq!(fits(&absent, "a=1", Reading::Every), Ok(true));
        assert_eq!(fits(&absent, "notify%55sers=false", Reading::Every), Ok(false));
        assert_eq!(fits(&absent, "notifyUsers", Reading::Every), Ok(false));
    }

    proptest::proptest! {
        #[test]
        fn what_is_decoded_is_what_was_encoded(name in "\\PC{0,8}", value in "\\PC{0,12}") {
            proptest::prop_assume!(!name.is_empty() && !name.chars().chain(value.chars()).any(char::is_control));
            let encode = |text: &str| text.bytes().flat_map(|byte| format!("%{byte:02x}").into_bytes()).map(char::from).collect::<String>();
            let query = Query::parse(Some(&format!("x=1&{}={}", encode(&name), encode(&value))));
            proptest::prop_assume!(query.is_ok() && name != "x");
            let exact = value.replace('\\', "\\\\").replace('*', "\\*");
            let test = test(&name, is(&[&exact]));
            let miss = test.first_miss(&query.unwrap(), Reading::Every);
            proptest::prop_assert_eq!(miss, Ok(None));
        }

        #[test]
        fn no_query_panics_and_every_accepted_one_is_unchanged(raw in "\\PC{0,60}|[%=&;0-9a-f_os]{0,60}") {
            if let Ok(query) = Query::parse(Some(&raw)) {
                proptest::prop_assert_eq!(query.as_str(), Some(raw.as_str()));
            }
        }
    }
}
