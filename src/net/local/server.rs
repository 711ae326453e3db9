//! The daemon's end of the admin socket.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::{UnixListener, UnixStream};

use super::{PeerUid, Right};
use crate::common::tasks::Tasks;
use crate::net::pages::{self, Accept};

/// Why the admin socket can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindFault {
    /// Another daemon holds it.
    #[error("another daemon is already running: it holds the admin socket {0}")]
    Running(PathBuf),
    /// Something that is no socket lies there.
    #[error("{0} is there already and is no socket; move it away, or name another path under [admin] socket")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("the admin socket {path} can't be opened ({step}): {error}")]
    System {
        /// Which socket.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// An open admin socket. Dropped, it takes its file away.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
    /// Held while the daemon lives: whoever has it may replace the file a dead daemon left behind.
    _lock: File,
}

impl Server {
    /// Opens the socket with mode 0660; a missing folder is made with mode 0750. Must run inside a runtime.
    pub fn bind(path: &Path) -> Result<Self, BindFault> {
        let fault = |step| move |error| BindFault::System { path: path.to_owned(), step, error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
            made.map_err(fault("making its folder"))?;
        }
        let lock = lock(path)?;
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindFault::NotASocket(path.to_owned()));
            }
            _ => {}
        }
        // Bound beside and moved over: nobody meets the socket before its mode is right, and the file of a dead
        // daemon is replaced in one step.
        let fresh = beside(path, "new");
        let _ = std::fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh).map_err(fault("binding"))?;
        let mode = std::fs::set_permissions(&fresh, Permissions::from_mode(0o660));
        mode.map_err(fault("setting its mode"))?;
        let owner = std::fs::metadata(&fresh).map_err(fault("reading its owner"))?.uid();
        std::fs::rename(&fresh, path).map_err(fault("moving it into place"))?;
        Ok(Self { listener, path: path.to_owned(), owner, _lock: lock })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers until the group is told to stop.
    pub async fn serve(self, router: Router, tasks: &Tasks) {
        // A route that takes more says so itself.
        let router = router.layer(DefaultBodyLimit::max(MAX_BODY));
        pages::answer(&self, router, tasks, pages::Manner::commands(tasks)).await;
    }

    fn right(&self, peer: Option<PeerUid>) -> Right {
        match peer {
            Some(PeerUid(uid)) if uid == 0 || uid == self.owner => Right::Change,
            _ => Right::Read,
        }
    }
}

impl Accept for Server {
    type Io = UnixStream;
    async fn next(&self) -> io::Result<(UnixStream, Right, Option<PeerUid>)> {
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred().ok().map(|peer| PeerUid(peer.uid()));
        let right = self.right(peer);
        Ok((stream, right, peer))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Still locked, so it is ours.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn lock(path: &Path) -> Result<File, BindFault> {
    let fault = |step| move |error| BindFault::System { path: path.to_owned(), step, error };
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(beside(path, "lock"));
    let file = opened.map_err(fault("opening its lock file"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(BindFault::Running(path.to_owned())),
        Err(std::fs::TryLockError::Error(error)) => Err(fault("locking its lock file")(error)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

const MAX_BODY: usize = 256 * 1024;
