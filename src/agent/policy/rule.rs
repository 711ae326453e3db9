//! One rule: which calls it allows, for whom, as whom, and why.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Method;

use crate::common::ids::{CallerName, ServiceName, UpstreamName};
use crate::common::limits::ByteSize;

use super::path::{CanonicalPath, PathFault};

/// As whom a call is made at the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// As the person the caller acts for.
    User,
    /// As a service account: the name of a `[service.NAME]` table.
    Service(ServiceName),
    /// As nobody.
    Anonymous,
}

/// Where a rule stands, for people: `agent.toml:12`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub file: Arc<str>,
    /// The line its `allow` stands on.
    pub line: usize,
}

/// One rule. Whatever no rule allows is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    allow: Allow,
    why: String,
    upstream: UpstreamName,
    identity: Identity,
    callers: Vec<CallerName>,
    max_body: Option<ByteSize>,
    place: Place,
}

/// Methods and a path pattern: `GET|POST /rest/api/2/issue/*/comment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    text: String,
    methods: Methods,
    pattern: Vec<Part>,
}

/// One part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// This very segment.
    Literal(Box<str>),
    /// `*`: any one segment that is not empty.
    Any,
    /// `**`: one segment or more, to the end of the path.
    Rest,
}

/// A set of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Methods(u8);

/// A text after `allow =` that is no rule.
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
    #[error("a rule names a path only: remove the {0} and what follows")]
    Query(char),
    /// `**` not at the end.
    #[error("** stands for the rest of the path and may only be the last segment")]
    RestNotLast,
    /// `*` within a segment.
    #[error("* stands for a whole segment: “{0}” can't be matched in part")]
    Partial(String),
    /// Too many segments.
    #[error("the path has more than {MAX_PARTS} segments")]
    TooDeep,
    /// Not a path that could ever be sent.
    #[error("no call could have this path: {0}")]
    Path(#[from] PathFault),
}

impl Rule {
    /// A rule for any caller. `place` is where it stands, for `explain` and the logs.
    pub fn new(
        allow: Allow,
        why: impl Into<String>,
        upstream: UpstreamName,
        identity: Identity,
        place: Place,
    ) -> Self {
        Self { allow, why: why.into(), upstream, identity, callers: Vec::new(), max_body: None, place }
    }

    /// The same, for these callers only; none means any.
    #[must_use]
    pub fn for_callers(mut self, callers: Vec<CallerName>) -> Self {
        self.callers = callers;
        self
    }

    /// The same, with a limit of its own for request bodies.
    #[must_use]
    pub fn with_max_body(mut self, limit: Option<ByteSize>) -> Self {
        self.max_body = limit;
        self
    }

    /// What it allows.
    pub fn allow(&self) -> &Allow {
        &self.allow
    }

    /// The reason that its author gave.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The application it is about.
    pub fn upstream(&self) -> &UpstreamName {
        &self.upstream
    }

    /// As whom its calls are made.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// For whom; empty means any caller.
    pub fn callers(&self) -> &[CallerName] {
        &self.callers
    }

    /// The largest request body, where the rule says.
    pub fn max_body(&self) -> Option<ByteSize> {
        self.max_body
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it is for this caller; `None` is one that no rule names.
    pub fn is_for(&self, caller: Option<&CallerName>) -> bool {
        self.callers.is_empty() || caller.is_some_and(|caller| self.callers.contains(caller))
    }
}

impl Allow {
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
}

impl FromStr for Allow {
    type Err = RuleFault;
    fn from_str(text: &str) -> Result<Self, RuleFault> {
        let (methods, path) = text.split_once(' ').ok_or(RuleFault::Shape)?;
        let path = path.trim_start_matches(' ');
        if methods.is_empty() || path.is_empty() || path.contains(' ') {
            return Err(RuleFault::Shape);
        }
        let methods = methods.parse()?;
        let pattern = parse_pattern(path)?;
        Ok(Self { text: text.to_owned(), methods, pattern })
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
        _ if segment.contains('*') => Err(RuleFault::Partial(segment.chars().take(80).collect())),
        // Read like a request's path, so that a rule in any spelling matches what it means.
        _ => {
            let path = CanonicalPath::parse(&format!("/{segment}"))?;
            Ok(Part::Literal(path.segments().next().unwrap_or_default().into()))
        }
    };
    segments.iter().enumerate().map(part).collect()
}

impl Methods {
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

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => formatter.write_str("the linked user"),
            Self::Service(name) => write!(formatter, "service {name}"),
            Self::Anonymous => formatter.write_str("anonymous"),
        }
    }
}

/// OPTIONS, TRACE and CONNECT speak to proxies, not to applications: they are never passed.
const KNOWN: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// No rule's path has more segments.
pub const MAX_PARTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read() {
        let allow: Allow = "GET|POST /rest/*/x%20y/**".parse().unwrap();
        assert_eq!(allow.methods().to_string(), "GET, HEAD, POST");
        let literal = |text: &str| Part::Literal(text.into());
        assert_eq!(allow.pattern(), [literal("rest"), Part::Any, literal("x y"), Part::Rest]);
        assert_eq!("HEAD /".parse::<Allow>().unwrap().pattern(), [literal("")]);
        assert_eq!("DELETE /a/".parse::<Allow>().unwrap().pattern(), [literal("a"), literal("")]);
        assert_eq!("PUT   /a".parse::<Allow>().unwrap().pattern(), [literal("a")]);
        assert!(!"PUT /a".parse::<Allow>().unwrap().methods().contains(&Method::HEAD));
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
            ("GET /a/b*", "“b*” can't be matched in part"),
            ("GET /a/***", "can't be matched in part"),
            ("GET /a?b=c", "remove the ?"),
            ("GET /a#b", "remove the #"),
        ] {
            let fault = text.parse::<Allow>().unwrap_err().to_string();
            assert!(fault.contains(says), "{text}: {fault}");
        }
        assert_eq!(format!("GET {}", "/a".repeat(65)).parse::<Allow>(), Err(RuleFault::TooDeep));
    }
}
