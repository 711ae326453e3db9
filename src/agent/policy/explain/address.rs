//! Reads what a person types for a path: a whole URL, a path as the caller writes it, or one within the application.

use serde::Serialize;

use crate::agent::policy::route;
use crate::common::ids::{SiteName, UpstreamName};

/// An application, as addresses name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// Its name in the configuration.
    pub name: UpstreamName,
    /// Host and port of its base URL, the port only where it is not the scheme's own.
    pub authority: String,
    /// Its context path, or nothing.
    pub context: String,
}

/// What was typed, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The application.
    pub upstream: UpstreamName,
    /// The path within it, with its query if it has one.
    pub target: String,
    /// How it was read.
    pub reading: Reading,
}

/// The ways to read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// After the application's base URL, as rules name it.
    Within,
    /// As the caller writes it, by this first part: `/jira`.
    Caller(String),
    /// As the caller writes it in path form, by this first part: `/s/acme/jira`.
    PathForm(String),
    /// As in the application's own links, below its base URL.
    Link(String),
}

/// What can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// A URL or path of callers that names no application.
    #[error("“/{first}” is no application of this site; there are: {known}")]
    Unknown {
        /// The first segment.
        first: String,
        /// The names there are.
        known: String,
    },
    /// `--upstream` names none.
    #[error("there is no upstream “{given}”; there are: {known}")]
    NoUpstream {
        /// What was given.
        given: String,
        /// The names there are.
        known: String,
    },
    /// Which one?
    #[error(
        "this site has several applications ({known}): write /NAME/… as callers do, or name one with --upstream"
    )]
    Several {
        /// The names there are.
        known: String,
    },
    /// The URL says one, `--upstream` another.
    #[error("the URL is for {url}, but --upstream says {given}")]
    Other {
        /// By the URL.
        url: UpstreamName,
        /// As given.
        given: String,
    },
}

/// Reads it. With `upstream` a path is one within that application, whatever it begins with.
pub fn read(
    text: &str,
    upstream: Option<&str>,
    applications: &[Application],
) -> Result<Address, AddressFault> {
    let given = match upstream {
        Some(name) => match applications.iter().find(|one| one.name.as_str() == name) {
            Some(found) => Some(found),
            None => return Err(AddressFault::NoUpstream { given: clip(name), known: known(applications) }),
        },
        None => None,
    };
    if let Some((authority, path)) = url(text) {
        let address = by_url(authority, path, applications)?;
        return match given {
            Some(given) if given.name != address.upstream => {
                Err(AddressFault::Other { url: address.upstream, given: given.name.to_string() })
            }
            _ => Ok(address),
        };
    }
    if let Some(given) = given {
        return Ok(within(given, text));
    }
    if let Some(address) = by_path_form(text, applications).or_else(|| by_caller(text, applications, true)) {
        return Ok(address);
    }
    match applications {
        [only] => Ok(within(only, text)),
        _ => Err(AddressFault::Several { known: known(applications) }),
    }
}

fn within(application: &Application, text: &str) -> Address {
    Address { upstream: application.name.clone(), target: text.to_owned(), reading: Reading::Within }
}

/// Authority and the rest, of a whole URL.
fn url(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let authority = authority.rsplit('@').next().unwrap_or(authority);
    let plain = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    Some((authority.strip_suffix(plain).unwrap_or(authority), if path.is_empty() { "/" } else { path }))
}

fn by_url(authority: &str, path: &str, applications: &[Application]) -> Result<Address, AddressFault> {
    let own = applications.iter().filter(|one| one.authority.eq_ignore_ascii_case(authority));
    let own = own.filter_map(|one| Some((one, below(path, &one.context)?)));
    if let Some((application, rest)) = own.max_by_key(|(one, _)| one.context.len()) {
        let base = format!("{}{}", application.authority, application.context);
        return Ok(Address {
            upstream: application.name.clone(),
            target: rest,
            reading: Reading::Link(base),
        });
    }
    by_path_form(path, applications).or_else(|| by_caller(path, applications, true)).ok_or_else(|| {
        let first = path.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or("");
        AddressFault::Unknown { first: clip(first), known: known(applications) }
    })
}

/// What follows a context path, from its slash.
fn below(path: &str, context: &str) -> Option<String> {
    let rest = path.strip_prefix(context)?;
    match rest.chars().next() {
        None => Some("/".to_owned()),
        Some('/') => Some(rest.to_owned()),
        Some('?' | '#') => Some(format!("/{rest}")),
        Some(_) => None,
    }
}

