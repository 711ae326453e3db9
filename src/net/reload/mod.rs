//! Notices that files change: a server's certificate, a configuration.
//!
//! The folder is watched, because editors and renewal tools replace files; and the content is compared now and
//! then, because a symbolic link that is swapped further up makes no event in the folder.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use rustls::sign::CertifiedKey;
use tokio::sync::{Notify, watch};

use super::tls::Certificates;
use crate::common::tasks::Tasks;

/// How often content is compared when nothing else tells.
pub const POLL_EVERY: Duration = Duration::from_secs(10);
/// A file is taken as written once it has not changed for so long.
const SETTLED_AFTER: Duration = Duration::from_millis(100);
/// A file that never settles is read nevertheless.
const MAX_SETTLING: usize = 20;
/// No watched file is longer; the longest is a configuration.
const MAX_FILE: u64 = 4 << 20;

/// Tells when the content of some files has changed.
#[derive(Debug)]
pub struct Changes {
    receiver: watch::Receiver<u64>,
    poke: Poke,
}

/// Asks for a look at once, as on SIGHUP: counts as a change even if the content is the same.
#[derive(Debug, Clone, Default)]
pub struct Poke(Arc<Notify>);

impl Poke {
    /// Now.
    pub fn now(&self) {
        self.0.notify_one();
    }
}

impl Changes {
    /// Resolves at the next change; `None` once the program stops. Changes that come while nobody waits are kept
    /// as one. Cancel-safe.
    pub async fn next(&mut self) -> Option<()> {
        self.receiver.changed().await.ok()
    }

    /// To ask for a look.
    pub fn poke(&self) -> Poke {
        self.poke.clone()
    }
}

/// Watches files; they need not exist.
pub fn watch_files(files: Vec<PathBuf>, poll_every: Duration, tasks: &Tasks) -> Changes {
    let (sender, receiver) = watch::channel(0);
    let poke = Poke::default();
    let changes = Changes { receiver, poke: poke.clone() };
    let stop = tasks.token();
    // The state now, before the caller reads the files itself: a change in between is seen, at worst twice.
    let mut known = look(&files);
    tasks.spawn("file watch", async move {
        let touched = Arc::new(Notify::new());
        let watcher = watch_folders(&files, &touched);
        loop {
            let poked = tokio::select! {
                () = stop.cancelled() => break,
                () = touched.notified() => false,
                () = tokio::time::sleep(poll_every) => false,
                () = poke.0.notified() => true,
            };
            let now = settle(&files).await;
            if poked || now != known {
                known = now;
                sender.send_modify(|count| *count += 1);
            }
        }
        drop(watcher);
    });
    changes
}

/// Keeps a server's certificate as its files have it. A bad new one is logged and the old one stays.
pub fn keep_certificate(
    certificates: Arc<Certificates>,
    certificate: PathBuf,
    key: PathBuf,
    poll_every: Duration,
    tasks: &Tasks,
) -> Poke {
    keep_certificate_if(certificates, certificate, key, poll_every, tasks, |_| Ok(()))
}

/// The same; one that `judge` says something against is a bad one.
pub fn keep_certificate_if(
    certificates: Arc<Certificates>,
    certificate: PathBuf,
    key: PathBuf,
    poll_every: Duration,
    tasks: &Tasks,
    judge: impl Fn(&CertifiedKey) -> Result<(), String> + Send + 'static,
) -> Poke {
    let mut changes = watch_files(vec![certificate.clone(), key.clone()], poll_every, tasks);
    let poke = changes.poke();
    tasks.spawn("certificate reload", async move {
        while changes.next().await.is_some() {
            match certificates.reload_if(&certificate, &key, &judge) {
                Ok(()) => tracing::info!(file = %certificate.display(), "new certificate in use"),
                Err(error) => {
                    let error = crate::common::report::Report::from_error(
                        crate::common::report::Exit::Config,
                        &error,
                    );
                    tracing::error!(%error, "the new certificate can't be used; the old one stays");
                }
            }
        }
    });
    poke
}

/// Reads a file of at most so many bytes; `None` if it is longer.
pub fn read_bounded(path: &Path, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let file = std::fs::File::open(path)?;
    let mut content = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut content)?;
    Ok((read as u64 <= limit).then_some(content))
}

fn watch_folders(files: &[PathBuf], touched: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let notify = Arc::clone(touched);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading is no change; and our own look would wake us for ever.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            notify.notify_one();
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "files can't be watched; they are compared now and then");
            return None;
        }
    };
    let mut folders: Vec<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(%error, folder = %folder.display(), "a folder can't be watched; its files are compared now and then");
        }
    }
    Some(watcher)
}

/// Looks until the content stands still, so that a half-written file is not taken.
async fn settle(files: &[PathBuf]) -> Vec<Look> {
    let mut last = look(files);
    for _ in 0..MAX_SETTLING {
        tokio::time::sleep(SETTLED_AFTER).await;
        let now = look(files);
        if now == last {
            break;
        }
        last = now;
    }
    last
}

/// A file's content, or why there is none.
type Look = Result<Option<Vec<u8>>, std::io::ErrorKind>;

/// The files are small and few: reading them takes less than handing them to another thread.
fn look(files: &[PathBuf]) -> Vec<Look> {
    files
        .iter()
        .map(|file| {
            let hash =
                |content: Vec<u8>| ring::digest::digest(&ring::digest::SHA256, &content).as_ref().to_vec();
            read_bounded(file, MAX_FILE).map(|content| content.map(hash)).map_err(|error| error.kind())
        })
        .collect()
}

#[cfg(test)]
mod tests;
