//! Takes a changed configuration into use while calls go on: when the file changes, on SIGHUP, on `reload`.
//!
//! A file that is wrong changes nothing, and that is said loudly: in the log, and in `status` for as long as it
//! lasts. What a reload can't change is named too. Knows nothing of what is in the file: `agent::run` gives it the
//! reader and the taker.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::common::clock::Clock;
use crate::common::report::Report;
use crate::common::tasks::Tasks;
use crate::net::reload::Changes;

/// What became of the file.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its path.
    pub file: PathBuf,
    /// When what is in force was read.
    pub loaded: SystemTime,
    /// Why the newest state of the file is not in force.
    pub error: Option<String>,
    /// Changed keys that take effect only after a restart.
    pub restart_needed: Vec<String>,
}

/// To ask for a reload, and to look at what came of the last.
#[derive(Debug, Clone)]
pub struct Handle {
    record: Arc<Mutex<Record>>,
    ask: mpsc::Sender<Ask>,
}

type Answer = oneshot::Sender<Result<Vec<String>, String>>;

/// Who asks, and where what came of it goes.
#[derive(Debug)]
struct Ask {
    by: String,
    answer: Answer,
}

impl Handle {
    /// How it stands.
    pub fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file now, as this one asks. Gives the keys that need a restart, or what is wrong with the file.
    pub async fn reload(&self, by: String) -> Result<Vec<String>, String> {
        let stopping = || "the agent is about to stop".to_owned();
        let (answer, came) = oneshot::channel();
        self.ask.send(Ask { by, answer }).await.map_err(|_| stopping())?;
        came.await.map_err(|_| stopping())?
    }
}

/// Watches until the group is told to stop. `read` makes a configuration of the file; `take` puts it in force and
/// names what it could not; if it fails, it has changed nothing, and `wrong` is told why. Both hear who asked.
pub fn start<C, R, T, W>(
    file: &Path,
    changes: Changes,
    clock: Clock,
    tasks: &Tasks,
    steps: Steps<R, T, W>,
) -> Handle
where
    C: Send + 'static,
    R: Fn(&Path) -> Result<C, Report> + Send + 'static,
    T: FnMut(C, &str) -> Result<Vec<String>, Report> + Send + 'static,
    W: FnMut(&str, &str) + Send + 'static,
{
    let loaded = clock.wall();
    let record = Record { file: file.to_owned(), loaded, error: None, restart_needed: Vec::new() };
    let record = Arc::new(Mutex::new(record));
    let (ask, asked) = mpsc::channel(4);
    let keeper = Keeper { file: file.to_owned(), record: record.clone(), clock, steps };
    tasks.spawn("reload", watch(keeper, changes, asked, tasks.clone()));
    Handle { record, ask }
}

/// What a reload is made of.
#[derive(Debug)]
pub struct Steps<R, T, W> {
    /// Makes a configuration of the file.
    pub read: R,
    /// Puts it in force, for the one who asked.
    pub take: T,
    /// Hears what is wrong in one line, and who asked.
    pub wrong: W,
}

struct Keeper<R, T, W> {
    file: PathBuf,
    record: Arc<Mutex<Record>>,
    clock: Clock,
    steps: Steps<R, T, W>,
}

impl<C, R, T, W> Keeper<R, T, W>
where
    R: Fn(&Path) -> Result<C, Report>,
    T: FnMut(C, &str) -> Result<Vec<String>, Report>,
    W: FnMut(&str, &str),
{
    fn reload(&mut self, by: &str) -> Result<Vec<String>, String> {
        let Steps { read, take, wrong } = &mut self.steps;
        let taken = read(&self.file).and_then(|config| take(config, by));
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        match taken {
            Ok(restart_needed) => {
                tracing::info!(file = %self.file.display(), "configuration read again and in force");
                if !restart_needed.is_empty() {
                    let keys = restart_needed.join(", ");
                    tracing::warn!(%keys, "changed in the file, but restart needed: these keep their old values");
                }
                record.loaded = self.clock.wall();
                record.error = None;
                record.restart_needed.clone_from(&restart_needed);
                Ok(restart_needed)
            }
            Err(report) => {
                let text = report.to_string();
                // One event, one line; `status` and `check-config` show the whole.
                let first = text.lines().next().unwrap_or_default();
                tracing::error!(
                    file = %self.file.display(),
                    error = %first,
                    "the changed configuration is wrong; what was read before stays in force. \
                     See `outhaul-agent check-config`"
                );
                wrong(first, by);
                record.error = Some(text.clone());
                Err(text)
            }
        }
    }
}

async fn watch<C, R, T, W>(
    mut keeper: Keeper<R, T, W>,
    mut changes: Changes,
    mut asked: mpsc::Receiver<Ask>,
    tasks: Tasks,
) where
    R: Fn(&Path) -> Result<C, Report>,
    T: FnMut(C, &str) -> Result<Vec<String>, Report>,
    W: FnMut(&str, &str),
{
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "SIGHUP can't be listened to; the configuration will not be reloaded");
            return;
        }
    };
    loop {
        tokio::select! {
            () = tasks.cancelled() => return,
            change = changes.next() => match change {
                Some(()) => drop(keeper.reload("a change of the file")),
                None => return,
            },
            _ = hangup.recv() => drop(keeper.reload("SIGHUP")),
            Some(Ask { by, answer }) = asked.recv() => {
                let _ = answer.send(keeper.reload(&by));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::report::Exit;
    use std::time::Duration;

    #[tokio::test]
    async fn a_bad_file_changes_nothing_and_a_good_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, "1").unwrap();
        let tasks = Tasks::new();
        let changes = crate::net::reload::watch_files(vec![file.clone()], Duration::from_millis(50), &tasks);
        let in_force = Arc::new(Mutex::new(1_u32));
        let (taken, faults) = (in_force.clone(), Arc::new(Mutex::new(Vec::new())));
        let told = faults.clone();
        let handle = start(
            &file,
            changes,
            Clock::system(),
            &tasks,
            Steps {
                read: |file: &Path| {
                    let text = std::fs::read_to_string(file).unwrap();
                    text.parse::<u32>().map_err(|error| Report::from_error(Exit::Config, &error))
                },
                take: move |number, _: &str| {
                    *taken.lock().unwrap() = number;
                    Ok(if number > 2 { vec!["relay.url".to_owned()] } else { Vec::new() })
                },
                wrong: move |fault: &str, by: &str| told.lock().unwrap().push(format!("{by}: {fault}")),
            },
        );
        std::fs::write(&file, "two").unwrap();
        assert!(handle.reload("uid 0".to_owned()).await.unwrap_err().contains("invalid digit"));
        let told = |text: &String| text.starts_with("uid 0: ") && text.contains("invalid digit");
        assert!(faults.lock().unwrap().iter().any(told), "{faults:?}");
        assert_eq!(*in_force.lock().unwrap(), 1);
        assert!(handle.record().error.is_some());
        std::fs::write(&file, "3").unwrap();
        // By itself, as the file changed.
        while handle.record().error.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(*in_force.lock().unwrap(), 3);
        assert_eq!(handle.record().restart_needed, ["relay.url"]);
        tasks.cancel();
        assert!(tasks.drain(Duration::from_secs(5)).await);
        assert!(handle.reload(String::new()).await.unwrap_err().contains("about to stop"));
    }
}
