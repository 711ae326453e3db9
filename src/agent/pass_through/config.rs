//! What `[pass-through]` says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::agent::policy::Channel;
use crate::common::host_name::HostName;

/// The names whose callers' TLS ends at this agent, and what proves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Each name, and how far a connection for it is trusted. Only this file says so, never the relay.
    pub names: BTreeMap<HostName, Channel>,
    /// The certificate, where it does not come by ACME.
    pub files: Option<Files>,
    /// Connections at once.
    pub connections: u32,
}

/// PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The chain.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
}
