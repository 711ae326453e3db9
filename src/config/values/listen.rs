//! Where to listen.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// An address and port of this machine, as in `127.0.0.1:9180` or `[::]:443`; port 0 lets the system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenAddress(pub SocketAddr);

/// A text that is no address to listen at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "“{0}” is no address to listen at: write an IP address and a port, as in \"127.0.0.1:9180\", or \"[::]:443\" for all"
)]
pub struct ListenFault(String);

impl FromStr for ListenAddress {
    type Err = ListenFault;
    fn from_str(text: &str) -> Result<Self, ListenFault> {
        text.parse().map(Self).map_err(|_| ListenFault(text.chars().take(80).collect()))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

crate::read_as_text!(ListenAddress);
