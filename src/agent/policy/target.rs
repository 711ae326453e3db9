//! Which calls a rule is about: methods and a pattern of the path.

use std::fmt;
use std::str::FromStr;

use http::Method;

use super::path::{CanonicalPath, PathFault};

/// Methods and a path pattern: `GET|POST /rest/api/2/issue/*/comment`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    text: String,
    methods: Methods,
    pattern: Vec<Part>,
}

/// The target of a denial: `*` may stand for all methods, since too much is denied rather than too little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeniedTarget(pub Target);

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// This very segment.
    Literal(Box<str>),
    /// `before*after`: a segment that begins and ends so, with one character or more between.
    Glob(Box<str>, Box<str>),
    /// `*`: any one segment that is not empty.
    Any,
    /// `**`: one segment or more, to the end of the path.
    Rest,
}

/// A set of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Methods(u8);

/// A text after `allow =` or `deny =` that is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// Not two words.
    #[error("write methods, one space and a path, as in \"GET|POST /rest/api/2/issue/*\"")]
    Shape,
    /// A method that rules can't allow.
    #[error(
        "“{0}” is no method that a rule can allow: use GET, HEAD, POST, PUT, PATCH or DELETE, with | between several"
    )]
    Method(String),
    /// A query or fragment.
    #[error(
        "a rule names a path only: remove the {0} and what follows (the key query sets conditions for it)"
    )]
    Query(char),
    /// `**` not at the end.
    #[error("** stands for the rest of the path and may only be the last segment")]
    RestNotLast,
    /// More than one `*` in a segment.
    #[error("“{0}” has more than one *: a segment may have one, as in \"report-*\"")]
    Stars(String),
    /// Too many segments.
    #[error("the path has more than {MAX_PARTS} segments")]
    TooDeep,
    /// Not a path that could ever be sent.
    #[error("no call could have this path: {0}")]
    Path(#[from] PathFault),
}

impl Target {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its methods, HEAD among them where GET is.
    pub fn methods(&self) -> Methods {
        self.methods
    }

    /// Its path, part by part.
    pub fn pattern(&self) -> &[Part] {
        &self.pattern
    }

    fn read(text: &str, methods: impl FnOnce(&str) -> Result<Methods, RuleFault>) -> Result<Self, RuleFault> {
        let (words, path) = text.split_once(' ').ok_or(RuleFault::Shape)?;
        let path = path.trim_start_matches(' ');
        if words.is_empty() || path.is_empty() || path.contains(' ') {
            return Err(RuleFault::Shape);
        }
        let methods = methods(words)?;
        let pattern = parse_pattern(path)?;
        Ok(Self { text: text.to_owned(), methods, pattern })
    }
}

impl FromStr for Target {
    type Err = RuleFault;
    fn from_str(text: &str) -> Result<Self, RuleFault> {
        Self::read(text, str::parse)
    }
}

impl FromStr for DeniedTarget {
    type Err = RuleFault;
    fn from_str(text: &str) -> Result<Self, RuleFault> {
        Target::read(text, |words| if words == "*" { Ok(Methods::ALL) } else { words.parse() }).map(Self)
    }
}

fn parse_pattern(path: &str) -> Result<Vec<Part>, RuleFault> {
    if let Some(mark) = path.chars().find(|mark| matches!(mark, '?' | '#')) {
        return Err(RuleFault::Query(mark));
    }
    let segments: Vec<&str> = path.strip_prefix('/').ok_or(PathFault::NotAbsolute)?.split('/').collect();
    if segments.len() > MAX_PARTS {
        return Err(RuleFault::TooDeep);
    }
    let last = segments.len() - 1;
    let part = |(index, segment): (usize, &&str)| match *segment {
        "" if index < last => Err(PathFault::EmptySegment.into()),
        "*" => Ok(Part::Any),
        "**" if index < last => Err(RuleFault::RestNotLast),
        "**" => Ok(Part::Rest),
        _ => match segment.split_once('*') {
            None => Ok(Part::Literal(read(segment)?)),
            Some((_, after)) if after.contains('*') => {
                Err(RuleFault::Stars(segment.chars().take(80).collect()))
            }
            Some((before, after)) => Ok(Part::Glob(fragment(before)?, fragment(after)?)),
        },
    };
    segments.iter().enumerate().map(part).collect()
}

/// Read like a request's path, so that a rule in any spelling matches what it means.
fn read(segment: &str) -> Result<Box<str>, PathFault> {
    let path = CanonicalPath::parse(&format!("/{segment}"))?;
    Ok(path.segments().next().unwrap_or_default().into())
}

/// A piece of a segment. The mark keeps a lone dot from being read as a dot segment, and is taken off again.
fn fragment(piece: &str) -> Result<Box<str>, PathFault> {
    let marked = read(&format!("{piece}~"))?;
    Ok(marked.strip_suffix('~').unwrap_or_default().into())
}

