//! `status`, and the commands that change what it shows: `pause`, `resume`, `reload`.

use serde_json::{Value, json};

use super::understood;
use crate::agent::admin::status::Status;
use crate::common::report::Report;
use crate::net::local::Client;
use crate::terminal;

/// Shows the running agent.
pub async fn status(client: &Client, json: bool) -> Result<(), Report> {
    let document = client.get("/status").await?;
    if json {
        terminal::say_json(&document);
    } else {
        terminal::say(&understood::<Status>(document)?.text());
    }
    Ok(())
}

/// Refuses every call.
pub async fn pause(client: &Client, json: bool) -> Result<(), Report> {
    let document = client.post("/pause", &Value::Null).await?;
    let text = "Paused: every call is refused, also after a restart. Undo it with `outhaul-agent resume`.";
    said(json, &document, text);
    Ok(())
}

/// Lets calls pass again.
pub async fn resume(client: &Client, json: bool) -> Result<(), Report> {
    let document = client.post("/resume", &Value::Null).await?;
    said(json, &document, "Resumed: calls pass as the policy says.");
    Ok(())
}

/// Has the configuration read again.
pub async fn reload(client: &Client, json: bool) -> Result<(), Report> {
    let document = client.post("/reload", &json!({})).await?;
    let needed: Vec<&str> = document
        .get("restart_needed")
        .and_then(Value::as_array)
        .map(|keys| keys.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if needed.is_empty() {
        said(json, &document, "The configuration was read again and is in force.");
    } else {
        let text = format!(
            "The configuration was read again and is in force, but for {}: \
             run `systemctl restart outhaul-agent` for these.",
            needed.join(", ")
        );
        said(json, &document, &text);
    }
    Ok(())
}

fn said(json: bool, document: &Value, text: &str) {
    if json {
        terminal::say_json(document);
    } else {
        terminal::say(text);
    }
}
