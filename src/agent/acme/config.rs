//! What `[pass-through.acme]` says.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::values::SecretRef;

/// From whom certificates come, and for which names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The authority: the URL of its directory (RFC 8555 section 7.1.1).
    pub directory: String,
    /// Whom the authority may write to: `mailto:` addresses.
    pub contact: Vec<String>,
    /// The account of another kind that the ACME account is bound to.
    pub external_account: Option<ExternalAccount>,
    /// Further authorities to trust for the directory's own certificate.
    pub ca_file: Option<PathBuf>,
    /// What the authority calls itself in CAA records, where its directory does not say.
    pub caa_identity: Option<String>,
    /// Whom `doctor` asks for CAA records; the system's resolver where absent.
    pub resolver: Option<SocketAddr>,
    /// The names, each of which gets a certificate of its own.
    pub names: Vec<OrderedName>,
}

/// An external account binding (RFC 8555 section 7.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAccount {
    /// What the authority calls that account.
    pub key_id: String,
    /// Where its HMAC key lies: in base64url, as the authority gives it.
    pub hmac_key: SecretRef,
}

/// A name to order a certificate for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedName {
    /// In lower case, without a dot at its end.
    pub name: String,
    /// It is the customer's own; else a name of the operator's.
    pub customer: bool,
}
