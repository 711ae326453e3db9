//! `caller add|list|rotate|remove`.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use http::Method;
use serde_json::json;

use super::{Caller, understood};
use crate::agent::admin::{CallerLine, NewKey, SignedBy};
use crate::common::report::{Exit, Report};
use crate::net::local::Client;
use crate::terminal;

/// Does one of them.
pub async fn caller(client: &Client, what: &Caller, json: bool) -> Result<(), Report> {
    let document = match what {
        Caller::Add { name, public_key } => {
            let body = json!({ "name": name, "public_key": public_text(public_key.as_deref())? });
            client.post("/callers", &body).await?
        }
        Caller::List => client.get("/callers").await?,
        Caller::Rotate { name, grace, public_key } => {
            let public_key = public_text(public_key.as_deref())?;
            let body = json!({ "grace_seconds": grace.as_secs(), "public_key": public_key });
            client.post(&format!("{}/rotate", path(name)?), &body).await?
        }
        Caller::Remove { name } => client.request(Method::DELETE, &path(name)?, None).await?,
    };
    if json {
        terminal::say_json(&document);
        return Ok(());
    }
    match what {
        Caller::Add { name, .. } | Caller::Rotate { name, .. } => {
            let fresh = matches!(what, Caller::Add { .. });
            let made: NewKey = understood(document)?;
            let text = match (&made.key, &made.signed) {
                (Some(key), _) => {
                    let kind = if fresh { "The key" } else { "The new key" };
                    format!("{kind} of {name}, shown only now:\n\n  {key}\n\n{}", usage(&made, key))
                }
                (None, Some(signed)) => signing(name, signed, &made),
                (None, None) => format!("{name} has its key."),
            };
            terminal::say(&text);
        }
        Caller::List => {
            let callers: Vec<CallerLine> = understood(document)?;
            if callers.is_empty() {
                terminal::say("No callers. Make one with `outhaul-agent caller add NAME`.");
                return Ok(());
            }
            let titles =
                ["CALLER", "KIND", "KEY", "MADE", "LAST USED", "SENT THROUGH RELAY", "STOPS WORKING"];
            let mut rows = vec![titles.map(str::to_owned).to_vec()];
            for caller in callers {
                rows.extend(caller.keys.into_iter().map(|key| {
                    let last_used = key.last_used.unwrap_or_else(|| "-".to_owned());
                    let expires = key.expires.unwrap_or_default();
                    let id = if key.signs { key.id } else { format!("{}_…", key.id) };
                    let kind = if key.signs { "signs" } else { "key" }.to_owned();
                    let sent = match (key.signs, key.sent_through_relay) {
                        (true, _) => "-",
                        (false, true) => "yes",
                        (false, false) => "no",
                    };
                    vec![caller.name.clone(), kind, id, key.created, last_used, sent.to_owned(), expires]
                }));
            }
            terminal::say(&terminal::table(&rows));
        }
        Caller::Remove { name } => {
            terminal::say(&format!("{name} is removed: its key no longer works."));
        }
    }
    Ok(())
}

/// What the program that signs must be told.
fn signing(name: &str, signed: &SignedBy, made: &NewKey) -> String {
    let agent = signed.agent.as_deref().unwrap_or("-");
    let mut text = format!(
        "{name} signs its calls (docs/signed.md). Its program must know:\n\n  keyid          {}\n  Outhaul-Agent  \
         {agent}\n",
        signed.key_id
    );
    if let (Some(base_url), Some(upstream)) = (&made.base_url, made.upstreams.first()) {
        let _ = writeln!(text, "  base URL       {base_url}/{upstream}");
    }
    let _ = write!(
        text,
        "\nAnswers are signed with the agent's key, which it must know too and get from nobody else:\n\n{}\nTry it \
         with docs/examples/sign.py or sign.sh. ",
        signed.agent_public_key
    );
    text.push_str(&policy_hint(name));
    text
}

fn policy_hint(name: &str) -> String {
    format!("What it may do is up to the policy: `outhaul-agent policy explain METHOD PATH --caller {name}`")
}

/// The file's text; whether it is a key says the daemon.
fn public_text(file: Option<&Path>) -> Result<Option<String>, Report> {
    let Some(file) = file else { return Ok(None) };
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|open| open.take(MAX_KEY_FILE).read_to_string(&mut text));
    read.map_err(|error| {
        Report::new(Exit::Data, format!("the public key {} can't be read: {error}", file.display()))
    })?;
    if text.contains("PRIVATE KEY") {
        return Err(Report::new(
            Exit::Data,
            format!("{} holds a private key, and that must stay with the caller", file.display()),
        )
        .with_remedy("Write the public half with `openssl pkey -in FILE -pubout`."));
    }
    Ok(Some(text))
}

fn usage(made: &NewKey, key: &str) -> String {
    let mut text = "Send it as a bearer token (`Authorization: Bearer KEY`), or give it to a client as the \
                    password of Basic authentication with any user name."
        .to_owned();
    if let (Some(base_url), Some(upstream)) = (&made.base_url, made.upstreams.first()) {
        let _ = write!(
            text,
            " Try it:\n\n  curl -H 'Authorization: Bearer {key}' {base_url}/{upstream}/rest/api/2/serverInfo"
        );
    }
    text.push_str("\n\n");
    text.push_str(&policy_hint(&made.name));
    text
}

/// A name that is none must not become another path.
fn path(name: &str) -> Result<String, Report> {
    let name: crate::common::ids::CallerName =
        name.parse().map_err(|fault| Report::from_error(Exit::Data, &fault))?;
    Ok(format!("/callers/{name}"))
}

/// A key in PEM takes 113 bytes.
const MAX_KEY_FILE: u64 = 4096;
