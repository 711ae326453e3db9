//! What a record says. Never a body, a query or a secret: there is no field for one.

use std::ops::Range;
use std::time::Duration;

use http::Method;

use super::encode::Writer;
use crate::common::ids::RequestId;
use crate::common::problem::{Code, Outcome};
use crate::identity::audit_head::ChainHead;

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Event { $($(#[$doc])* $variant,)* }

        impl Event {
            /// All of them, for documents, filters and tests.
            pub const ALL: &'static [Event] = &[$(Event::$variant,)*];
            /// As in a record's `event`.
            pub fn as_str(self) -> &'static str { match self { $(Event::$variant => $name,)* } }
        }
    };
}

events! {
    /// An unsafe call is about to leave.
    CallIntent = "call-intent";
    /// A call has ended.
    Call = "call";
    /// A call of a known caller was refused.
    Refused = "refused";
    /// A stored secret was used other than for a call: a token renewed, `myself` asked.
    SecretUsed = "secret-used";
    /// A stored credential was set.
    CredentialSet = "credential-set";
    /// A stored credential was removed.
    CredentialRemoved = "credential-removed";
    /// A caller was made.
    CallerAdded = "caller-added";
    /// A caller got a new key.
    CallerRotated = "caller-rotated";
    /// A caller was removed.
    CallerRemoved = "caller-removed";
    /// A person began to link an account.
    LinkStarted = "link-started";
    /// A person's account at the upstream was proved, but not linked yet.
    LinkProved = "link-proved";
    /// An account was linked.
    LinkCreated = "link-created";
    /// A link was refused: wrong code, expired, tried too often.
    LinkRefused = "link-refused";
    /// A link was removed.
    LinkRemoved = "link-removed";
    /// Links were read from a file.
    LinkImported = "link-imported";
    /// Links were written to a file.
    LinkExported = "link-exported";
    /// All calls are refused from now on.
    Pause = "pause";
    /// Calls pass again.
    Resume = "resume";
    /// A certificate came from its authority.
    CertificateIssued = "certificate-issued";
    /// A new certificate was asked for by hand.
    CertificateRenewal = "certificate-renewal";
    /// A new key was made for a name's next certificate.
    CertificateKey = "certificate-key";
    /// The configuration was read again.
    Reload = "reload";
    /// A backup of the store was made.
    StoreBackup = "store-backup";
    /// The store's key was changed.
    StoreRekey = "store-rekey";
    /// The store was put back from a backup.
    StoreRestore = "store-restore";
    /// This agent became known to a relay.
    Enrolled = "enrolled";
    /// The agent began to run.
    Start = "start";
    /// The agent stops.
    Stop = "stop";
    /// Older records were removed; the checkpoint says up to which.
    Checkpoint = "checkpoint";
    /// Records could not be written and are lost.
    Gap = "gap";
}

impl std::str::FromStr for Event {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|event| event.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|event| event.as_str()).collect();
            format!("“{text}” is no event; there are: {}", names.join(", "))
        })
    }
}

/// As whom a call was made at the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As<'a> {
    /// As a person, by the key of the account.
    User(&'a str),
    /// As a service of the configuration.
    Service(&'a str),
    /// As nobody.
    Anonymous,
}

/// The rule that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByRule<'a> {
    /// Its `allow` or `deny`.
    pub text: &'a str,
    /// The file it stands in.
    pub file: &'a str,
    /// The line there.
    pub line: usize,
}

/// Who and what: the same in a call's intent and in its result. What does not apply stays out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// Which call.
    pub request: Option<RequestId>,
    /// Which program called.
    pub caller: Option<&'a str>,
    /// Whose token said so; nothing where the program showed a key of this site.
    pub issuer: Option<&'a str>,
    /// For whom: provider and subject, as the caller named them.
    pub act_as: Option<(&'a str, &'a str)>,
    /// As whom at the upstream.
    pub identity: Option<As<'a>>,
    /// The account's user name at that time.
    pub jira_user: Option<&'a str>,
    /// Who did it at the machine itself, such as `uid 0`.
    pub by: Option<&'a str>,
    /// Which application.
    pub upstream: Option<&'a str>,
    /// The method.
    pub method: Option<&'a Method>,
    /// The canonical path. Never the query.
    pub path: Option<&'a str>,
    /// The rule that decided.
    pub rule: Option<ByRule<'a>>,
    /// The rule took the relay's word for who calls (`accept-relay-trust`).
    pub relay_trust: bool,
    /// The key that signed the call.
    pub signed: Option<&'a str>,
}

/// The encoded facts of a call, made once and used for both of its records.
#[derive(Debug, Clone)]
pub struct Prepared {
    bytes: Vec<u8>,
    /// Where in them the caller's name stands.
    caller: Range<usize>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// What the caller got.
    pub result: Option<Answered>,
    /// What the upstream saw, where that is not plain from the result.
    pub outcome: Option<Outcome>,
    /// Bytes of the request's body.
    pub bytes_in: Option<u64>,
    /// Bytes of the answer's body.
    pub bytes_out: Option<u64>,
    /// From its arrival to the end of the answer.
    pub took: Option<Duration>,
}

/// What a caller got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// The upstream's own answer, by its status.
    Status(u16),
    /// A refusal of ours.
    Problem(Code),
}

