//! The certificate under the WebSocket: whose it is, told to people where something opens TLS on the way.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::identity::handshake::messages::OuterCertificate;

/// Reads what a server showed: its own certificate, the first.
pub(super) fn read(shown: Option<&[CertificateDer<'_>]>) -> Option<OuterCertificate> {
    let first = shown?.first()?;
    let (subject, issuer) = match X509Certificate::from_der(first) {
        Ok((_, certificate)) => (certificate.subject().to_string(), certificate.issuer().to_string()),
        // TLS took it, so this is not expected.
        Err(_) => ("unreadable".to_owned(), "unreadable".to_owned()),
    };
    let mut sha256 = String::with_capacity(64);
    for byte in digest(&SHA256, first).as_ref() {
        // Writing to a string can't fail.
        let _ = write!(sha256, "{byte:02x}");
    }
    let read = OuterCertificate { subject: or_nobody(subject), issuer: or_nobody(issuer), sha256 };
    Some(read.printable())
}

/// A certificate may leave its subject empty and name its hosts elsewhere.
fn or_nobody(name: String) -> String {
    if name.is_empty() { "(no name)".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    #[test]
    fn names_are_read_and_fit_to_be_shown() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["relay.example.com".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "relay\u{1b}[31m.example.com");
        let certificate = params.self_signed(&key).unwrap();
        let read = read(Some(&[certificate.der().clone()])).unwrap();
        assert!(read.subject.contains("CN=") && read.subject.contains(".example.com"), "{read:?}");
        assert!(!read.subject.contains('\u{1b}'), "{read:?}");
        assert_eq!(read.sha256.len(), 64);
    }

    #[test]
    fn rubbish_and_nothing_are_no_fault() {
        let rubbish = CertificateDer::from(vec![1, 2, 3]);
        assert_eq!(read(Some(&[rubbish])).unwrap().issuer, "unreadable");
        assert_eq!((read(None), read(Some(&[]))), (None, None));
    }
}
