//! `credential set|list|test|remove`: what is asked of the person, and what is shown. Never a secret.

use std::fmt::Write as _;

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::understood;
use crate::agent::admin::credentials::{CredentialLine, RemovedLine, StoredLine, TestedLine};
use crate::common::ids::{ServiceName, UpstreamName};
use crate::common::report::{Exit, Report};
use crate::common::secret::Secret;
use crate::net::local::Client;
use crate::terminal::{self, TypedFault};

/// The secrets of the accounts that calls are made as.
#[derive(Debug, Subcommand)]
pub enum Credential {
    /// Keep a service's secret in the store, encrypted; a running agent uses it from the next call on. It is asked for, or read
    /// from standard input; it is never an argument, which others on this machine could see.
    Set {
        /// Which service: as in [service.NAME].
        name: ServiceName,
        /// Read it from standard input although that is a terminal.
        #[arg(long)]
        stdin: bool,
    },
    /// List the services: where each secret lies, when it was set, whether it can be used.
    List,
    /// Ask the application whose the secret is, once: `myself`. Tells expiry where the application does.
    Test {
        /// Which service.
        name: ServiceName,
        /// At which application. By default at each that a rule uses the service for.
        #[arg(long, value_name = "NAME")]
        upstream: Option<UpstreamName>,
    },
    /// Forget the secret in the store; calls that need it are refused at once.
    Remove {
        /// Which service.
        name: ServiceName,
    },
}

/// Does one of them through the running agent.
pub async fn ask(client: &Client, what: &Credential) -> Result<Value, Report> {
    match what {
        Credential::Set { name, stdin } => {
            let lines = understood(client.get("/credentials").await?)?;
            let secret = secret(name, *stdin, lines)?;
            client.post(&path(name), &json!({ "secret": secret.expose() })).await
        }
        Credential::List => client.get("/credentials").await,
        Credential::Test { name, upstream } => {
            client.post(&format!("{}/test", path(name)), &json!({ "upstream": upstream })).await
        }
        Credential::Remove { name } => client.request(Method::DELETE, &path(name), None).await,
    }
}

/// Asks for the secret of a service that there is, by what it is.
pub fn secret(name: &ServiceName, stdin: bool, lines: Vec<CredentialLine>) -> Result<Secret<String>, Report> {
    let known: Vec<CredentialLine> = lines.into_iter().filter(|line| line.user.is_some()).collect();
    let Some(line) = known.iter().find(|line| line.service == name.as_str()) else {
        let there: Vec<&str> = known.iter().map(|line| line.service.as_str()).collect();
        let remedy = format!("Add a table [service.{name}] with its user to the configuration first.");
        let remedy = match there.as_slice() {
            [] => remedy,
            there => format!("There are: {}. {remedy}", there.join(", ")),
        };
        return Err(Report::new(Exit::Data, format!("there is no service “{name}”")).with_remedy(remedy));
    };
    let what = title(line.kind.as_deref().unwrap_or_default());
    let user = line.user.as_deref().unwrap_or_default();
    terminal::read_secret(&format!("{what} of {user}, for service {name}"), stdin).map_err(|fault| {
        let exit = match fault {
            TypedFault::System(_) => Exit::InputOutput,
            _ => Exit::Usage,
        };
        Report::from_error(exit, &fault)
    })
}

/// Shows what came of it; a test that found something is a failure.
pub fn show(what: &Credential, document: Value, json: bool) -> Result<(), Report> {
    if json {
        terminal::say_json(&document);
    }
    match what {
        _ if json && !matches!(what, Credential::Test { .. }) => Ok(()),
        Credential::Set { .. } => {
            let line: StoredLine = understood(document)?;
            let (service, set) = (&line.service, &line.set);
            let what = title(&line.kind);
            let again = if line.replaced { ", in the place of the one before" } else { "" };
            let mut text = format!("{what} for service {service} stored at {set}{again}.\n");
            match &line.note {
                Some(note) => text.push_str(note),
                None => {
                    let _ = write!(text, "Try it with `outhaul-agent credential test {service}`.");
                }
            }
            terminal::say(&text);
            Ok(())
        }
        Credential::List => {
            let lines: Vec<CredentialLine> = understood(document)?;
            terminal::say(&list(lines));
            Ok(())
        }
        Credential::Test { .. } => {
            let lines: Vec<TestedLine> = understood(document)?;
            if !json {
                terminal::say(&tested(&lines));
            }
            failed(&lines)
        }
        Credential::Remove { .. } => {
            let line: RemovedLine = understood(document)?;
            let after = if line.was_in_use { " Calls that need it are refused from now on." } else { "" };
            terminal::say(&format!("The secret of service {} is removed.{after}", line.service));
            Ok(())
        }
    }
}

fn list(lines: Vec<CredentialLine>) -> String {
    if lines.is_empty() {
        return "No services. An account that calls are made as is a table [service.NAME] in the configuration.".to_owned();
    }
    let titles = ["SERVICE", "USER", "KIND", "LIES IN", "SET", "EXPIRES", "USABLE"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    let mut notes = String::new();
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for line in lines {
        if let Some(note) = &line.note {
            let _ = write!(notes, "\n{}: {note}", line.service);
        }
        let usable = if line.usable { "yes" } else { "no" };
        let (user, kind) = (dash(line.user), dash(line.kind));
        let (set, expires) = (dash(line.set), dash(line.expires));
        rows.push(vec![line.service, user, kind, line.place, set, expires, usable.to_owned()]);
    }
    terminal::table(&rows) + &notes
}

fn tested(lines: &[TestedLine]) -> String {
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(text, "service {} at {}: {}", line.service, line.upstream, line.detail);
        if let Some(account) = &line.account {
            let active = if account.active { "active" } else { "NOT ACTIVE" };
            let (name, key, shown) = (&account.name, &account.key, &account.display_name);
            let _ = writeln!(text, "  account  {shown} (name {name}, key {key}, {active})");
        }
        match (&line.expires, line.tokens) {
            (Some(expires), _) => {
                let _ = writeln!(text, "  expires  {expires}");
            }
            (None, Some(count)) if count > 1 => {
                let _ = writeln!(
                    text,
                    "  tokens   the account has {count}; which of them this is, it does not tell"
                );
            }
            _ => {}
        }
        for token in &line.expiring {
            let _ = writeln!(text, "  SOON     the token “{}” expires {}", token.name, token.expires);
        }
    }
    text
}

fn failed(lines: &[TestedLine]) -> Result<(), Report> {
    let bad: Vec<&TestedLine> = lines.iter().filter(|line| !line.ok).collect();
    let Some(first) = bad.first() else { return Ok(()) };
    let places: Vec<&str> = bad.iter().map(|line| line.upstream.as_str()).collect();
    let unreachable = bad.iter().all(|line| line.outcome == "unreachable");
    let exit = if unreachable { Exit::Unavailable } else { Exit::Found };
    let verb = if unreachable { "could not be tried" } else { "can't be used" };
    Err(Report::new(exit, format!("service {} {verb} at {}", first.service, places.join(", "))))
}

fn title(kind: &str) -> &'static str {
    match kind {
        "pat" => "Personal access token",
        "password" => "Password",
        "client-secret" => "Client secret",
        _ => "Secret",
    }
}

fn path(name: &ServiceName) -> String {
    format!("/credentials/{name}")
}
