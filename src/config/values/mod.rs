//! Values that a configuration file may hold: types that can't be wrong once read.

mod listen;
mod network;
mod secret;
mod url;

pub use listen::{ListenAddress, ListenFault};
pub use network::{Network, NetworkFault};
pub use secret::{SecretFault, SecretRef, from_environment};
pub use url::{HttpBase, HttpScheme, UrlFault, WssUrl};

#[cfg(test)]
mod tests;
