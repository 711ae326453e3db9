//! Turns what a person types into a call that can be decided about.

use std::io::Read as _;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::arguments::Proof;
use crate::agent::config::Config;
use crate::agent::policy::explain::address::{Address, AddressFault, Application, read};
use crate::agent::policy::tools::suggest::{Advice, Ground, Kind, Shipped, advise};
use crate::agent::policy::{Channel, Content, Trust};
use crate::common::act_as::ActAs;
use crate::common::ids::CallerName;
use crate::common::report::{Exit, Report};

/// The applications of a configuration, as addresses name them.
pub(super) struct Site {
    applications: Vec<Application>,
}

impl Site {
    pub(super) fn of(config: &Config) -> Self {
        let applications = config.upstreams.iter().map(|upstream| Application {
            name: upstream.name.clone(),
            authority: upstream.base_url.authority(),
            context: upstream.base_url.path.clone(),
        });
        Self { applications: applications.collect() }
    }

    pub(super) fn address(&self, text: &str, upstream: Option<&str>) -> Result<Address, AddressFault> {
        read(text, upstream, &self.applications)
    }
}

/// What to do about a kind of refused call.
pub(super) fn advice(config: &Config, shipped: &[Shipped], kind: &Kind) -> Advice {
    let several = config.upstreams.len() > 1;
    advise(&Ground { policy: &config.policy, shipped, several }, kind)
}

/// A method, also in small letters.
pub(super) fn method(text: &str) -> Result<Method, Report> {
    text.to_ascii_uppercase().parse().map_err(|_| {
        let given: String = text.chars().filter(|one| !one.is_control()).take(40).collect();
        Report::new(Exit::Usage, format!("“{given}” is no HTTP method"))
            .with_remedy("Write the method first, then the path: `policy explain GET /rest/api/2/myself`.")
    })
}

/// A caller's name, if one is given.
pub(super) fn caller(text: Option<&str>) -> Result<Option<CallerName>, Report> {
    let parsed = text.map(str::parse::<CallerName>).transpose();
    parsed.map_err(|error| Report::from_error(Exit::Usage, &error))
}

/// A body from a file, or from standard input.
pub(super) fn body(path: &Path) -> Result<Vec<u8>, Report> {
    let failed = |error: std::io::Error| {
        Report::new(Exit::InputOutput, format!("the body {} can't be read: {error}", path.display()))
    };
    let mut body = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_BODY + 1).read_to_end(&mut body).map_err(failed)?;
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BODY + 1).read_to_end(&mut body))
            .map_err(failed)?;
    }
    if body.len() as u64 > MAX_BODY {
        return Err(Report::new(Exit::Usage, format!("the body {} is larger than 256 MB", path.display())));
    }
    Ok(body)
}

/// What is said of the body: what was given, or JSON where there is a body and nothing is said.
pub(super) fn content(given: Option<&str>, has_body: bool) -> Content {
    match given {
        Some(kind) => Content::with_type(kind),
        None if has_body => Content::with_type(JSON),
        None => Content::default(),
    }
}

/// The same from header fields, as the agent reads them.
pub(super) fn content_of(given: &[(HeaderName, HeaderValue)], has_body: bool) -> Content {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        headers.append(name, value.clone());
    }
    if has_body && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    }
    Content::of(&headers)
}

const JSON: &str = "application/json";

/// All header fields that were given.
pub(super) fn headers(given: &[String]) -> Result<Vec<(HeaderName, HeaderValue)>, Report> {
    let parse = |text: &String| super::headers::parse(text).map_err(|what| Report::new(Exit::Usage, what));
    given.iter().map(parse).collect()
}

/// A person, as callers name them in `Outhaul-Act-As`.
pub(super) fn person(text: &str) -> Result<String, Report> {
    let person = text.parse::<ActAs>().map_err(|fault| {
        Report::new(Exit::Usage, format!("--as: {fault}")).with_remedy(
            "Write PROVIDER:SUBJECT as the caller does in Outhaul-Act-As, such as entra:alice@corp.example.",
        )
    })?;
    Ok(person.to_string())
}

/// A proof, by its word.
pub(super) fn proof(text: &str) -> Option<Proof> {
    <Proof as clap::ValueEnum>::from_str(text, false).ok()
}

/// What these proofs amount to.
pub(super) fn trust(proofs: &[Proof]) -> Trust {
    let has = |proof| proofs.contains(&proof);
    let channel = if has(Proof::PassThrough) {
        Channel::CustomerName
    } else if has(Proof::PassThroughOperatorName) {
        Channel::OperatorName
    } else {
        Channel::Relay
    };
    Trust { channel, is_signed: has(Proof::Signed), proves_person: has(Proof::Person), key_is_exposed: false }
}

const MAX_BODY: u64 = 256 << 20;
