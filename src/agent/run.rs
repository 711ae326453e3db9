//! What starts and stops, and in which order.

use std::path::Path;

use super::cli::Enrol;
use crate::common::report::{Exit, Report};

/// Runs the agent until it is told to stop.
pub fn run(file: &Path) -> Result<(), Report> {
    let _ = super::config::Config::load(file)?;
    Err(Report::new(Exit::Software, "not yet"))
}

/// Makes this agent known to its relay.
pub fn enrol(file: &Path, how: &Enrol, _json: bool) -> Result<(), Report> {
    let config = super::config::Config::load(file)?;
    let token = super::cli::enrol::token(how)?;
    super::cli::enrol::relay(how, &token, &config.relay.url)?;
    Err(Report::new(Exit::Software, "not yet"))
}
