//! `policy explain METHOD PATH`: the decision, and around it what else would become of the call.

use std::fmt::Write as _;
use std::path::Path;

use http::{HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::json;

use super::arguments::Explain;
use super::asking::{self, Site};
use super::daemon::{self, Running};
use super::headers::{self, Headers};
use crate::agent::config::Config;
use crate::agent::policy::explain::address::{Address, Reading};
use crate::agent::policy::explain::{Answer, Explanation, explain, printable};
use crate::agent::policy::tools::asked::{Asked, Decision, decide};
use crate::agent::policy::tools::digest;
use crate::agent::policy::tools::shape::shape;
use crate::agent::policy::tools::suggest::{Advice, InProfile, Kind};
use crate::agent::policy::{Channel, Identity, Reason};
use crate::common::act_as::ActAs;
use crate::common::limits::ByteSize;
use crate::common::problem::{Code, Problem};
use crate::common::report::{Exit, Report};
use crate::terminal;

/// All that is told.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    explanation: Explanation,
    /// How the path was read.
    reading: Reading,
    /// What would go to the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<Sent>,
    /// Rules of shipped profiles for such calls, where no rule of the site's is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_profiles: Vec<InProfile>,
    /// What becomes of the header fields.
    headers: Headers,
    /// What the running agent does.
    running: Running,
}

#[derive(Debug, Serialize)]
struct Sent {
    /// Method and target.
    request: String,
    /// The application's nodes: one of them gets it, below its own path.
    to: Vec<String>,
    /// As whom.
    identity: String,
    /// The account that is, for a service.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// For whom the caller asks, where it says.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// The largest body.
    max_body: String,
    /// What the caller sees although a rule allows the call; else it sees the application's own answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<Answer>,
}

/// Whether the call is allowed is in the text, not in the exit code: asking succeeded either way.
pub(super) fn run(file: &Path, what: &Explain, json: bool) -> Result<(), Report> {
    let config = Config::load(file).map_err(|report| daemon::beside(file, report))?;
    let headers = asking::headers(&what.headers)?;
    let site = Site::of(&config);
    let address = site
        .address(&what.path, what.upstream.as_deref())
        .map_err(|fault| Report::from_error(Exit::Usage, &fault))?;
    let asked = asked(what, &address, &headers)?;
    let told = tell(&config, &asked, address.reading, &headers)?;
    if json {
        terminal::say_json(&json!(told));
    } else {
        terminal::say(&told.text(file));
    }
    Ok(())
}

fn asked(what: &Explain, address: &Address, headers: &[(HeaderName, HeaderValue)]) -> Result<Asked, Report> {
    let body = what.body.as_deref().map(asking::body).transpose()?;
    Ok(Asked {
        method: asking::method(&what.method)?,
        upstream: address.upstream.clone(),
        target: address.target.clone(),
        caller: asking::caller(what.caller.as_deref())?,
        person: what.person.as_deref().map(asking::person).transpose()?,
        content: asking::content_of(headers, body.is_some()),
        body,
        trust: asking::trust(&what.proofs),
    })
}

fn tell(
    config: &Config,
    asked: &Asked,
    reading: Reading,
    given: &[(HeaderName, HeaderValue)],
) -> Result<Told, Report> {
    let explanation = explain(&config.policy, asked);
    let sent = sent(config, asked);
    let host = config.upstreams.iter().find(|upstream| upstream.name == asked.upstream);
    let host = host.map(|upstream| upstream.base_url.authority()).unwrap_or_default();
    let account = sent.as_ref().and_then(|sent| sent.account.as_ref());
    let credential = account.map(|account| format!("the credential of {account}, which is not shown"));
    let headers = headers::of(&asked.method, &host, given, credential)
        .map_err(|what| Report::new(Exit::Usage, what))?;
    let passes = asked.trust.channel > Channel::Relay;
    let running = daemon::ask(&config.admin_socket, &digest(&config.policy), asked.caller.as_ref(), passes);
    let in_profiles = in_profiles(config, asked);
    Ok(Told { explanation, reading, sent, in_profiles, headers, running })
}

