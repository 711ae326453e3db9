//! The Jira of the demo: the stand-in, or a real one.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use http::Method;
use serde_json::Value;

use crate::children::{Children, Programs};
use crate::settings::Settings;
use crate::{Outcome, client, people};

/// The stand-in's user for all calls that arrive.
const SERVICE: &str = "svc-outhaul";
/// What the stand-in calls itself: a name that leads nowhere, so that nothing can go around the tunnel.
const BASE_URL: &str = "https://jira.corp.invalid/jira";

/// Where Jira is and how to enter.
pub(crate) struct Jira {
    /// What the agent dials.
    pub(crate) url: String,
    /// What Jira calls itself.
    pub(crate) base_url: String,
    /// Whose token it is.
    pub(crate) user: String,
    pub(crate) pat: String,
    /// The stand-in's process.
    pub(crate) id: Option<u32>,
    /// The stand-in's own interface for tests.
    pub(crate) control: Option<String>,
    /// The token of somebody who works with it; of a real one there is none.
    pub(crate) alice: Option<String>,
}

/// A real Jira as the environment says, or a fresh stand-in.
pub(crate) async fn ready(
    settings: &Settings,
    programs: &Programs,
    children: &mut Children,
    folder: &Path,
    pages_port: u16,
) -> Outcome<Jira> {
    match &settings.jira {
        Some((url, pat)) => real(settings, url, pat).await,
        None => stand_in(programs, children, folder, pages_port).await,
    }
}

async fn real(settings: &Settings, url: &str, pat: &str) -> Outcome<Jira> {
    let ca = settings.jira_ca.as_deref();
    let user = if let Some(user) = &settings.jira_user {
        user.clone()
    } else {
        let address = format!("{url}/rest/api/2/myself");
        let answer = client::call(Method::GET, &address, pat, None, ca).await?;
        let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let name = document.get("name").and_then(Value::as_str).map(str::to_owned);
        name.ok_or_else(|| {
            format!("{address} answered {}: check JIRA_URL and JIRA_PAT, or set JIRA_USER", answer.status)
        })?
    };
    let base_url = url.to_owned();
    Ok(Jira {
        url: url.to_owned(),
        base_url,
        user,
        pat: pat.to_owned(),
        id: None,
        control: None,
        alice: None,
    })
}

async fn stand_in(
    programs: &Programs,
    children: &mut Children,
    folder: &Path,
    pages_port: u16,
) -> Outcome<Jira> {
    let log = folder.join("jira.log");
    let people = people::arguments(pages_port);
    let mut arguments = vec!["--base-url", BASE_URL];
    arguments.extend(people.iter().map(String::as_str));
    let id = children.start("the stand-in for Jira", &programs.jira, &arguments, &log, Stdio::piped())?;
    let output = children.output().ok_or("the stand-in has no output")?;
    let reading = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map(|_| line)
    });
    let line = reading.await.map_err(crate::words)?.map_err(crate::words)?;
    children.check()?;
    let ready: Value =
        serde_json::from_str(&line).map_err(|fault| format!("the stand-in said {line:?}: {fault}"))?;
    let text = |pointer: &str| ready.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Jira {
        url: text("/url"),
        base_url: text("/base_url"),
        user: SERVICE.to_owned(),
        pat: text(&format!("/pats/{SERVICE}")),
        id: Some(id),
        control: Some(text("/control_url")),
        alice: Some(text(&format!("/pats/{}", people::ALICE))),
    })
}
