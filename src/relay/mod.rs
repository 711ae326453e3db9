//! The public side: agents connect here, callers call here, and the relay brings the two together.
//!
//! Start order ([`run`]): configuration · certificate · state folder, identity, store · registry filled with the
//! sites · operator port · admin socket · public port. Whoever can reach the public port finds everything behind it
//! working. Stop order, after SIGTERM or SIGINT: `/ready` turns false and the public port closes · agents are asked
//! to connect elsewhere (DRAIN) · calls under way end, for at most `drain-time` · tunnels close · operator port and
//! admin socket go last, so that a stop can be watched.

pub mod admin;
pub mod cli;
pub mod config;
pub mod egress;
pub mod enrolment;
pub mod ingress;
pub mod metrics;
pub mod operator;
pub mod registry;
mod run;
pub mod store;
pub mod tenancy;

use std::process::ExitCode;

use crate::common::report::Report;
use crate::terminal;
use cli::{Cli, Command, Question};
use config::Config;

pub use run::{Relay, run};

/// Entry point of `outhaul-relay`.
pub fn main() -> ExitCode {
    crate::hardening::harden();
    let cli: Cli = match terminal::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match command(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report.print("outhaul-relay"),
    }
}

fn command(cli: &Cli) -> Result<(), Report> {
    let question = match &cli.command {
        Command::Generate(what) => return terminal::generate::<Cli>(what),
        Command::Run => return run(&Config::load(&cli.config)?),
        Command::CheckConfig => return run::check(cli),
        Command::Site(site) => Question::Site(site),
        Command::Agents(agents) => Question::Agents(agents),
        Command::Agent(agent) => Question::Agent(agent),
    };
    let socket = Config::load(&cli.config)?.admin_socket;
    terminal::block_on(cli::ask(&socket, cli.json, question))
}
