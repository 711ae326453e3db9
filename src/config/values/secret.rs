//! A secret is named in a file, never written there: this is the name, and how it is read.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use toml::de::DeValue;
use zeroize::Zeroize as _;

use crate::common::secret::Secret;
use crate::config::diagnose::{Source, Span};
use crate::config::table::Table;
use crate::config::value::FromValue;

/// Where a secret lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretRef {
    /// `{ credential = "name" }`: a credential that systemd passes to the service.
    Credential(String),
    /// `{ file = "/path" }`: a file that only its owner may read.
    File(PathBuf),
}

/// A secret that can't be read. Says what to do; never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretFault {
    /// Not started by systemd, or without credentials.
    #[error(
        "the credential “{0}” can't be read, because this process was given none: start it as a systemd service with LoadCredential={0}:/path, or write {{ file = \"/path\" }} instead"
    )]
    NoDirectory(String),
    /// No such file.
    #[error("there is no secret at {}: write it there, readable only by the service's user", .0.display())]
    Missing(PathBuf),
    /// Others may read it.
    #[error("the secret {} can be read by others (mode {mode:03o}): run chmod 600 {}", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a regular file.
    #[error("the secret {} is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// Nothing in it.
    #[error("the secret {} is empty: write the secret into it, on one line", .0.display())]
    Empty(PathBuf),
    /// Too much in it.
    #[error("the secret {} is larger than {MAX_SECRET} bytes: check that it is the right file", .0.display())]
    TooLarge(PathBuf),
    /// Not a text of one line.
    #[error("the secret {} must be one line of printable text", .0.display())]
    NotText(PathBuf),
    /// The system says no.
    #[error("the secret {} can't be read: {error}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// A secret in an environment variable: for development only, since others on the machine can read it.
pub fn from_environment(name: &str) -> Option<Secret<String>> {
    #[expect(clippy::disallowed_methods, reason = "config is the room that reads the environment")]
    let value = std::env::var(name).ok();
    value.map(Secret::new)
}

impl SecretRef {
    /// Reads the secret now. A newline at its end is no part of it.
    pub fn read(&self) -> Result<Secret<String>, SecretFault> {
        #[expect(clippy::disallowed_methods, reason = "config is the room that reads the environment")]
        let directory = std::env::var("CREDENTIALS_DIRECTORY").ok().map(PathBuf::from);
        self.read_with(directory.as_deref())
    }

    /// The same, with the directory of systemd's credentials given.
    pub fn read_with(&self, credentials: Option<&Path>) -> Result<Secret<String>, SecretFault> {
        match self {
            // systemd shares them by access lists, which show as group bits; their directory is the guard.
            Self::Credential(name) => match credentials {
                Some(directory) => read_line(&directory.join(name), false),
                None => Err(SecretFault::NoDirectory(name.clone())),
            },
            Self::File(path) => read_line(path, true),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(formatter, "credential {name}"),
            Self::File(path) => write!(formatter, "file {}", path.display()),
        }
    }
}

impl FromValue for SecretRef {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        let DeValue::Table(entries) = value else {
            // Whatever it is, it may be the secret itself.
            source.hide(at);
            source.fault(at, "a secret must not stand in this file", HOW);
            return None;
        };
        let mut table = Table::inline(source, entries, at);
        let credential: Option<String> = table.optional("credential");
        let file: Option<PathBuf> = table.optional("file");
        match (credential, file) {
            (Some(name), None) if is_credential_name(&name) => Some(Self::Credential(name)),
            (Some(name), None) => {
                source.fault(
                    at,
                    format!("“{name}” is no name of a credential"),
                    "use letters, digits and - _ . as in LoadCredential",
                );
                None
            }
            (None, Some(path)) => Some(Self::File(path)),
            _ => {
                source.fault(at, "a secret is in one place", HOW);
                None
            }
        }
    }
}

fn is_credential_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(plain)
}

fn read_line(path: &Path, owner_only: bool) -> Result<Secret<String>, SecretFault> {
    let system = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => SecretFault::Missing(path.into()),
        _ => SecretFault::System { path: path.into(), error },
    };
    if !std::fs::metadata(path).map_err(system)?.is_file() {
        return Err(SecretFault::NotAFile(path.into()));
    }
    let file = File::open(path).map_err(system)?;
    // Asked of the open file, so that nobody can swap it between look and read.
    let metadata = file.metadata().map_err(system)?;
    let mode = metadata.mode() & 0o777;
    if !metadata.is_file() {
        return Err(SecretFault::NotAFile(path.into()));
    }
    if owner_only && mode & 0o077 != 0 {
        return Err(SecretFault::Open { path: path.into(), mode });
    }
    // Room for all of it at once: growing would leave copies of the secret behind in memory.
    let mut bytes = Vec::with_capacity(MAX_SECRET + 2);
    file.take(MAX_SECRET as u64 + 1).read_to_end(&mut bytes).map_err(system)?;
    if bytes.len() > MAX_SECRET {
        bytes.zeroize();
        return Err(SecretFault::TooLarge(path.into()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        error.into_bytes().zeroize();
        SecretFault::NotText(path.into())
    })?;
    let mut text = text;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.ends_with('\r') {
        text.pop();
    }
    let secret = Secret::new(text);
    if secret.expose().is_empty() {
        return Err(SecretFault::Empty(path.into()));
    }
    if secret.expose().chars().any(char::is_control) {
        return Err(SecretFault::NotText(path.into()));
    }
    Ok(secret)
}

/// No secret of one line is longer.
const MAX_SECRET: usize = 16 << 10;
const HOW: &str = "write { credential = \"name\" } for a systemd credential, or { file = \"/path\" } for a file with mode 600";
