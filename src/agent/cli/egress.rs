//! `egress test`: the way to a host on the internet, tried by the running agent.

use clap::Subcommand;
use serde_json::json;

use super::understood;
use crate::agent::admin::egress::Reached;
use crate::common::report::Report;
use crate::net::local::Client;
use crate::terminal;

/// The agent's way to hosts on the internet.
#[derive(Debug, Subcommand)]
pub enum Egress {
    /// Ask a host for a page (GET), as the agent's own clients would: list, way and bounds of [egress] count.
    Test {
        /// The page, such as https://login.example.com/.
        url: String,
        /// By this way instead of the usual one: direct, relay or proxy.
        #[arg(long, value_name = "WAY")]
        way: Option<String>,
    },
}

/// Asks the running agent.
pub async fn egress(client: &Client, what: &Egress, json: bool) -> Result<(), Report> {
    let Egress::Test { url, way } = what;
    let document = client.post("/egress/test", &json!({ "url": url, "way": way })).await?;
    if json {
        terminal::say_json(&document);
        return Ok(());
    }
    let reached: Reached = understood(document)?;
    terminal::say(&format!(
        "{} answers: status {}, {} bytes after {} ms, by the way “{}”.",
        reached.url, reached.status, reached.bytes, reached.milliseconds, reached.way
    ));
    Ok(())
}
