//! The agent's state folder: its key, its enrolment, and one join state for each tunnel.
//!
//! Everything in it is the agent's identity, so the folder and its files are for their owner alone, and one process
//! at a time holds it. `enrolment.json` is written last: what it does not name does not count.

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::common::ids::{AgentId, SiteName};
use crate::common::report::Report;
use crate::config::file::{read_text, replace_private};
use crate::identity::handshake::join::Join;
use crate::identity::handshake::messages::SLOTS;
use crate::identity::keys::{KeyFault, PublicKey, SigningKey};
use crate::identity::token::EnrolmentSecret;

/// The folder, held by this process.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    // The lock lasts as long as the file is open; a crash gives it back.
    _lock: File,
}

/// Who this agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The relay's address at enrolment.
    pub relay_url: String,
    /// The relay's key; another one is not talked to.
    pub relay_key: PublicKey,
    /// The site.
    pub site: SiteName,
    /// The id the relay gave.
    pub agent: AgentId,
    /// When. Seconds since 1970.
    pub enrolled: u64,
}

/// An agent that can connect.
#[derive(Debug)]
pub struct Identity {
    /// Who it is.
    pub enrolment: Enrolment,
    /// Its key.
    pub key: SigningKey,
}

/// What is wrong with the folder or what lies in it.
#[derive(Debug, thiserror::Error)]
pub enum StateFault {
    /// It can't be used.
    #[error("the state folder {} can't be {verb}: check that the service's user owns it", path.display())]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Others may use it.
    #[error(
        "the state folder {} is open to others than its owner (mode {mode:o}), and the agent's key lies in it: \
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
    /// A file can't be written.
    #[error("{} can't be written: is the disk full?", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file can't be read.
    #[error(transparent)]
    Read(#[from] Report),
    /// A file makes no sense.
    #[error("{} can't be understood: restore it from a backup, or enrol anew with `enrol --replace`", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyFault),
}

/// A join state says whose it is, so that one of an earlier enrolment never counts.
#[derive(Serialize, Deserialize)]
struct JoinFile {
    agent: AgentId,
    #[serde(flatten)]
    join: Join,
}

impl State {
    /// Opens the folder, makes it if it is missing, and holds it until dropped.
    pub fn open(folder: &Path) -> Result<Self, StateFault> {
        let fault = |verb| move |source| StateFault::Folder { path: folder.to_owned(), verb, source };
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(fault("created")(error)),
            _ => {}
        }
        let mode = folder.metadata().map_err(fault("read"))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(StateFault::Exposed { path: folder.to_owned(), mode });
        }
        let mut options = File::options();
        let lock = options.create(true).truncate(false).write(true).mode(0o600).open(folder.join("lock"));
        let lock = lock.map_err(fault("written to"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateFault::Held { path: folder.to_owned() }),
            Err(TryLockError::Error(error)) => Err(fault("locked")(error)),
        }
    }

    /// Who this agent is, if it is enrolled.
    pub fn identity(&self) -> Result<Option<Identity>, StateFault> {
        let Some(enrolment) = self.read::<Enrolment>(ENROLMENT)? else { return Ok(None) };
        let key = SigningKey::load(&self.key_path(enrolment.agent))?;
        Ok(Some(Identity { enrolment, key }))
    }

    /// The join state of a slot.
    pub fn join(&self, agent: AgentId, slot: u8) -> Result<Option<Join>, StateFault> {
        let file = self.read::<JoinFile>(&join_name(slot))?;
        Ok(file.filter(|file| file.agent == agent).map(|file| file.join))
    }

    /// Stores the join state of a slot. On return it is on disk.
    pub fn store_join(&self, agent: AgentId, slot: u8, join: Join) -> Result<(), StateFault> {
        self.write(&join_name(slot), &JoinFile { agent, join })
    }

    /// The key to enrol with: the same one when the same token is tried again, so that an enrolment that was cut
    /// off can be finished; otherwise a new one.
    pub fn enrolling_key(&self, secret: &EnrolmentSecret) -> Result<SigningKey, StateFault> {
        Ok(SigningKey::load_or_create(&self.enrolling_path(secret))?)
    }

    /// Makes what the relay gave at enrolment this agent's identity. On return it is on disk.
    pub fn enrolled(
        &self,
        secret: &EnrolmentSecret,
        enrolment: &Enrolment,
        first: Join,
    ) -> Result<(), StateFault> {
        let before = self.read::<Enrolment>(ENROLMENT).ok().flatten();
        let (enrolling, key) = (self.enrolling_path(secret), self.key_path(enrolment.agent));
        match std::fs::hard_link(&enrolling, &key) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(StateFault::Write { path: key, source: error });
            }
            _ => {}
        }
        for slot in 0..SLOTS {
            self.store_join(enrolment.agent, slot, first)?;
        }
        self.write(ENROLMENT, enrolment)?;
        // From here on the agent is enrolled. What is left over does no harm, but a key is better gone.
        let _ = std::fs::remove_file(enrolling);
        if let Some(before) = before.filter(|before| before.agent != enrolment.agent) {
            let _ = std::fs::remove_file(self.key_path(before.agent));
        }
        Ok(())
    }

    fn key_path(&self, agent: AgentId) -> PathBuf {
        self.folder.join(format!("identity-{agent}.key"))
    }

    fn enrolling_path(&self, secret: &EnrolmentSecret) -> PathBuf {
        let token: String = secret.hash().to_string().chars().take(12).collect();
        self.folder.join(format!("enrolling-{token}.key"))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateFault> {
        let path = self.folder.join(name);
        match path.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let text = read_text(&path, "state file", MAX_FILE)?;
        serde_json::from_str(&text).map(Some).map_err(|source| StateFault::Damaged { path, source })
    }

    fn write(&self, name: &str, document: &impl Serialize) -> Result<(), StateFault> {
        let path = self.folder.join(name);
        let bytes = serde_json::to_vec_pretty(document).map_err(std::io::Error::other);
        bytes
            .and_then(|bytes| replace_private(&path, &bytes))
            .map_err(|source| StateFault::Write { path, source })
    }
}

fn join_name(slot: u8) -> String {
    format!("join-{slot}.json")
}

const ENROLMENT: &str = "enrolment.json";
const MAX_FILE: usize = 64 * 1024;
