//! An authority of the benchmark's own, one certificate, used by nginx and the relay alike, and one for names that pass
//! the relay unopened.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{Outcome, words};

/// Where to.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    folder: PathBuf,
    /// The relay's zone.
    zone: String,
}

pub(crate) fn write(arguments: &Arguments) -> Outcome<()> {
    let Arguments { folder, zone } = arguments;
    let mut params = CertificateParams::new(Vec::new()).map_err(words)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, "Outhaul benchmark authority");
    let key = KeyPair::generate().map_err(words)?;
    put(&folder.join("ca.pem"), &params.self_signed(&key).map_err(words)?.pem())?;
    let issuer = Issuer::new(params, key);
    let names = [zone.clone(), format!("*.{zone}"), "localhost".to_owned(), "127.0.0.1".to_owned()];
    issue(folder, &issuer, "relay", &names)?;
    issue(folder, &issuer, "direct", &[format!("*.direct.{zone}")])
}

fn issue(folder: &Path, issuer: &Issuer<'_, KeyPair>, name: &str, names: &[String]) -> Outcome<()> {
    let mut leaf = CertificateParams::new(names.to_vec()).map_err(words)?;
    leaf.distinguished_name.push(DnType::CommonName, "Outhaul benchmark");
    let key = KeyPair::generate().map_err(words)?;
    put(&folder.join(format!("{name}.pem")), &leaf.signed_by(&key, issuer).map_err(words)?.pem())?;
    put(&folder.join(format!("{name}.key")), &key.serialize_pem())
}

fn put(path: &Path, text: &str) -> Outcome<()> {
    std::fs::write(path, text).map_err(|fault| format!("{}: {fault}", path.display()))
}
