//! The processes: started, waited for, and stopped by their own ids.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Outcome;

/// The programs, beside the demo's own.
pub(crate) struct Programs {
    pub(crate) relay: PathBuf,
    pub(crate) agent: PathBuf,
    pub(crate) jira: PathBuf,
}

impl Programs {
    pub(crate) fn find() -> Outcome<Self> {
        let own =
            std::env::current_exe().map_err(|fault| format!("this program's place is unknown: {fault}"))?;
        let examples = own.parent().map(Path::to_owned).unwrap_or_default();
        let bins = examples.parent().map(Path::to_owned).unwrap_or_default();
        let programs = Self {
            relay: bins.join("outhaul-relay"),
            agent: bins.join("outhaul-agent"),
            jira: examples.join("jira-stand-in"),
        };
        for program in [&programs.relay, &programs.agent, &programs.jira] {
            if !program.exists() {
                return Err(format!("{} is missing: start the demo with `make demo`", program.display()));
            }
        }
        Ok(programs)
    }
}

/// Running processes, stopped when the demo ends in whatever way.
#[derive(Default)]
pub(crate) struct Children(Vec<(&'static str, Child, PathBuf)>);

impl Children {
    /// Starts a daemon; what it prints to standard error goes into `log`.
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        program: &Path,
        arguments: &[&str],
        log: &Path,
        stdout: Stdio,
    ) -> Outcome<u32> {
        let file = File::create(log).map_err(|fault| format!("{}: {fault}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(file)
            .spawn()
            .map_err(|fault| format!("{} does not start: {fault}", program.display()))?;
        let id = child.id();
        self.0.push((name, child, log.to_owned()));
        Ok(id)
    }

    /// The standard output of the daemon started last.
    pub(crate) fn output(&mut self) -> Option<std::process::ChildStdout> {
        self.0.last_mut()?.1.stdout.take()
    }

    /// What is wrong if a daemon has ended already.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        for (name, child, log) in &mut self.0 {
            if let Ok(Some(status)) = child.try_wait() {
                let text = std::fs::read_to_string(&*log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n");
                return Err(format!("{name} ended with {status}. Its last lines:\n{last}"));
            }
        }
        Ok(())
    }

    /// Asks all to stop, the youngest first, and waits; one that does not is killed.
    pub(crate) async fn stop(&mut self) {
        for (_, child, _) in self.0.iter().rev() {
            signal(child.id());
        }
        for (_, child, _) in self.0.iter_mut().rev() {
            for _ in 0..150 {
                if !matches!(child.try_wait(), Ok(None)) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // Both fail only on one that is gone.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.0.clear();
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for (_, child, _) in &mut self.0 {
            // Both fail only on one that is gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// SIGTERM, by the shell's own `kill`: there is no safe call for it in the standard library.
fn signal(id: u32) {
    // A process that is gone already needs no signal.
    let _ = Command::new("sh").args(["-c", &format!("kill -TERM {id} 2>/dev/null")]).status();
}
