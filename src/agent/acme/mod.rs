//! Certificates by ACME (RFC 8555) for the names under which TLS ends at this agent.
//!
//! [`Acme`] keeps them: account and keys in the store, orders by `renewal`, which is pure. Whose a name is, is proved by
//! tls-alpn-01 (RFC 8737) through the tunnel itself: whoever ends TLS for pass-through shows what [`Shown`] has. Each
//! name has a certificate and a key of its own; the key stays at renewal.

mod by_hand;
pub mod caa;
mod certificate;
mod config;
mod fault;
mod http;
mod keeper;
mod load;
mod order;
mod renewal;
mod report;
mod shown;
mod state;

pub use by_hand::AskedFault;
pub use config::{Config, ExternalAccount, OrderedName, hmac_key};
pub use fault::Fault;
pub use keeper::Acme;
pub use report::{CertificateLine, CertificatesReport, Failure};
pub use shown::Shown;
