//! `caller add|list|rotate|remove`.

use std::fmt::Write as _;

use http::Method;
use serde_json::json;

use super::{Caller, understood};
use crate::agent::admin::{CallerLine, NewKey};
use crate::common::report::{Exit, Report};
use crate::net::local::Client;
use crate::terminal;

/// Does one of them.
pub async fn caller(client: &Client, what: &Caller, json: bool) -> Result<(), Report> {
    let document = match what {
        Caller::Add { name } => client.post("/callers", &json!({ "name": name })).await?,
        Caller::List => client.get("/callers").await?,
        Caller::Rotate { name, grace } => {
            let body = json!({ "grace_seconds": grace.as_secs() });
            client.post(&format!("{}/rotate", path(name)?), &body).await?
        }
        Caller::Remove { name } => client.request(Method::DELETE, &path(name)?, None).await?,
    };
    if json {
        terminal::say_json(&document);
        return Ok(());
    }
    match what {
        Caller::Add { name } | Caller::Rotate { name, .. } => {
            let fresh = matches!(what, Caller::Add { .. });
            let kind = if fresh { "The key" } else { "The new key" };
            let key: NewKey = understood(document)?;
            terminal::say(&format!("{kind} of {name}, shown only now:\n\n  {}\n\n{}", key.key, usage(&key)));
        }
        Caller::List => {
            let callers: Vec<CallerLine> = understood(document)?;
            if callers.is_empty() {
                terminal::say("No callers. Make one with `outhaul-agent caller add NAME`.");
                return Ok(());
            }
            let titles = ["CALLER", "KEY", "MADE", "LAST USED", "STOPS WORKING"];
            let mut rows = vec![titles.map(str::to_owned).to_vec()];
            for caller in callers {
                rows.extend(caller.keys.into_iter().map(|key| {
                    let last_used = key.last_used.unwrap_or_else(|| "-".to_owned());
                    let expires = key.expires.unwrap_or_default();
                    vec![caller.name.clone(), format!("ohk_{}_…", key.id), key.created, last_used, expires]
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

fn usage(key: &NewKey) -> String {
    let mut text = "Send it as a bearer token (`Authorization: Bearer KEY`), or give it to a client as the \
                    password of Basic authentication with any user name."
        .to_owned();
    if let (Some(base_url), Some(upstream)) = (&key.base_url, key.upstreams.first()) {
        let _ = write!(
            text,
            " Try it:\n\n  curl -H 'Authorization: Bearer {}' {base_url}/{upstream}/rest/api/2/serverInfo",
            key.key
        );
    }
    text.push_str(
        "\n\nWhat it may do is up to the policy: `outhaul-agent policy explain METHOD PATH --caller ",
    );
    text.push_str(&key.name);
    text.push('`');
    text
}

/// A name that is none must not become another path.
fn path(name: &str) -> Result<String, Report> {
    let name: crate::common::ids::CallerName =
        name.parse().map_err(|fault| Report::from_error(Exit::Data, &fault))?;
    Ok(format!("/callers/{name}"))
}
