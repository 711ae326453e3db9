//! The commands that ask the running relay.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Agent, Agents, Egress, Enrol, Name, Site, show};
use crate::common::report::Report;
use crate::net::local::Client;
use crate::terminal::{say, say_json};

/// What to ask, and how to show the answer.
pub enum Question<'a> {
    /// `site …`
    Site(&'a Site),
    /// `agents`
    Agents(&'a Agents),
    /// `agent …`
    Agent(&'a Agent),
}

/// Asks the relay behind `socket`, and prints its answer.
pub async fn ask(socket: &Path, json: bool, question: Question<'_>) -> Result<(), Report> {
    let client = Client::new(socket, "outhaul-relay");
    match question {
        Question::Site(site) => site_command(&client, json, site).await,
        Question::Agents(agents) => agents_command(&client, json, agents).await,
        Question::Agent(agent) => agent_command(&client, json, agent).await,
    }
}

async fn site_command(client: &Client, json: bool, site: &Site) -> Result<(), Report> {
    let none = Value::Null;
    let (answer, text): (Value, fn(&Value) -> String) = match site {
        Site::Add { name } => (client.post("/sites", &json!({ "name": name })).await?, show::site_added),
        Site::List => (client.get("/sites").await?, show::sites),
        Site::Remove { name, force } => {
            let path = format!("/sites/{}/remove", segment(name));
            (client.post(&path, &json!({ "force": force })).await?, show::site_removed)
        }
        Site::Pause { name } => {
            (client.post(&format!("/sites/{}/pause", segment(name)), &none).await?, show::site_paused)
        }
        Site::Resume { name } => {
            (client.post(&format!("/sites/{}/resume", segment(name)), &none).await?, show::site_resumed)
        }
        Site::Egress(egress) => (egress_command(client, egress).await?, show::egress),
        Site::Name(Name::Add { site, name }) => {
            let path = format!("/sites/{}/names", segment(site));
            (client.post(&path, &json!({ "name": name })).await?, show::name_added)
        }
        Site::Name(Name::List) => (client.get("/names").await?, show::names),
        Site::Name(Name::Remove { site, name }) => {
            let path = format!("/sites/{}/names/remove", segment(site));
            (client.post(&path, &json!({ "name": name })).await?, show::name_removed)
        }
        Site::Enrol(Enrol { name, standby, valid_for }) => {
            let role = if *standby { "standby" } else { "active" };
            let body = json!({ "role": role, "valid_seconds": valid_for.as_secs() });
            (client.post(&format!("/sites/{}/enrol", segment(name)), &body).await?, show::enrol)
        }
    };
    print(json, &answer, text);
    Ok(())
}

async fn egress_command(client: &Client, egress: &Egress) -> Result<Value, Report> {
    let (Egress::Allow { site, .. } | Egress::List { site } | Egress::Deny { site, .. }) = egress;
    let path = format!("/sites/{}/egress", segment(site));
    match egress {
        Egress::Allow { host, .. } => {
            client.post(&format!("{path}/allow"), &json!({ "host": host.to_string() })).await
        }
        Egress::List { .. } => client.get(&path).await,
        Egress::Deny { host, .. } => {
            client.post(&format!("{path}/deny"), &json!({ "host": host.to_string() })).await
        }
    }
}

async fn agents_command(client: &Client, json: bool, agents: &Agents) -> Result<(), Report> {
    loop {
        let answer = client.get("/agents").await?;
        if agents.watch && !json {
            // Clears the screen and goes to its top (ECMA-48, ED and CUP).
            say(&format!("\u{1b}[2J\u{1b}[H{}", show::agents(&answer)));
        } else {
            print(json, &answer, show::agents);
        }
        if !agents.watch {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn agent_command(client: &Client, json: bool, agent: &Agent) -> Result<(), Report> {
    let none = Value::Null;
    let post = async |id: &str, verb: &str| {
        let path = format!("/agents/{}/{verb}", segment(id));
        client.post(&path, &none).await
    };
    let (answer, text): (Value, fn(&Value) -> String) = match agent {
        Agent::Show { id } => (client.get(&format!("/agents/{}", segment(id))).await?, show::agent),
        Agent::Drain { id } => (post(id, "drain").await?, show::drained),
        Agent::Revoke { id } => (post(id, "revoke").await?, show::revoked),
        Agent::Activate { id } => (post(id, "activate").await?, show::activated),
        Agent::Clear { id } => (post(id, "clear").await?, show::cleared),
    };
    print(json, &answer, text);
    Ok(())
}

fn print(json: bool, answer: &Value, text: impl Fn(&Value) -> String) {
    if json { say_json(answer) } else { say(&text(answer)) }
}

/// What a person typed, as one path segment; what can't be in a name becomes `_`, which no name has.
fn segment(typed: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let segment: String =
        typed.chars().take(80).map(|letter| if plain(letter) { letter } else { '_' }).collect();
    if segment.is_empty() { "_".to_owned() } else { segment }
}
