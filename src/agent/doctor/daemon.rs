//! Check `agent`: what only the running agent knows, from its `GET /status`.

use super::{Context, Finding};
use crate::agent::admin::status::{Status, TunnelStatus};
use crate::common::report::{Exit, Report};

const CHECK: &str = "agent";
const TUNNELS: &str = "agent: tunnels";

/// Asks nobody: the context has the answer.
pub(super) fn check(context: &Context) -> Vec<Finding> {
    judge(&context.daemon)
}

/// The same for where there is no configuration to make a context of.
pub(super) fn judge(daemon: &Result<Box<Status>, Report>) -> Vec<Finding> {
    match daemon {
        Ok(status) => {
            let mut findings = vec![itself(status), tunnels(&status.relay.tunnels)];
            findings.extend(losses(&status.relay.tunnels));
            findings.extend(troubles(status));
            findings
        }
        Err(report) if report.exit() == Exit::Unavailable => vec![Finding::warning(
            CHECK,
            report.what(),
            report.remedy().unwrap_or("Start it with `systemctl start outhaul-agent`."),
        )],
        Err(report) => {
            vec![Finding::reported(CHECK, report, "Look at its log: `journalctl -u outhaul-agent`.")]
        }
    }
}

fn itself(status: &Status) -> Finding {
    let (running, ours) = (&status.version, env!("CARGO_PKG_VERSION"));
    if running == ours {
        return Finding::ok(
            CHECK,
            format!("version {running} runs since {} (pid {})", status.started, status.pid),
        );
    }
    let text = format!("version {running} runs, and this command is of {ours}");
    Finding::warning(CHECK, text, "Run `systemctl restart outhaul-agent`.")
}

fn tunnels(tunnels: &[TunnelStatus]) -> Finding {
    let up = tunnels.iter().filter(|tunnel| tunnel.connected).count();
    let text = format!("{up} of {} connected", tunnels.len());
    if up == tunnels.len() {
        return Finding::ok(TUNNELS, text);
    }
    let errors =
        tunnels.iter().filter(|tunnel| !tunnel.connected).filter_map(|tunnel| tunnel.error.as_deref());
    let text = errors.fold(text, |text, error| format!("{text}; {error}"));
    let action = "The checks of the relay below say where the way ends; the agent tries again by itself.";
    if up == 0 { Finding::failure(TUNNELS, text, action) } else { Finding::warning(TUNNELS, text, action) }
}

/// One loss is a restart of the relay; many are a habit of something on the way.
fn losses(tunnels: &[TunnelStatus]) -> Option<Finding> {
    let worst = tunnels.iter().max_by_key(|tunnel| tunnel.losses)?;
    let last = worst.last_loss.as_ref()?;
    let text = format!(
        "tunnel {} was lost {} time(s) since the agent started; last at {last}",
        worst.slot, worst.losses
    );
    if worst.losses < MANY {
        return Some(Finding::note(TUNNELS, text));
    }
    let action = "If the times between are alike, a proxy or firewall on the way cuts connections: have it leave those \
                  to the relay's host open.";
    Some(Finding::warning(TUNNELS, text, action))
}

const MANY: u64 = 10;

fn troubles(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    if status.paused {
        let text = "it is paused: every call is refused";
        findings.push(Finding::warning(CHECK, text, "Run `outhaul-agent resume` if that is not meant."));
    }
    if let Some(error) = &status.config.error {
        let text = format!("the newest state of {} is not in force: {error}", status.config.file);
        findings.push(Finding::failure(CHECK, text, "Correct the file; the agent takes it by itself."));
    }
    if !status.config.restart_needed.is_empty() {
        let keys = status.config.restart_needed.join(", ");
        let text = format!("changes to {keys} are not in force yet");
        findings.push(Finding::warning(CHECK, text, "Run `systemctl restart outhaul-agent`."));
    }
    if let Some(error) = &status.audit.error {
        let text = format!("no record of the audit can be written: {error}");
        findings.push(Finding::failure(
            CHECK,
            text,
            "Make room on the disk of the state folder, or mend it.",
        ));
    }
    findings
}
