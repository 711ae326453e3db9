//! The site's side: the way of a call is `connection` → `front` → `policy` → `proxy` → `upstream`.
//!
//! Only this module knows every room: `main` says which command does what, [`run`] what starts and stops in which
//! order.

pub mod acme;
pub mod admin;
pub mod audit;
pub mod callers;
pub mod cli;
pub mod config;
pub mod connection;
pub mod counters;
pub mod credential;
pub mod credentials;
pub mod doctor;
pub mod egress;
pub mod enrol;
pub mod front;
pub mod house;
pub mod idempotency;
pub mod issuers;
pub mod links;
pub mod live;
pub mod mapping;
pub mod metrics;
pub mod pass_through;
pub mod passing;
pub mod pause;
pub mod policy;
pub mod proxy;
pub mod reload;
pub mod remembered;
pub mod run;
pub mod signed;
pub mod store;
pub mod upstream;

use std::process::ExitCode;

use crate::common::report::Report;
use crate::terminal;
use cli::daemon::ask;
use cli::{Cli, Command};

/// The program.
pub fn main() -> ExitCode {
    // Commands hold secrets too.
    crate::hardening::harden();
    let cli = match terminal::parse::<Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report.print(cli::PROGRAM),
    }
}

fn dispatch(cli: &Cli) -> Result<(), Report> {
    let (file, json) = (&*cli.config, cli.json);
    match &cli.command {
        Command::Run => run::run(file),
        Command::Enrol(how) => enrol::enrol(file, how, json),
        Command::Status => ask(file, async |daemon| cli::status::status(daemon, json).await),
        Command::CheckConfig => cli::check_config::check_config(file, json),
        Command::Doctor => doctor::doctor(file, json),
        Command::Policy(what) => cli::policy::policy(file, what, json),
        Command::Caller(what) => ask(file, async |daemon| cli::caller::caller(daemon, what, json).await),
        Command::Audit(what) => cli::audit::audit(file, what, json),
        Command::Certificate { what } => {
            ask(file, async |daemon| cli::certificate::certificate(daemon, what.as_ref(), json).await)
        }
        Command::Credential(what) => credential::credential(file, what, json),
        Command::Store(what) => cli::store::store(file, what, json),
        Command::Link(what) => ask(file, async |daemon| cli::link::link(daemon, what, json).await),
        Command::Egress(what) => ask(file, async |daemon| cli::egress::egress(daemon, what, json).await),
        Command::Pause => ask(file, async |daemon| cli::status::pause(daemon, json).await),
        Command::Resume => ask(file, async |daemon| cli::status::resume(daemon, json).await),
        Command::Reload => ask(file, async |daemon| cli::status::reload(daemon, json).await),
        Command::Generate(what) => terminal::generate::<Cli>(what),
    }
}
