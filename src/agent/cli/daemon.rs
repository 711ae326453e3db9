//! Finds the running daemon's admin socket, also while the configuration is wrong: that is when `status` is needed
//! most.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::agent::config::Config;
use crate::common::report::{Exit, Report};
use crate::net::local::Client;
use crate::terminal;

/// Runs a command against the daemon of this configuration.
pub fn ask(file: &Path, command: impl AsyncFnOnce(&Client) -> Result<(), Report>) -> Result<(), Report> {
    let (client, config) = find(file)?;
    let fault = config.err();
    let done = terminal::block_on(async { command(&client).await });
    match (done, fault) {
        // It does not run, and could not with this file.
        (Err(report), Some(fault)) if report.exit() == Exit::Unavailable => Err(fault),
        (done, _) => done,
    }
}

/// Where the daemon of this configuration would be, and the configuration, or what is wrong with it.
pub fn find(file: &Path) -> Result<(Client, Result<Config, Report>), Report> {
    let client = |socket: &Path| Client::new(socket, super::PROGRAM);
    match Config::load(file) {
        Ok(config) => Ok((client(&config.admin_socket), Ok(config))),
        Err(report) => match socket_in(file) {
            Some(socket) => Ok((client(&socket), Err(report))),
            None => Err(report),
        },
    }
}

/// What can still be read of a file with faults.
pub(super) fn socket_in(file: &Path) -> Option<PathBuf> {
    let text = crate::config::file::read_text(file, "configuration file", crate::config::MAX_FILE).ok()?;
    let (table, _) = DeTable::parse_recoverable(&text);
    let socket = match table.get_ref().get("admin").map(toml::Spanned::get_ref) {
        Some(DeValue::Table(admin)) => admin.get("socket").and_then(|socket| socket.get_ref().as_str()),
        _ => None,
    };
    Some(socket.map_or_else(|| PathBuf::from(Config::DEFAULT_SOCKET), PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_still_leads_to_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        for (text, socket) in [
            ("[admin]\nsocket = \"/x/y\"\n[relay]\nurl = 7\n", "/x/y"),
            ("[admin]\nsocket = \"/x/y\"\n[relay\nurl = \n", "/x/y"),
            ("nonsense", Config::DEFAULT_SOCKET),
        ] {
            std::fs::write(&file, text).unwrap();
            assert!(Config::load(&file).is_err());
            assert_eq!(socket_in(&file).unwrap(), Path::new(socket), "{text}");
        }
        assert_eq!(socket_in(Path::new("/nowhere")), None);
    }
}
