//! `certificate`, `certificate renew`, `certificate rotate-key`: the certificates that come by ACME.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::understood;
use crate::agent::acme::{CertificateLine, CertificatesReport};
use crate::agent::admin::certificates::{Asked, NewKeyPin};
use crate::common::report::{Exit, Report};
use crate::net::local::Client;
use crate::terminal;

/// What can be done to them.
#[derive(Debug, Subcommand)]
pub enum Certificate {
    /// Order a new certificate now, and wait for it. The key stays, unless `rotate-key` made another.
    Renew {
        /// For which name. May be left out where there is only one.
        name: Option<String>,
    },
    /// Make a new key for the next certificate, and print its pin: clients that pin the key can learn it before it is used.
    /// It is used from the next renewal on, or after `certificate renew`.
    RotateKey {
        /// For which name. May be left out where there is only one.
        name: Option<String>,
    },
}

/// Shows them, or does one of these through the running agent.
pub async fn certificate(client: &Client, what: Option<&Certificate>, json: bool) -> Result<(), Report> {
    match what {
        None => {
            let document = client.get("/certificates").await?;
            if json {
                terminal::say_json(&document);
            } else {
                terminal::say(&text(&understood(document)?));
            }
            Ok(())
        }
        Some(Certificate::Renew { name }) => renew(client, name.as_deref(), json).await,
        Some(Certificate::RotateKey { name }) => {
            let document = client.post("/certificates/rotate-key", &json!({ "name": name })).await?;
            if json {
                terminal::say_json(&document);
                return Ok(());
            }
            let NewKeyPin { name, next_pin } = understood(document)?;
            terminal::say(&format!(
                "The next certificate of {name} will be for a new key:\n  {next_pin}\nTell clients that pin the key. It is \
                 used from the next renewal on; `outhaul-agent certificate renew {name}` renews now."
            ));
            Ok(())
        }
    }
}

async fn renew(client: &Client, name: Option<&str>, json: bool) -> Result<(), Report> {
    let asked = client.post("/certificates/renew", &json!({ "name": name })).await?;
    let Asked { name, ended } = understood(asked)?;
    // An order takes some seconds, and its end is seen in the list.
    for _ in 0..WAIT {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let report: CertificatesReport = understood(client.get("/certificates").await?)?;
        let Some(line) = report.certificates.into_iter().find(|line| line.name == name) else { break };
        // Until then what is told is of an earlier try.
        if line.ended == ended {
            continue;
        }
        if let Some(failure) = report.account_error {
            return Err(failed(&format!("there is no account at {}", report.directory), &failure));
        }
        if let Some(failure) = &line.error {
            return Err(failed(&format!("no new certificate for {name}"), failure));
        }
        if json {
            terminal::say_json(&serde_json::to_value(&line).unwrap_or(Value::Null));
        } else {
            terminal::say(&format!("A new certificate is in use.\n{}", one(&line)));
        }
        return Ok(());
    }
    let text = format!("the order for {name} has not ended within {WAIT} s");
    Err(Report::new(Exit::Temporary, text).with_remedy(
        "It goes on, or begins when the tunnel is connected and this agent is the active one: look at `outhaul-agent \
         certificate` and `outhaul-agent status`.",
    ))
}

fn failed(what: &str, failure: &crate::agent::acme::Failure) -> Report {
    let report = Report::new(Exit::Found, format!("{what}: {}", failure.text));
    match &failure.action {
        Some(action) => report.with_remedy(action.as_str()),
        None => report,
    }
}

/// For people.
fn text(report: &CertificatesReport) -> String {
    let mut text = format!("Authority  {}\n", report.directory);
    match (&report.account, &report.account_error) {
        (Some(account), _) => {
            let _ = writeln!(text, "Account    {account}");
        }
        (None, Some(failure)) => {
            let action = failure.action.as_deref().unwrap_or_default();
            let _ = writeln!(text, "NO ACCOUNT: {}\n  {action}", failure.text);
        }
        (None, None) => text.push_str("Account    none yet\n"),
    }
    for line in &report.certificates {
        let _ = write!(text, "\n{}", one(line));
        if line.customer && line.caa.is_empty() && report.account.is_some() {
            text.push_str(
                "  CAA        the authority does not say what it calls itself in CAA records: ask it, and set \
                 caa-identity under\n             [pass-through.acme]\n",
            );
        }
    }
    text
}

fn one(line: &CertificateLine) -> String {
    let whose = if line.customer { "customer's name" } else { "operator's name" };
    let mut text = format!("{} ({whose})\n", line.name);
    let mut row = |title: &str, value: &str| {
        let _ = writeln!(text, "  {title:<10} {value}");
    };
    match (&line.issuer, &line.begins, &line.ends) {
        (Some(issuer), Some(begins), Some(ends)) => {
            row("issuer", issuer);
            row("valid", &format!("{begins} to {ends}"));
        }
        _ => row("NONE YET", "clients are refused under this name"),
    }
    if let Some(pin) = &line.pin {
        row("key pin", pin);
    }
    if let Some(pin) = &line.next_pin {
        row("next pin", &format!("{pin} (from the next certificate on)"));
    }
    for caa in &line.caa {
        row("CAA", caa);
    }
    match &line.next {
        _ if line.under_way => row("order", "under way"),
        Some(next) => row("order next", &format!("{next} ({})", why(&line.next_why))),
        None => {}
    }
    if let Some(failure) = &line.error {
        row("FAILED", &format!("{} times, last at {}: {}", line.failures, failure.at, failure.text));
        if let Some(action) = &failure.action {
            row("", action);
        }
    }
    text
}

fn why(code: &str) -> &str {
    match code {
        "first" => "as soon as the tunnel is connected and this agent is the active one",
        "ended" => "at once: it has ended",
        "another-authority" => "at once: another authority is configured",
        "asked" => "at once: asked for",
        "retry" => "again after a failure",
        "authority" => "the authority wants none before",
        "limit" => "too many orders within a day",
        other => other,
    }
}

/// Seconds that `renew` waits for its order.
const WAIT: u32 = 240;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::acme::Failure;

    #[test]
    fn what_is_shown_names_pin_caa_and_what_to_do() {
        let line = CertificateLine {
            name: "jira.example.com".to_owned(),
            customer: true,
            issuer: None,
            serial: None,
            begins: None,
            ends: None,
            ends_at: None,
            ends_soon: false,
            pin: Some("sha256//abc".to_owned()),
            next_pin: Some("sha256//def".to_owned()),
            caa: vec!["jira.example.com. IN CAA 0 issue \"ca.example; …\"".to_owned()],
            next: Some("2026-01-01T00:00:00Z".to_owned()),
            next_why: "retry".to_owned(),
            under_way: false,
            failures: 2,
            error: Some(Failure {
                at: "2025-12-31T23:00:00Z".to_owned(),
                text: "the authority refuses: no (caa)".to_owned(),
                action: Some("Set the lines.".to_owned()),
            }),
            orders_today: 2,
            ended: 2,
        };
        let report = CertificatesReport {
            directory: "https://ca.example/dir".to_owned(),
            account: Some("https://ca.example/acct/1".to_owned()),
            caa_identities: Vec::new(),
            account_error: None,
            certificates: vec![line],
        };
        let text = text(&report);
        for part in ["sha256//abc", "sha256//def", "IN CAA 0 issue", "NONE YET", "FAILED", "Set the lines."] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 140), "{text}");
    }
}
