//! Any file: it is read, or refused with a report that can't steer a terminal.

use outhaul::agent::config::Config;

/// One run.
pub(super) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Err(report) = Config::parse("agent.toml", &text) {
        let shown = report.to_string();
        assert!(shown.chars().all(|character| character == '\n' || !character.is_control()), "{shown:?}");
    }
}
