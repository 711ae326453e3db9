//! One rule: which calls it allows or denies, for whom, as whom, and why.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::common::ids::{CallerName, ServiceName, UpstreamName};
use crate::common::limits::ByteSize;

use super::body::BodyTest;
use super::content::MediaType;
use super::query::QueryTest;
use super::rate::Rate;
use super::target::{DeniedTarget, Target};
use super::trust::Demand;

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

/// One rule that allows. Whatever no rule allows is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    allow: Target,
    why: String,
    upstream: UpstreamName,
    identity: Identity,
    callers: Vec<CallerName>,
    tests: Tests,
    terms: Terms,
    place: Place,
}

/// What a call must be beside method, path and caller, for a rule to fit it. Empty fits every call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tests {
    /// `content-type`: one of these; none means any.
    pub content_types: Vec<MediaType>,
    /// `query` and `query-only`.
    pub query: QueryTest,
    /// `body`.
    pub body: BodyTest,
}

/// What a rule that fits asks of the call. A call that does not meet it is refused; no later rule is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Terms {
    /// `require`: one of these proofs; none means no further one.
    pub require: Vec<Demand>,
    /// `accept-relay-trust`: a rule as the person takes the relay's word for who calls.
    pub accept_relay_trust: bool,
    /// `rate`: so many calls of each caller.
    pub rate: Option<Rate>,
    /// `max-body`.
    pub max_body: Option<ByteSize>,
}

/// One rule that denies. It wins over every rule that allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    deny: Target,
    why: String,
    upstream: Option<UpstreamName>,
    callers: Vec<CallerName>,
    query: QueryTest,
    place: Place,
}

impl Rule {
    /// A rule for any caller. `place` is where it stands, for `explain` and the logs.
    pub fn new(
        allow: Target,
        why: impl Into<String>,
        upstream: UpstreamName,
        identity: Identity,
        place: Place,
    ) -> Self {
        let (tests, terms) = (Tests::default(), Terms::default());
        Self { allow, why: why.into(), upstream, identity, callers: Vec::new(), tests, terms, place }
    }

    /// The same, for these callers only; none means any.
    #[must_use]
    pub fn for_callers(mut self, callers: Vec<CallerName>) -> Self {
        self.callers = callers;
        self
    }

    /// The same, for calls that meet these tests only.
    #[must_use]
    pub fn with_tests(mut self, tests: Tests) -> Self {
        self.tests = tests;
        self
    }

    /// The same, on these terms.
    #[must_use]
    pub fn with_terms(mut self, terms: Terms) -> Self {
        self.terms = terms;
        self
    }

    /// The same, with a limit of its own for request bodies.
    #[must_use]
    pub fn with_max_body(mut self, limit: Option<ByteSize>) -> Self {
        self.terms.max_body = limit;
        self
    }

    /// What it allows.
    pub fn allow(&self) -> &Target {
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

    /// What else a call must be.
    pub fn tests(&self) -> &Tests {
        &self.tests
    }

    /// What it asks of the calls it fits.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The largest request body, where the rule says.
    pub fn max_body(&self) -> Option<ByteSize> {
        self.terms.max_body
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it is for this caller; `None` is one that no rule names.
    pub fn is_for(&self, caller: Option<&CallerName>) -> bool {
        is_among(&self.callers, caller)
    }

    /// The same for equal rules wherever they stand, so that a counter of a rule outlives a change of the file.
    pub(super) fn fingerprint(&self) -> u64 {
        let Self { allow, why: _, upstream, identity, callers, tests, terms, place: _ } = self;
        let mut hasher = DefaultHasher::new();
        (allow, upstream, identity, callers, tests, terms).hash(&mut hasher);
        hasher.finish()
    }
}

impl Denial {
    /// A rule that denies any caller; for every upstream where none is named.
    pub fn new(
        deny: DeniedTarget,
        why: impl Into<String>,
        upstream: Option<UpstreamName>,
        place: Place,
    ) -> Self {
        let (callers, query) = (Vec::new(), QueryTest::default());
        Self { deny: deny.0, why: why.into(), upstream, callers, query, place }
    }

    /// The same, for these callers only; none means any.
    #[must_use]
    pub fn for_callers(mut self, callers: Vec<CallerName>) -> Self {
        self.callers = callers;
        self
    }

    /// The same, for calls with such a query only.
    #[must_use]
    pub fn with_query(mut self, query: QueryTest) -> Self {
        self.query = query;
        self
    }

    /// What it denies.
    pub fn deny(&self) -> &Target {
        &self.deny
    }

    /// The reason that its author gave.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The application it is about; `None` is every one.
    pub fn upstream(&self) -> Option<&UpstreamName> {
        self.upstream.as_ref()
    }

    /// For whom; empty means any caller.
    pub fn callers(&self) -> &[CallerName] {
        &self.callers
    }

    /// What the query must be for it to apply.
    pub fn query(&self) -> &QueryTest {
        &self.query
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether it is for this caller.
    pub fn is_for(&self, caller: Option<&CallerName>) -> bool {
        is_among(&self.callers, caller)
    }
}

fn is_among(callers: &[CallerName], caller: Option<&CallerName>) -> bool {
    callers.is_empty() || caller.is_some_and(|caller| callers.contains(caller))
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
