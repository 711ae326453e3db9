//! The demo from beginning to end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::children::{Children, Programs};
use crate::client::{self, Answer};
use crate::files::{self, CUSTOMER_NAME, DIRECT_ZONE, Files, SITE, ZONE};
use crate::jira::{self, Jira};
use crate::settings::Settings;
use crate::{Outcome, people, show};

/// Runs until Ctrl-C, or until something fails.
pub(crate) async fn tell() -> Outcome<()> {
    let settings = Settings::from_environment()?;
    let programs = Programs::find()?;
    // Kept alive to the end: it removes the folder then.
    let (folder, _temporary) = folder(&settings)?;
    let mut children = Children::default();
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(crate::words)?;
    let outcome = tokio::select! {
        outcome = play(&settings, &programs, &folder, &mut children) => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    println!("\nStopping …");
    children.stop().await;
    if let Some(path) = &settings.json {
        // What it says is no longer true; one that is gone already is as good.
        let _ = std::fs::remove_file(path);
    }
    outcome
}

fn folder(settings: &Settings) -> Outcome<(PathBuf, Option<tempfile::TempDir>)> {
    let fault = |fault: std::io::Error| format!("no folder for the demo: {fault}");
    let Some(path) = &settings.folder else {
        let temporary = tempfile::Builder::new().prefix("outhaul-demo-").tempdir().map_err(fault)?;
        return Ok((temporary.path().to_owned(), Some(temporary)));
    };
    if path.join("relay-state").exists() {
        return Err(format!("{} holds an earlier demo: remove it, or name another DEMO_DIR", path.display()));
    }
    std::fs::create_dir_all(path).map_err(fault)?;
    Ok((path.clone(), None))
}

async fn play(
    settings: &Settings,
    programs: &Programs,
    folder: &Path,
    children: &mut Children,
) -> Outcome<()> {
    show::title("Jira, at the customer's site");
    let pages_port = files::free_port()?;
    let jira = jira::ready(settings, programs, children, folder, pages_port).await?;
    println!("  {} calls itself {}", jira.url, jira.base_url);
    let files = files::write(folder, settings, &jira, pages_port)?;
    println!("  configurations, certificates and state lie in {}", folder.display());

    let relay_config = text(&files.relay_config);
    let agent_config = text(&files.agent_config);
    let relay_arguments = ["--config", relay_config, "run"];
    let agent_arguments = ["--config", agent_config, "run"];

    show::title("The operator starts the relay and adds a site");
    println!("\n$ {} &", show::command_line(&programs.relay, &relay_arguments));
    let log = folder.join("relay.log");
    let relay = children.start("the relay", &programs.relay, &relay_arguments, &log, Stdio::null())?;
    wait(children, "the relay is ready", async || {
        let url = format!("http://127.0.0.1:{}/ready", files.operator_port);
        client::call(Method::GET, &url, "", None, None).await.is_ok_and(|answer| answer.status == 200)
    })
    .await?;
    show::run(&programs.relay, &["--config", relay_config, "site", "add", SITE])?;
    show::run(&programs.relay, &["--config", relay_config, "site", "name", "add", SITE, CUSTOMER_NAME])?;
    let said = show::run(&programs.relay, &["--config", relay_config, "site", "enrol", SITE])?;
    let token = find(&said, "oht_")?;

    show::title("The administrator enrols the agent and starts it");
    let relay_url = format!("wss://localhost:{}", files.port);
    let enrol = ["--config", agent_config, "enrol", "--relay", &relay_url, "--token", &token];
    show::run(&programs.agent, &enrol)?;
    println!("\n$ {} &", show::command_line(&programs.agent, &agent_arguments));
    let log = folder.join("agent.log");
    let agent = children.start("the agent", &programs.agent, &agent_arguments, &log, Stdio::null())?;
    let socket = folder.join("agent.sock");
    wait(children, "the agent is up", async || socket.exists()).await?;
    let said = show::run(&programs.agent, &["--config", agent_config, "caller", "add", "demo"])?;
    let key = find(&said, "ohk_")?;
    let said = show::run(&programs.agent, &["--config", agent_config, "caller", "add", people::CALLER])?;
    let people_key = find(&said, "ohk_")?;

    let base_url = format!("https://{SITE}.{ZONE}:{}/jira", files.port);
    let ca = Some(files.ca.as_path());
    wait(children, "a call comes through", async || {
        let url = format!("{base_url}/rest/api/2/serverInfo");
        client::call(Method::GET, &url, &key, None, ca).await.is_ok_and(|answer| answer.status == 200)
    })
    .await?;
    show::run(&programs.relay, &["--config", relay_config, "agents"])?;
    calls(&base_url, &key, &files, &jira).await?;
    people::comment(&programs.agent, agent_config, &base_url, &people_key, &files, &jira).await?;

    let ids = json!({ "relay": relay, "agent": agent, "jira": jira.id });
    let starts = (
        format!("{} {}", programs.agent.display(), agent_arguments.join(" ")),
        format!("{} {}", programs.relay.display(), relay_arguments.join(" ")),
    );
    let path_base_url = format!("https://{ZONE}:{}/s/{SITE}/jira", files.port);
    let direct_base_url = format!("https://{SITE}.{DIRECT_ZONE}:{}/jira", files.port);
    let customer_base_url = format!("https://{CUSTOMER_NAME}:{}/jira", files.port);
    if let Some(path) = &settings.json {
        let document = json!({
            "base_url": base_url,
            "path_base_url": path_base_url,
            // TLS ends at the agent: by the operator's name and by the customer's. The authority is the same file.
            "pass_through_base_url": direct_base_url,
            "customer_base_url": customer_base_url,
            "caller_key": key,
            "people_key": people_key,
            "pages_url": format!("http://localhost:{}", files.pages_port),
            "ca_file": files.ca,
            "relay_url": relay_url,
            "operator_url": format!("http://127.0.0.1:{}", files.operator_port),
            "site": SITE,
            "jira_url": jira.url,
            "jira_base_url": jira.base_url,
            "jira_control_url": jira.control,
            "agent_config": files.agent_config,
            "relay_config": files.relay_config,
            "agent_start": starts.0,
            "relay_start": starts.1,
            "pids": ids,
            "agent_state_dir": files.agent_state,
            "relay_state_dir": files.relay_state,
        });
        write_whole(path, &document)?;
        println!("\n  {} says where everything is", path.display());
    }
    show::title("It is yours");
    println!("  base URL      {base_url}");
    println!("  or by path    {path_base_url}");
    println!("  passed on     {direct_base_url}   (TLS ends at the agent)");
    println!("  key           {key}   (Authorization: Bearer, or the password of Basic)");
    println!("  authority     {}   (curl --cacert, REQUESTS_CA_BUNDLE)", files.ca.display());
    println!("  logs          {0}/relay.log, {0}/agent.log", folder.display());
    println!("\n  Names under .localhost mean this machine; curl knows that by itself.");
    println!("  Ctrl-C stops everything.");
    std::future::pending().await
}

/// Reads, comments, and is refused once.
async fn calls(base_url: &str, key: &str, files: &Files, jira: &Jira) -> Outcome<()> {
    let ca = Some(files.ca.as_path());
    show::title("A caller in the cloud reads");
    let (issue, shown) = if jira.id.is_some() {
        ("DEMO-1".to_owned(), "/rest/api/2/issue/DEMO-1?fields=summary,status".to_owned())
    } else {
        let url = format!("{base_url}/rest/api/2/search?maxResults=1&fields=summary");
        let found: Value =
            serde_json::from_slice(&client::call(Method::GET, &url, key, None, ca).await?.body)
                .unwrap_or_default();
        let key = found.pointer("/issues/0/key").and_then(Value::as_str).unwrap_or_default().to_owned();
        (key, "/rest/api/2/myself".to_owned())
    };
    let answer = say(Method::GET, &format!("{base_url}{shown}"), key, None, ca).await?;
    expect(&answer, 200)?;
    // In a real Jira nobody has asked for a comment.
    if jira.id.is_some() {
        show::title("It comments, as the user whose token the agent holds");
        let url = format!("{base_url}/rest/api/2/issue/{issue}/comment");
        let body = r#"{"body":"Fixed the tap. Greetings from the cloud."}"#;
        expect(&say(Method::POST, &url, key, Some(body), ca).await?, 201)?;
    }
    show::title("It tries what the site's policy does not allow");
    let url = format!("{base_url}/rest/pat/latest/tokens");
    let answer = say(Method::GET, &url, key, None, ca).await?;
    expect(&answer, 403)
}

async fn say(method: Method, url: &str, key: &str, body: Option<&str>, ca: Option<&Path>) -> Outcome<Answer> {
    let data = body.map_or_else(String::new, |body| format!(" --json '{body}'"));
    let verb = if method == Method::GET || body.is_some() { String::new() } else { format!("-X {method} ") };
    println!("\n$ curl --cacert ca.pem -H \"Authorization: Bearer $KEY\" {verb}'{url}'{data}");
    let answer = client::call(method, url, key, body, ca).await?;
    show::answer(&answer);
    Ok(answer)
}

fn expect(answer: &Answer, status: u16) -> Outcome<()> {
    if answer.status == status {
        return Ok(());
    }
    Err(format!("{status} was expected there, not {}", answer.status))
}

/// The first word in a text that begins so.
fn find(said: &str, prefix: &str) -> Outcome<String> {
    let start = said.find(prefix).ok_or_else(|| format!("no {prefix}… in what the command printed"))?;
    let rest = said.get(start..).unwrap_or_default();
    let end =
        rest.find(|one: char| !(one.is_ascii_alphanumeric() || "_-".contains(one))).unwrap_or(rest.len());
    Ok(rest.get(..end).unwrap_or_default().to_owned())
}

/// Waits until it holds, at most half a minute.
async fn wait(children: &mut Children, what: &str, holds: impl AsyncFn() -> bool) -> Outcome<()> {
    for _ in 0..600 {
        if holds().await {
            return Ok(());
        }
        children.check()?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("waited half a minute in vain until {what}"))
}

/// The file appears whole or not at all.
fn write_whole(path: &Path, document: &Value) -> Outcome<()> {
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    let fresh = path.with_extension("new");
    let written = std::fs::write(&fresh, format!("{text}\n")).and_then(|()| std::fs::rename(&fresh, path));
    written.map_err(|fault| format!("{}: {fault}", path.display()))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}
