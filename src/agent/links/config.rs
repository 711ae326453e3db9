//! `[pages]`: where people's browsers find this agent.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::values::HttpBase;

/// What the table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `listen`.
    pub listen: SocketAddr,
    /// `url`: what browsers of the site's people call it; without a path.
    pub url: HttpBase,
    /// `certificate` and `private-key`, PEM. Absent only where it listens on a loopback address.
    pub tls: Option<Files>,
    /// `accept-relay-trust`: callers whose word only the relay vouches for may link accounts.
    pub accept_relay_trust: bool,
}

/// The server's certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Config {
    /// Where an application sends browsers back to. Registered there letter by letter.
    pub fn callback(&self) -> String {
        format!("{}{CALLBACK}", self.url)
    }
}

/// The path of the OAuth redirection endpoint.
pub const CALLBACK: &str = "/link/callback";
