//! The command line of `outhaul-agent`: one definition, from which help, manual pages and completions come.
//!
//! Commands that look at files only (`check-config`, `policy`, `enrol`) work without a daemon; all others ask the
//! running one over its admin socket. One file a command.

pub mod audit;
pub mod caller;
pub mod certificate;
pub mod check_config;
pub mod credential;
pub mod daemon;
pub mod egress;
pub mod enrol;
pub mod link;
pub mod policy;
pub mod status;
pub mod store;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use audit::Audit;
pub use certificate::Certificate;
pub use credential::Credential;
pub use egress::Egress;
pub use link::Link;
pub use policy::Policy;
pub use store::Store;

use crate::common::limits::parse_duration;
use crate::common::report::{Exit, Report};
use crate::terminal::Generate;

/// What the program is called, and its systemd unit.
pub const PROGRAM: &str = "outhaul-agent";

/// The agent of Outhaul: stands beside Jira, connects out to the relay, and decides which calls may pass.
#[derive(Debug, Parser)]
#[command(name = "outhaul-agent", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/outhaul/agent.toml")]
    pub config: PathBuf,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: connect to the relay and answer calls until told to stop.
    Run,
    /// Make this agent known to a relay, with the one-time token from its operator.
    Enrol(Enrol),
    /// Show the running agent: tunnels, upstreams, policy, callers.
    Status,
    /// Check the configuration and everything it names, without starting anything.
    CheckConfig,
    /// Look for what is wrong on the way from the relay to the applications, and say what to do about it.
    ///
    /// Takes the way that the agent itself takes: the relay's name, the proxy, TCP, TLS and the WebSocket, up to the
    /// point where an agent would join; then the applications, the store's key and the clock. Asks the running agent
    /// for what only it knows, and works without one too. Changes nothing. Ends with 1 if anything failed.
    Doctor,
    /// Look at the policy: which call may pass, and which line decides.
    #[command(subcommand)]
    Policy(Policy),
    /// The programs that may call this site, and their keys.
    #[command(subcommand)]
    Caller(Caller),
    /// Look at what was recorded, and prove that nobody changed it.
    #[command(subcommand)]
    Audit(Audit),
    /// The secrets of the accounts that calls are made as.
    #[command(subcommand)]
    Credential(Credential),
    /// Show the certificates that come by ACME: names, end, key pins, the CAA lines to set.
    Certificate {
        /// What to do instead of showing them.
        #[command(subcommand)]
        what: Option<Certificate>,
    },
    /// Back up, restore, verify or rekey what the agent keeps.
    #[command(subcommand)]
    Store(Store),
    /// Who is whom: the people calls are made for, and their accounts.
    #[command(subcommand)]
    Link(Link),
    /// Try the way to a host on the internet.
    #[command(subcommand)]
    Egress(Egress),
    /// Refuse every call until `resume`, also after a restart.
    Pause,
    /// Let calls pass again after `pause`.
    Resume,
    /// Read the configuration again, as on SIGHUP, and say what came of it.
    Reload,
    /// Write manual pages or completions.
    #[command(subcommand, hide = true)]
    Generate(Generate),
}

/// How to enrol.
#[derive(Debug, Args)]
pub struct Enrol {
    /// The relay's address, such as wss://relay.example.com. It must be the one the token was made for.
    #[arg(long, value_name = "URL")]
    pub relay: Option<String>,
    /// The token. Others on this machine can see it in the process list: prefer --token-file or the prompt.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file with the token, or - for standard input. Without it and --token, the token is asked for.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Enrol anew although this agent is enrolled already. The old identity is lost.
    #[arg(long)]
    pub replace: bool,
}

/// Callers and their keys.
#[derive(Debug, Subcommand)]
pub enum Caller {
    /// Let a program call this site: makes its key and shows it once, or takes the public key that it signs with.
    Add {
        /// A name for it: a-z, 0-9 and -.
        name: String,
        /// Its Ed25519 public key, in PEM or base64: it has no secret here, and signs each call.
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
    },
    /// List the callers; keys are not kept and can't be shown.
    List,
    /// Give a caller a new key; the old one stops working at once, or after a grace time.
    Rotate {
        /// Which caller.
        name: String,
        /// How long the old key goes on working, such as 1h, so that the program can be changed over.
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
        grace: Duration,
        /// Its new Ed25519 public key, in PEM or base64. Without it the new key is one that is sent along.
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
    },
    /// Remove a caller; its key stops working at once.
    Remove {
        /// Which caller.
        name: String,
    },
}

/// What the daemon answered, as the type this command line knows.
fn understood<T: DeserializeOwned>(document: Value) -> Result<T, Report> {
    serde_json::from_value(document).map_err(|error| {
        let text = format!("the running agent answered in a form this command does not know: {error}");
        Report::new(Exit::Protocol, text)
            .with_remedy("The daemon is probably of another version: run `systemctl restart outhaul-agent`.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = Cli::try_parse_from(["outhaul-agent", "status", "--json", "--config", "x.toml"]).unwrap();
        assert!(cli.json);
        assert_eq!(cli.config.to_str(), Some("x.toml"));
    }

    #[test]
    fn manual_pages_and_completions_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().to_owned();
        crate::terminal::generate::<Cli>(&Generate::Man { folder: into.clone() }).unwrap();
        crate::terminal::generate::<Cli>(&Generate::Completions { folder: into.clone() }).unwrap();
        let page = std::fs::read_to_string(into.join("outhaul-agent-policy-explain.1")).unwrap();
        assert!(page.contains("outhaul\\-agent policy explain"), "{page}");
        assert!(!into.join("outhaul-agent-generate.1").exists());
        assert!(std::fs::read_dir(&into).unwrap().count() > 12);
    }
}
