//! `callers.json`: names, key ids, hashes and times.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CallersFault, Key};
use crate::common::ids::CallerName;
use crate::config::file::replace_private;
use crate::identity::api_key::{ApiKeyHash, ApiKeyId};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    callers: BTreeMap<CallerName, Vec<StoredKey>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    id: ApiKeyId,
    hash: ApiKeyHash,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

/// All callers; none where there is no file.
pub(super) fn read(path: &Path) -> Result<BTreeMap<CallerName, Vec<Key>>, CallersFault> {
    let fault = |what: String| CallersFault::Read { path: path.into(), what };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(fault(error.to_string())),
    };
    let metadata = file.metadata().map_err(|error| fault(error.to_string()))?;
    let mode = metadata.mode() & 0o777;
    if !metadata.is_file() {
        return Err(fault("it is no regular file".to_owned()));
    }
    if mode & 0o077 != 0 {
        return Err(fault(format!(
            "others may use it (mode {mode:03o}); run chmod 600 {}, and look at `outhaul-agent caller list` for callers that you don't know",
            path.display()
        )));
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| fault(error.to_string()))?;
    if text.len() as u64 > MAX_FILE {
        return Err(fault(format!("it is larger than {MAX_FILE} bytes; restore it from a backup")));
    }
    let document: Document = serde_json::from_str(&text).map_err(|error| {
        fault(format!("{error}; restore it from a backup, or move it away and add the callers anew"))
    })?;
    if document.version != VERSION {
        let version = document.version;
        return Err(fault(format!(
            "it is of version {version}, this agent knows {VERSION}; install a newer agent"
        )));
    }
    Ok(document
        .callers
        .into_iter()
        .map(|(name, keys)| (name, keys.into_iter().map(Key::from).collect()))
        .collect())
}

/// Replaces the file.
pub(super) fn write(path: &Path, callers: &BTreeMap<CallerName, Vec<Key>>) -> Result<(), CallersFault> {
    let stored = |keys: &Vec<Key>| keys.iter().map(StoredKey::from).collect();
    let callers = callers.iter().map(|(name, keys)| (name.clone(), stored(keys))).collect();
    serde_json::to_vec_pretty(&Document { version: VERSION, callers })
        .map_err(std::io::Error::from)
        .and_then(|bytes| replace_private(path, &bytes))
        .map_err(|source| CallersFault::Write { path: path.into(), source })
}

impl From<StoredKey> for Key {
    fn from(key: StoredKey) -> Self {
        Self {
            id: key.id,
            hash: key.hash,
            created: key.created,
            expires: key.expires,
            last_used: Arc::default(),
        }
    }
}

impl From<&Key> for StoredKey {
    fn from(key: &Key) -> Self {
        Self { id: key.id.clone(), hash: key.hash, created: key.created, expires: key.expires }
    }
}

const VERSION: u32 = 1;
const MAX_FILE: u64 = 4 << 20;
