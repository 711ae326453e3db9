//! What `[pass-through.acme]` says.

use std::net::SocketAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::fault::Fault;
use crate::agent::egress::Way;
use crate::common::secret::Secret;
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
    /// How the authority is reached, where not as `[egress]` says.
    pub egress: Option<Way>,
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

/// The HMAC key of a binding, decoded. Some authorities write it in plain base64.
pub fn hmac_key(external: &ExternalAccount) -> Result<Secret<Vec<u8>>, Fault> {
    let place = &external.hmac_key;
    let secret = place.read().map_err(|fault| Fault::Local(fault.to_string()))?;
    let text = Zeroizing::new(secret.expose().trim_end_matches('=').replace('+', "-").replace('/', "_"));
    let key = BASE64_URL_SAFE_NO_PAD.decode(text.as_bytes());
    key.map(Secret::new).map_err(|_| {
        Fault::Local(format!(
            "the HMAC key in {place} is no base64url: write it there as the authority gave it"
        ))
    })
}

/// A name to order a certificate for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedName {
    /// In lower case, without a dot at its end.
    pub name: String,
    /// It is the customer's own; else a name of the operator's.
    pub customer: bool,
}