fn by_path_form(text: &str, applications: &[Application]) -> Option<Address> {
    let rest = text.strip_prefix("/s/")?;
    let (site, _) = rest.split_once('/')?;
    site.parse::<SiteName>().ok()?;
    let route = text.get(..3 + site.len())?;
    let mut address = by_caller(text.get(route.len()..)?, applications, false)?;
    if let Reading::Caller(mount) = address.reading {
        address.reading = Reading::PathForm(format!("{route}{mount}"));
    }
    Some(address)
}

fn by_caller(text: &str, applications: &[Application], contexts: bool) -> Option<Address> {
    let (path, query) = match text.find(['?', '#']) {
        Some(at) => text.split_at_checked(at)?,
        None => (text, ""),
    };
    let named = |name: &str| applications.iter().find(|one| one.name.as_str() == name);
    let all = applications.iter().filter(|_| contexts).map(|one| (one, one.context.as_str()));
    let split = route::split(path, named, all)?;
    Some(Address {
        upstream: split.to.name.clone(),
        target: format!("{}{query}", split.rest),
        reading: Reading::Caller(split.mount.to_owned()),
    })
}

fn known(applications: &[Application]) -> String {
    applications.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn clip(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(63).collect()
}

impl std::fmt::Display for Reading {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Within => formatter.write_str("the path within the application"),
            Self::Caller(mount) => write!(formatter, "the path as callers write it: {mount} leads there"),
            Self::PathForm(mount) => {
                write!(formatter, "the path as callers write it in path form: {mount} leads there")
            }
            Self::Link(base) => write!(formatter, "a link of the application's own, below {base}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(names: &[(&str, &str)]) -> Vec<Application> {
        let one = |(name, base): &(&str, &str)| {
            let (authority, context) = base.split_at(base.find('/').unwrap_or(base.len()));
            Application {
                name: name.parse().unwrap(),
                authority: authority.to_owned(),
                context: context.to_owned(),
            }
        };
        names.iter().map(one).collect()
    }

    fn says(text: &str, upstream: Option<&str>, applications: &[Application]) -> String {
        match read(text, upstream, applications) {
            Ok(address) => format!("{} {} ({})", address.upstream, address.target, address.reading),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn one_application_is_found_whatever_is_typed() {
        let site = site(&[("jira", "jira.corp.example/jira")]);
        let rest = "/rest/api/2/issue/A-1?a=b";
        for (text, reading) in [
            ("/rest/api/2/issue/A-1?a=b", "within"),
            ("/jira/rest/api/2/issue/A-1?a=b", "callers write it: /jira leads"),
            ("/s/acme/jira/rest/api/2/issue/A-1?a=b", "path form: /s/acme/jira leads"),
            ("https://acme.relay.example/jira/rest/api/2/issue/A-1?a=b", "callers write it: /jira leads"),
            ("https://relay.example:8443/s/acme/jira/rest/api/2/issue/A-1?a=b", "path form"),
            ("https://JIRA.corp.example:443/jira/rest/api/2/issue/A-1?a=b", "below jira.corp.example/jira"),
        ] {
            let says = says(text, None, &site);
            assert!(says.starts_with(&format!("jira {rest} (")) && says.contains(reading), "{text}: {says}");
        }
        // An application that has a path like its own name is reached by saying so.
        assert!(says("/jira/x", Some("jira"), &site).starts_with("jira /jira/x (the path within"));
        assert!(says("/jirax", None, &site).starts_with("jira /jirax (the path within"));
        assert!(says("https://acme.relay.example/wiki/x", None, &site).contains("“/wiki” is no application"));
        assert!(says("/x", Some("wiki"), &site).contains("no upstream “wiki”"));
        assert!(says("https://jira.corp.example/jira?x", None, &site).starts_with("jira /?x"));
    }

    #[test]
    fn several_applications_are_told_apart_or_asked_for() {
        let site = site(&[("jira", "a.example/jira"), ("wiki", "a.example/docs"), ("root", "b.example")]);
        assert!(says("/rest/api/2/x", None, &site).contains("several applications (jira, wiki, root)"));
        assert!(says("/docs/x", None, &site).starts_with("wiki /x (the path as callers write it: /docs"));
        assert!(says("/s/acme/docs/x", None, &site).contains("several"), "no context paths in path form");
        assert!(says("/s/acme/wiki", None, &site).starts_with("wiki / ("));
        assert!(says("https://a.example/docs/x", None, &site).starts_with("wiki /x (a link"));
        assert!(says("https://b.example/jira/x", None, &site).starts_with("root /jira/x (a link"));
        assert!(says("https://a.example/docs/x", Some("jira"), &site).contains("the URL is for wiki"));
        assert!(says("/rest", Some("root"), &site).starts_with("root /rest"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_typed_panics(text in "\\PC{0,40}|(/|s|jira|https://|[?#@:é]){0,12}") {
            let _ = read(&text, None, &site(&[("jira", "a.example/jira"), ("s", "b.example")]));
        }
    }
}
