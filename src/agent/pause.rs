//! The kill switch: while the file `paused` lies in the state folder, every call is refused.
//!
//! A file, so that it outlives a restart and can be made by hand (`touch`) when nothing else works. The front asks
//! [`Pause::is_on`] before anything else; only the admin socket and the file itself change it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The switch; clones are the same switch.
#[derive(Debug, Clone)]
pub struct Pause(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: PathBuf,
    on: AtomicBool,
    /// Paused without a file, because it could not be written.
    held: AtomicBool,
}

impl Pause {
    /// As the file in this folder says.
    pub fn load(state: &Path) -> Self {
        let inner =
            Inner { file: state.join(FILE), on: AtomicBool::new(false), held: AtomicBool::new(false) };
        let pause = Self(Arc::new(inner));
        pause.look();
        pause
    }

    /// Whether calls are refused.
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    /// Refuses calls from now on. They are refused even when the file can't be written.
    pub fn pause(&self) -> io::Result<()> {
        self.set(true);
        let written = std::fs::File::options().create(true).append(true).open(&self.0.file);
        let written = written.and_then(|file| file.sync_all());
        self.0.held.store(written.is_err(), Ordering::Relaxed);
        written
    }

    /// Lets calls pass again, unless the file can't be taken away.
    pub fn resume(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.0.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => {
                self.0.held.store(false, Ordering::Relaxed);
                self.set(false);
                Ok(())
            }
        }
    }

    /// Follows the file until told to stop; tells whenever it has changed the switch.
    pub async fn watch(&self, stop: CancellationToken, changed: impl Fn(bool)) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => if self.look() {
                    changed(self.is_on());
                },
            }
        }
    }

    fn look(&self) -> bool {
        // A file that can't be looked at counts as there: refusing is the safe side.
        let there = self.0.file.try_exists().unwrap_or(true);
        self.set(there || self.0.held.load(Ordering::Relaxed))
    }

    /// Whether that is a change.
    fn set(&self, on: bool) -> bool {
        let changed = self.0.on.swap(on, Ordering::Relaxed) != on;
        if changed {
            if on {
                tracing::info!(file = %self.0.file.display(), "paused: every call is refused");
            } else {
                tracing::info!("resumed: calls pass as the policy says");
            }
        }
        changed
    }
}

const FILE: &str = "paused";
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let pause = Pause::load(folder.path());
        assert!(!pause.is_on());
        pause.pause().unwrap();
        pause.pause().unwrap();
        assert!(pause.is_on());
        let again = Pause::load(folder.path());
        assert!(again.is_on());
        again.resume().unwrap();
        again.resume().unwrap();
        assert!(!Pause::load(folder.path()).is_on());
    }

    #[test]
    fn a_file_made_by_hand_pauses() {
        let folder = tempfile::tempdir().unwrap();
        let pause = Pause::load(folder.path());
        std::fs::write(folder.path().join("paused"), "").unwrap();
        pause.look();
        assert!(pause.is_on());
        std::fs::remove_file(folder.path().join("paused")).unwrap();
        pause.look();
        assert!(!pause.is_on());
    }

    #[test]
    fn calls_are_refused_even_if_the_file_cannot_be_written() {
        let pause = Pause::load(Path::new("/proc/nowhere"));
        assert!(pause.pause().is_err());
        pause.look();
        assert!(pause.is_on());
        pause.resume().unwrap();
        assert!(!pause.is_on());
    }
}
