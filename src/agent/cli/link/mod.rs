//! `link create|list|remove|import|export`.

mod list;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::understood;
use crate::agent::admin::links::{ImportLinks, LinkLine, NewLink, WhichLink};
use crate::common::act_as::ActAs;
use crate::common::ids::UpstreamName;
use crate::common::report::{Exit, Report};
use crate::net::local::Client;
use crate::terminal;

/// Who is whom.
#[derive(Debug, Subcommand)]
pub enum Link {
    /// Link a person with a personal access token of theirs. It is asked for, or read from standard input, and whose it
    /// is is asked of the application.
    Create {
        /// Which person, where.
        #[command(flatten)]
        which: Which,
        /// Let the person use an account to which another one is linked.
        #[arg(long)]
        allow_shared: bool,
    },
    /// List who is linked, and whether their credential can be used.
    List,
    /// Remove a person's link: the credential is wiped, and calls for this person are refused.
    Remove {
        /// Which person, where.
        #[command(flatten)]
        which: Which,
    },
    /// Take mappings from a list (CSV). Each waits for its person to link the account; who is there stays as they are.
    Import {
        /// The list, or - for standard input.
        file: PathBuf,
        /// Let several people use one account.
        #[arg(long)]
        allow_shared: bool,
    },
    /// Write all mappings as a list (CSV), without their credentials.
    Export,
}

/// A person at an application.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The person, as callers name them: provider:subject.
    #[arg(value_name = "PERSON")]
    pub person: ActAs,
    /// The application. May be left out where there is one only.
    #[arg(long, value_name = "NAME")]
    pub upstream: Option<UpstreamName>,
}

/// Does one of them.
pub async fn link(client: &Client, what: &Link, json: bool) -> Result<(), Report> {
    let document = ask(client, what).await?;
    if let Link::Export = what {
        let links: Vec<LinkLine> = understood(document)?;
        let text = list::write(&links).map_err(|error| Report::new(Exit::Software, error))?;
        terminal::say(&text);
        return Ok(());
    }
    if json {
        terminal::say_json(&document);
        return Ok(());
    }
    match what {
        Link::Create { .. } => {
            let link: LinkLine = understood(document)?;
            terminal::say(&format!("{} is {} now.", link.person, account(&link)));
        }
        Link::Remove { .. } => {
            let link: LinkLine = understood(document)?;
            terminal::say(&format!(
                "{} is no longer {}. The credential is wiped here; if it was a personal access token, its owner can \
                 revoke it in the profile at the application.",
                link.person,
                account(&link)
            ));
        }
        Link::List => show(&understood::<Vec<LinkLine>>(document)?),
        Link::Import { .. } => {
            let number = |name: &str| document.get(name).and_then(Value::as_u64).unwrap_or_default();
            terminal::say(&format!(
                "{} mappings were taken and wait for their people to link; {} were there already.",
                number("imported"),
                number("already_there")
            ));
        }
        Link::Export => {}
    }
    Ok(())
}

async fn ask(client: &Client, what: &Link) -> Result<Value, Report> {
    match what {
        Link::List => client.get("/links").await,
        Link::Export => client.get("/links/export").await,
        Link::Create { which, allow_shared } => {
            let question = format!("Personal access token of {}", which.person);
            let token = terminal::read_secret(&question, false)
                .map_err(|fault| Report::from_error(Exit::Data, &fault))?;
            let token = token.expose().clone();
            let Which { person, upstream } = which.clone();
            let new = NewLink { person, upstream, token, allow_shared: *allow_shared };
            client.post("/links", &json!(new)).await
        }
        Link::Remove { which } => {
            let Which { person, upstream } = which.clone();
            client.post("/links/remove", &json!(WhichLink { person, upstream })).await
        }
        Link::Import { file, allow_shared } => {
            let links = import(file)?;
            client.post("/links/import", &json!(ImportLinks { links, allow_shared: *allow_shared })).await
        }
    }
}

fn import(file: &Path) -> Result<Vec<crate::agent::admin::links::ImportedLink>, Report> {
    let shown = file.display();
    let unread =
        |error: std::io::Error| Report::new(Exit::InputOutput, format!("{shown} can't be read: {error}"));
    let source: Box<dyn std::io::Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(unread)?)
    };
    let read = list::read(source.take(MAX_FILE));
    read.map_err(|faults| {
        let told: Vec<&str> = faults.iter().take(20).map(String::as_str).collect();
        let text =
            format!("{shown} is no list of mappings, and nothing of it was taken:\n  {}", told.join("\n  "));
        Report::new(Exit::Data, text)
            .with_remedy("`outhaul-agent link export` shows what such a list looks like.")
    })
}

fn show(links: &[LinkLine]) {
    if links.is_empty() {
        terminal::say("Nobody is linked. `outhaul-agent link create PERSON` links somebody.");
        return;
    }
    let titles = ["PERSON", "UPSTREAM", "USER", "KEY", "STATE", "CREDENTIAL", "CHANGED"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(links.iter().map(|link| {
        let state = match &link.reason {
            Some(reason) => format!("{} ({reason})", link.state),
            None => link.state.clone(),
        };
        vec![
            link.person.to_string(),
            link.upstream.to_string(),
            link.user_name.clone(),
            link.user_key.clone(),
            state,
            link.credential.clone().unwrap_or_else(|| "-".to_owned()),
            link.changed.clone(),
        ]
    }));
    terminal::say(&terminal::table(&rows));
}

fn account(link: &LinkLine) -> String {
    format!("{} ({}) at {}", link.user_name, link.display_name, link.upstream)
}

const MAX_FILE: u64 = 64 * 1024 * 1024;