impl Methods {
    /// Every method that a rule can allow.
    pub const ALL: Self = Self((1 << KNOWN.len()) - 1);

    /// Whether the method is among them.
    pub fn contains(self, method: &Method) -> bool {
        bit(method).is_some_and(|bit| self.0 & bit != 0)
    }

    /// Adds those of the other set.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether both sets are equal or the other is the larger.
    pub fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether any method is in both sets.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether a rule could allow the method at all.
    pub fn knows(method: &Method) -> bool {
        bit(method).is_some()
    }
}

impl FromStr for Methods {
    type Err = RuleFault;
    fn from_str(text: &str) -> Result<Self, RuleFault> {
        let mut methods = 0;
        for word in text.split('|') {
            let fault = || RuleFault::Method(word.chars().take(40).collect());
            let method = Method::from_bytes(word.as_bytes()).map_err(|_| fault())?;
            methods |= bit(&method).ok_or_else(fault)?;
            if method == Method::GET {
                methods |= bit(&Method::HEAD).unwrap_or_default();
            }
        }
        Ok(Self(methods))
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = KNOWN.iter().enumerate().filter(|(index, _)| self.0 & (1 << index) != 0);
        for (count, (_, method)) in names.enumerate() {
            let between = if count == 0 { "" } else { ", " };
            write!(formatter, "{between}{method}")?;
        }
        Ok(())
    }
}

fn bit(method: &Method) -> Option<u8> {
    KNOWN.iter().position(|known| known == method).map(|index| 1 << index)
}

const KNOWN: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// No rule's path has more segments.
pub const MAX_PARTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read() {
        let allow: Target = "GET|POST /rest/*/x%20y/**".parse().unwrap();
        assert_eq!(allow.methods().to_string(), "GET, HEAD, POST");
        let literal = |text: &str| Part::Literal(text.into());
        assert_eq!(allow.pattern(), [literal("rest"), Part::Any, literal("x y"), Part::Rest]);
        assert_eq!("HEAD /".parse::<Target>().unwrap().pattern(), [literal("")]);
        assert_eq!("DELETE /a/".parse::<Target>().unwrap().pattern(), [literal("a"), literal("")]);
        assert_eq!("PUT   /a".parse::<Target>().unwrap().pattern(), [literal("a")]);
        assert!(!"PUT /a".parse::<Target>().unwrap().methods().contains(&Method::HEAD));
        let glob = |before: &str, after: &str| Part::Glob(before.into(), after.into());
        for (path, part) in [
            ("/outhaul.*", glob("outhaul.", "")),
            ("/*.json", glob("", ".json")),
            ("/.*", glob(".", "")),
            ("/a%20b*%C3%A9", glob("a b", "é")),
            ("/%2A*", glob("*", "")),
            ("/%2A", literal("*")),
        ] {
            assert_eq!(format!("GET {path}").parse::<Target>().unwrap().pattern(), [part], "{path}");
        }
    }

    #[test]
    fn a_star_stands_for_all_methods_where_calls_are_denied() {
        let denied: DeniedTarget = "* /a/**".parse().unwrap();
        assert_eq!(denied.0.methods(), Methods::ALL);
        assert_eq!(Methods::ALL.to_string(), "GET, HEAD, POST, PUT, PATCH, DELETE");
        let denied: DeniedTarget = "PUT|DELETE /a".parse().unwrap();
        assert_eq!(denied.0.methods().to_string(), "PUT, DELETE");
        assert!("*|GET /a".parse::<DeniedTarget>().is_err());
    }

    #[test]
    fn wrong_rules_say_why() {
        for (text, says) in [
            ("", "write methods, one space"),
            ("GET", "write methods, one space"),
            ("/rest", "write methods, one space"),
            ("GET /a b", "write methods, one space"),
            ("get /a", "“get” is no method"),
            ("OPTIONS /a", "“OPTIONS” is no method"),
            ("GET| /a", "“” is no method"),
            ("GET,POST /a", "“GET,POST” is no method"),
            ("* /a", "“*” is no method"),
            ("GET rest", "must begin with /"),
            ("GET //a", "two slashes"),
            ("GET /a/../b", "is . or .."),
            ("GET /a;b", "semicolon"),
            ("GET /%2f", "encoded slash"),
            ("GET /ä", "percent-encoded"),
            ("GET /**/a", "only be the last"),
            ("GET /a/**b", "“**b” has more than one *"),
            ("GET /a/b%4*1", "not followed by two hex digits"),
            ("GET /a/***", "has more than one *"),
            ("GET /a?b=c", "remove the ?"),
            ("GET /a#b", "remove the #"),
        ] {
            let fault = text.parse::<Target>().unwrap_err().to_string();
            assert!(fault.contains(says), "{text}: {fault}");
        }
        assert_eq!(format!("GET {}", "/a".repeat(65)).parse::<Target>(), Err(RuleFault::TooDeep));
    }
}
