//! A chain and its key that come from memory instead of files.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::provider;
use crate::common::secret::Secret;

/// A chain in PEM, the server's own certificate first, and its key (PKCS #8 in DER). They must belong together.
pub fn certified_chain(pem: &str, key: &Secret<Vec<u8>>) -> Result<CertifiedKey, String> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificate is damaged PEM: {error}"))?;
    let certified = certified(chain, key)?;
    certified.keys_match().map_err(|error| format!("the key is not the certificate's: {error}"))?;
    Ok(certified)
}

/// One certificate, which is not looked into: it may have critical extensions that only a special client understands.
pub fn certified_as_it_is(
    certificate: CertificateDer<'static>,
    key: &Secret<Vec<u8>>,
) -> Result<CertifiedKey, String> {
    certified(vec![certificate], key)
}

fn certified(chain: Vec<CertificateDer<'static>>, key: &Secret<Vec<u8>>) -> Result<CertifiedKey, String> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose().clone()));
    let signer = provider().key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    Ok(CertifiedKey::new(chain, signer))
}
