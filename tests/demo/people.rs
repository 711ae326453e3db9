//! Calls made as a person: one who is linked by the administrator, and the pages where others link themselves.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use http::Method;

use crate::files::Files;
use crate::jira::Jira;
use crate::{Outcome, client, show, words};

/// The caller that names people, and whose names for them it uses.
pub(crate) const CALLER: &str = "people";
const PERSON: &str = "demo:alice@corp.example";
/// Jira's name for her.
pub(crate) const ALICE: &str = "alice";

/// What the stand-in is told: her token, and the application link.
pub(crate) fn arguments(pages_port: u16) -> [String; 4] {
    let link = format!(
        "id=outhaul,secret=demo-secret,scope=WRITE,redirect=http://localhost:{pages_port}/link/callback"
    );
    ["--pat".to_owned(), format!("{ALICE}=a-token-of-alice"), "--oauth-client".to_owned(), link]
}

/// What stands in the agent's configuration for it, before the rules of the demo's other caller.
pub(crate) fn config(folder: &Path, pages_port: u16) -> String {
    let rule = |allow: &str, why: &str| {
        format!(
            "\n[[policy.rule]]\nallow = \"{allow}\"\nwhy = \"{why}\"\nupstream = \"jira\"\ncaller = [\"{CALLER}\"]\n\
             as = \"user\"\n# A bearer key shows to the relay, which here is the demo's own.\naccept-relay-trust = true\n"
        )
    };
    format!(
        "\n[upstream.jira.oauth]\nclient-id = \"outhaul\"\nclient-secret = {{ file = \"{}/oauth.secret\" }}\n\n\
         [pages]\nlisten = \"127.0.0.1:{pages_port}\"\nurl = \"http://localhost:{pages_port}\"\naccept-relay-trust = true\n\n\
         [caller.{CALLER}]\nact-as = [\"demo\"]\n{}{}",
        folder.display(),
        rule("GET /rest/api/2/**", "People read what they may see"),
        rule("POST /rest/api/2/issue/*/comment", "People comment in their own name"),
    )
}

/// Links her as the administrator does, and lets the caller comment for her.
pub(crate) async fn comment(
    agent: &Path,
    config: &str,
    base_url: &str,
    key: &str,
    files: &Files,
    jira: &Jira,
) -> Outcome<()> {
    let Some(token) = &jira.alice else { return Ok(()) };
    show::title("A person is linked, and a call is made as her");
    let arguments = ["--config", config, "link", "create", PERSON];
    println!("\n$ {} < alice.token", show::command_line(agent, &arguments));
    let mut child = Command::new(agent)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(words)?;
    child.stdin.take().ok_or("no input")?.write_all(format!("{token}\n").as_bytes()).map_err(words)?;
    let output = child.wait_with_output().map_err(words)?;
    String::from_utf8_lossy(&output.stdout).lines().for_each(|line| println!("  {line}"));
    if !output.status.success() {
        return Err(format!("the link was not made ({})", output.status));
    }
    let url = format!("{base_url}/rest/api/2/issue/DEMO-1/comment");
    let body = r#"{"body":"In my own name."}"#;
    println!(
        "\n$ curl --cacert ca.pem -H \"Authorization: Bearer $PEOPLE_KEY\" -H 'Outhaul-Act-As: {PERSON}' '{url}' --json '{body}'"
    );
    let act_as = Some(("outhaul-act-as", PERSON));
    let answer = client::call_with(Method::POST, &url, key, act_as, Some(body), Some(&files.ca)).await?;
    show::answer(&answer);
    let author = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
    if answer.status != 201 || author.pointer("/author/name").is_none_or(|name| name != ALICE) {
        return Err("the comment is not hers".to_owned());
    }
    Ok(())
}