fn sent(config: &Config, asked: &Asked) -> Option<Sent> {
    let Decision::Allowed(call, rule) = decide(&config.policy, asked) else { return None };
    let upstream = config.upstreams.iter().find(|upstream| upstream.name == asked.upstream)?;
    let account = match rule.identity() {
        Identity::Service(name) => {
            let stated = config.services.iter().find(|service| service.name == *name).map(|one| &one.user);
            let fetched = || config.client_credentials.iter().find(|service| service.name == *name);
            stated.or_else(|| fetched().map(|one| &one.user))
        }
        Identity::User | Identity::Anonymous => None,
    };
    let own = upstream.max_request_body;
    let limit = rule.max_body().map_or(own, |rule| rule.min(own));
    let query = call.query.as_str().map(|query| format!("?{query}")).unwrap_or_default();
    Some(Sent {
        request: format!("{} {}{query}", call.method, call.path),
        to: upstream.nodes.iter().map(ToString::to_string).collect(),
        identity: rule.identity().to_string(),
        account: account.cloned(),
        person: asked.person.clone(),
        max_body: limit.to_string(),
        instead: instead(config, rule.identity(), asked, limit).as_ref().map(Answer::of),
    })
}

/// Where to find a rule for a call that no rule of the site's is about.
fn in_profiles(config: &Config, asked: &Asked) -> Vec<InProfile> {
    let Decision::Refused(call, Reason::NoRule { .. }) = decide(&config.policy, asked) else {
        return Vec::new();
    };
    let (Some(caller), Some(shape)) = (call.caller, shape(&call.path)) else { return Vec::new() };
    let code = Code::PolicyRefused.to_string();
    let kind = Kind { caller, upstream: call.upstream, method: call.method, shape, code };
    match asking::advice(config, &Config::shipped_rules(&kind.upstream), &kind) {
        Advice::Add(proposal) => proposal.in_profiles,
        _ => Vec::new(),
    }
}

/// What stands in the way of an allowed call although the policy does not.
fn instead(config: &Config, identity: &Identity, asked: &Asked, limit: ByteSize) -> Option<Problem> {
    let person = asked.person.as_ref().and_then(|person| person.parse::<ActAs>().ok());
    if let (Some(caller), Some(person)) = (&asked.caller, &person)
        && let Some(refused) = config.caller(caller).refuses(caller, person)
    {
        return Some(refused);
    }
    if *identity == Identity::User && person.is_none() {
        return Some(crate::agent::policy::nobody_named());
    }
    let length = asked.body.as_ref().map_or(0, Vec::len) as u64;
    (length > limit.0).then(|| crate::agent::proxy::too_large(limit.0))
}

impl Told {
    fn text(&self, file: &Path) -> String {
        let mut text = self.explanation.to_string();
        let mut line = |word: &str, says: &str| {
            let _ = writeln!(text, "  {word:<9} {}", printable(says));
        };
        for rule in &self.in_profiles {
            line("profile", &format!("{}: {} (not in use for this call)", rule.place, rule.allow));
        }
        line("read as", &self.reading.to_string());
        if let Some(sent) = &self.sent {
            line("sent", &format!("{} below {}", sent.request, sent.to.join(" or ")));
            let account = sent.account.as_ref().map(|user| format!(", which is the account {user}"));
            line("identity", &format!("{}{}", sent.identity, account.unwrap_or_default()));
            if let Some(person) = &sent.person {
                let rule = if sent.identity == Identity::User.to_string() {
                    ""
                } else {
                    ", whom this rule does not ask for"
                };
                line("person", &format!("{person}{rule}"));
            }
        }
        let asked = !self.headers.passed.is_empty() || !self.headers.dropped.is_empty();
        // Of a refused call no field is sent: only what was asked about is answered.
        for field in self.headers.set.iter().filter(|_| self.sent.is_some()) {
            line("sets", &format!("{}: {}", field.name, field.value));
        }
        for field in &self.headers.passed {
            line("passes", &format!("{}: {}", field.name, field.value));
        }
        for field in &self.headers.dropped {
            line("drops", &format!("{} ({})", field.name, field.because));
        }
        if self.sent.is_some() || asked {
            line("never", self.headers.never);
        }
        match &self.sent {
            Some(Sent { instead: Some(answer), .. }) => {
                line("answer", &format!("{} {}: {}", answer.status, answer.code, answer.detail));
            }
            Some(Sent { instead: None, identity, .. }) if *identity == Identity::User.to_string() => line(
                "answer",
                "the application's own, unchanged; or 403 link-required, if the person has linked no account (see \
                 `outhaul-agent link list`)",
            ),
            Some(Sent { instead: None, .. }) => line("answer", "the application's own, unchanged"),
            None => {}
        }
        for note in self.running.notes(file, self.explanation.caller.as_ref()) {
            line("NOTE", &note);
        }
        text
    }
}