/// A record that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// What happened.
    pub event: Event,
    /// Who and what.
    pub facts: Facts<'a>,
    /// What came of it.
    pub ended: Ended,
    /// More, in a few words: which credential, which file, which caller. Never a secret.
    pub detail: Option<&'a str>,
    pub(super) special: Option<Special>,
}

/// What only the audit itself says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    /// So many are lost, first and last time of them.
    Lost { count: u64, from: i64, to: i64 },
    /// So many more of the kind came in this time, and have no record of their own.
    More { count: u64, from: i64, to: i64 },
    /// Records up to this one were removed.
    Removed { number: u64, head: ChainHead },
}

impl<'a> Record<'a> {
    /// That something happened, and nothing else yet.
    pub fn new(event: Event) -> Self {
        Self { event, facts: Facts::default(), ended: Ended::default(), detail: None, special: None }
    }

    /// The same, with these facts.
    #[must_use]
    pub fn about(mut self, facts: Facts<'a>) -> Self {
        self.facts = facts;
        self
    }

    /// The same, about this caller.
    #[must_use]
    pub fn caller(mut self, name: &'a str) -> Self {
        self.facts.caller = Some(name);
        self
    }

    /// The same, done by somebody at the machine.
    #[must_use]
    pub fn by(mut self, who: &'a str) -> Self {
        self.facts.by = Some(who);
        self
    }

    /// The same, with what came of it.
    #[must_use]
    pub fn ended(mut self, ended: Ended) -> Self {
        self.ended = ended;
        self
    }

    /// The same, with more in a few words.
    #[must_use]
    pub fn detail(mut self, words: &'a str) -> Self {
        self.detail = Some(words);
        self
    }
}

impl Facts<'_> {
    /// Encodes them for good.
    pub fn prepare(&self) -> Prepared {
        let mut bytes = Vec::with_capacity(384);
        let caller = self.write(&mut Writer::new(&mut bytes));
        Prepared { bytes, caller }
    }

    /// Says where the caller's name stands.
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Range<usize> {
        let mut name = 0..0;
        if let Some(request) = self.request {
            let mut text = [0; 36];
            writer.plain(",\"request\":", request.write(&mut text));
        }
        if let Some(caller) = self.caller {
            writer.text(",\"caller\":", caller);
            let end = writer.len().saturating_sub(1);
            // A name has no letter that needs an escape.
            name = end.saturating_sub(caller.len())..end;
        }
        if let Some(issuer) = self.issuer {
            writer.text(",\"issuer\":", issuer);
        }
        if let Some((provider, subject)) = self.act_as {
            writer.joined(",\"act_as\":", &[provider, ":", subject]);
        }
        match self.identity {
            None => {}
            Some(As::User(key)) => writer.joined(",\"identity\":", &["user:", key]),
            Some(As::Service(name)) => writer.joined(",\"identity\":", &["service:", name]),
            Some(As::Anonymous) => writer.plain(",\"identity\":", "anonymous"),
        }
        for (key, value) in
            [(",\"jira_user\":", self.jira_user), (",\"by\":", self.by), (",\"upstream\":", self.upstream)]
        {
            if let Some(value) = value {
                writer.text(key, value);
            }
        }
        if let Some(method) = self.method {
            // Of an extension method, letters and signs only (RFC 9110, section 5.6.2), none of which needs an escape.
            writer.plain(",\"method\":", method.as_str());
        }
        if let Some(path) = self.path {
            writer.text(",\"path\":", path);
        }
        if let Some(rule) = self.rule {
            writer.text(",\"rule\":", rule.text);
            writer.place(",\"place\":", rule.file, rule.line);
        }
        if self.relay_trust {
            writer.plain(",\"trust\":", "accept-relay-trust");
        }
        if let Some(key) = self.signed {
            writer.text(",\"signed\":", key);
        }
        name
    }
}

impl Prepared {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The caller's name; empty where there is none.
    pub(super) fn caller(&self) -> &str {
        self.bytes.get(self.caller.clone()).and_then(|name| str::from_utf8(name).ok()).unwrap_or("")
    }
}

impl Ended {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match self.result {
            None => {}
            Some(Answered::Status(status)) => writer.number(",\"result\":", status.into()),
            Some(Answered::Problem(code)) => writer.plain(",\"result\":", code.as_str()),
        }
        if let Some(outcome) = self.outcome {
            let outcome = match outcome {
                Outcome::NotSent => "not-sent",
                Outcome::OutcomeUnknown => "outcome-unknown",
                Outcome::Answered => "answered",
            };
            writer.plain(",\"outcome\":", outcome);
        }
        let took = self.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        for (key, value) in
            [(",\"bytes_in\":", self.bytes_in), (",\"bytes_out\":", self.bytes_out), (",\"ms\":", took)]
        {
            if let Some(value) = value {
                writer.number(key, value);
            }
        }
    }
}

impl Special {
    pub(super) fn write(self, writer: &mut Writer<'_>) {
        use super::encode::stamp;
        match self {
            Self::Lost { count, from, to } => {
                writer.number(",\"lost\":", count);
                writer.plain(",\"from\":", &stamp(from));
                writer.plain(",\"to\":", &stamp(to));
            }
            Self::More { count, from, to } => {
                writer.number(",\"more\":", count);
                writer.plain(",\"from\":", &stamp(from));
                writer.plain(",\"to\":", &stamp(to));
            }
            Self::Removed { number, head } => {
                writer.number(",\"removed_to\":", number);
                writer.plain(",\"head\":", &head.to_string());
            }
        }
    }
}
