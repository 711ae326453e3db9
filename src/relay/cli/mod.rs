//! The command line of `outhaul-relay`: one definition, from which help, manual pages and completions come.
//!
//! `run` and `check-config` read the configuration; all other commands ask the running relay over its admin
//! socket.

mod ask;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::common::host::HostPattern;
use crate::common::limits::parse_duration;
use crate::terminal::Generate;

pub use ask::{Question, ask};

/// The relay of Outhaul: the public side, where agents connect and callers call.
#[derive(Debug, Parser)]
#[command(name = "outhaul-relay", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/outhaul/relay.toml")]
    pub config: PathBuf,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the relay can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the relay until told to stop.
    Run,
    /// Check the configuration and everything it names, without starting anything.
    CheckConfig,
    /// The sites that callers can reach through this relay.
    #[command(subcommand)]
    Site(Site),
    /// List the agents, connected or not.
    Agents(Agents),
    /// Look at one agent, or change what it may do.
    #[command(subcommand)]
    Agent(Agent),
    /// Write manual pages or completions.
    #[command(subcommand, hide = true)]
    Generate(Generate),
}

/// Sites.
#[derive(Debug, Subcommand)]
pub enum Site {
    /// Add a site.
    Add {
        /// Its name: a-z, 0-9 and -; it becomes part of host names.
        name: String,
    },
    /// List the sites.
    List,
    /// Remove a site, its agents and open enrolments. Its agents are cut off at once.
    Remove {
        /// Which site.
        name: String,
        /// Also if agents are connected.
        #[arg(long)]
        force: bool,
    },
    /// Refuse every call to a site until `resume`; its agents stay connected.
    Pause {
        /// Which site.
        name: String,
    },
    /// Let calls to a site pass again.
    Resume {
        /// Which site.
        name: String,
    },
    /// The hosts that a site may reach through this relay. None unless listed.
    #[command(subcommand)]
    Egress(Egress),
    /// The names by which callers reach a site with TLS that this relay does not end.
    #[command(subcommand)]
    Name(Name),
    /// Make a one-time token by which an agent becomes known, and print the line to run at the site.
    Enrol(Enrol),
}

/// A site's list of hosts. HOST is a name and a port, such as login.example.com:443, or *.example.com:443 for every
/// name below one.
#[derive(Debug, Subcommand)]
pub enum Egress {
    /// Let a site reach a host, from now on.
    Allow {
        /// Which site.
        site: String,
        /// Which host.
        host: HostPattern,
    },
    /// Show which hosts a site may reach, and what it has used.
    List {
        /// Which site.
        site: String,
    },
    /// Take a host off a site's list; connections to it end at once.
    Deny {
        /// Which site.
        site: String,
        /// Which host, as it stands in the list.
        host: HostPattern,
    },
}

/// A customer's own names.
#[derive(Debug, Subcommand)]
pub enum Name {
    /// Pass connections for a name of the customer's own to a site, unopened.
    Add {
        /// Which site.
        site: String,
        /// The name, as in jira-api.customer.example.
        name: String,
    },
    /// List the names of all sites.
    List,
    /// Pass connections for a name no longer. Those that are open go on.
    Remove {
        /// Which site.
        site: String,
        /// Which name.
        name: String,
    },
}

/// How an agent is to become known.
#[derive(Debug, Args)]
pub struct Enrol {
    /// For which site.
    pub name: String,
    /// The agent stands by: it takes calls only while the active one is away, and only for stateless upstreams.
    #[arg(long)]
    pub standby: bool,
    /// How long the token is good for, at most 7 days.
    #[arg(long, value_name = "TIME", default_value = "1 h", value_parser = duration)]
    pub valid_for: Duration,
}

/// The list of agents.
#[derive(Debug, Args)]
pub struct Agents {
    /// Keep showing it, renewed every two seconds, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
}

/// One agent. ID may be cut short as long as it is clear.
#[derive(Debug, Subcommand)]
pub enum Agent {
    /// Show everything about an agent.
    Show {
        /// Which agent.
        id: String,
    },
    /// Ask an agent to connect anew; calls under way go on.
    Drain {
        /// Which agent.
        id: String,
    },
    /// Cut an agent off for good. It must enrol anew to come back.
    Revoke {
        /// Which agent.
        id: String,
    },
    /// Make an agent the active one of its site; the one before it stands by.
    Activate {
        /// Which agent.
        id: String,
    },
    /// The alarms of an agent have been looked into: clear them.
    Clear {
        /// Which agent.
        id: String,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
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
    fn options_are_read() {
        let line = ["outhaul-relay", "site", "enrol", "acme", "--standby", "--valid-for", "15 m", "--json"];
        let cli = Cli::try_parse_from(line).unwrap();
        let Command::Site(Site::Enrol(enrol)) = cli.command else { panic!("{:?}", cli.command) };
        assert!(cli.json && enrol.standby);
        assert_eq!(enrol.valid_for, Duration::from_secs(900));
        assert!(
            Cli::try_parse_from(["outhaul-relay", "site", "enrol", "acme", "--valid-for", "soon"]).is_err()
        );
    }
}
