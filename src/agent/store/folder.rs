//! The state folder: its owner's alone, and one process at a time holds it.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::common::report::Exit;

/// The folder, held by this process.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    // The lock lasts as long as the file is open; a crash gives it back.
    _lock: File,
}

/// What is wrong with the folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderFault {
    /// It can't be used.
    #[error("the state folder {} can't be {verb}: check that the service's user owns it", path.display())]
    Unusable {
        /// Which folder.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Others may use it.
    #[error(
        "the state folder {} is open to others than its owner (mode {mode:o}), and the agent's identity lies in it: \
         run `chmod 700` on it", path.display()
    )]
    Exposed {
        /// Which folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process holds it.
    #[error(
        "another outhaul-agent holds the state folder {}: stop it first (`systemctl stop outhaul-agent`); two \
         agents can't share one identity", path.display()
    )]
    Held {
        /// Which folder.
        path: PathBuf,
    },
}

impl Folder {
    /// Opens the folder, makes it if it is missing, and holds it until dropped.
    pub fn open(path: &Path) -> Result<Self, FolderFault> {
        let fault = |verb| move |source| FolderFault::Unusable { path: path.to_owned(), verb, source };
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(fault("created")(error)),
            _ => {}
        }
        let mode = path.metadata().map_err(fault("read"))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(FolderFault::Exposed { path: path.to_owned(), mode });
        }
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(path.join("lock"));
        let lock = lock.map_err(fault("written to"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderFault::Held { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(fault("locked")(error)),
        }
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Root works on the folder, the service's user runs: what was written must belong to whoever owns the folder.
pub fn give_to_owner(folder: &Path) {
    use std::os::unix::fs::lchown;
    let Ok(owner) = std::fs::metadata(folder) else { return };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(file) = entry.metadata() else { continue };
        if file.is_file()
            && file.uid() != owner.uid()
            && let Err(error) = lchown(entry.path(), Some(owner.uid()), Some(owner.gid()))
        {
            eprintln!("warning: {} can't be given to the folder's owner: {error}", entry.path().display());
        }
    }
}

impl FolderFault {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Held { .. } => Exit::Temporary,
            Self::Exposed { .. } => Exit::Config,
            Self::Unusable { source, .. } if source.kind() == ErrorKind::PermissionDenied => Exit::Permission,
            Self::Unusable { .. } => Exit::CannotCreate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn one_process_holds_it_and_nobody_else_may_look() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        let held = Folder::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        assert!(matches!(Folder::open(&path), Err(FolderFault::Held { .. })));
        drop(held);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(Folder::open(&path), Err(FolderFault::Exposed { mode: 0o750, .. })));
        assert!(Folder::open(&parent.path().join("a/b")).is_err());
    }
}
