//! What the file names but can't prove: secrets, certificates, folders.

use std::path::Path;

use serde::Serialize;

use super::Config;
use super::pass_through::uncovered;
use crate::agent::acme;
use crate::agent::credentials::stored::{SecretPlace, StoredSecrets};
use crate::agent::egress::Settings;
use crate::agent::links;
use crate::agent::pass_through::{self, Files};
use crate::agent::store::StoreKeyFault;
use crate::config::file::read_text;
use crate::net::tls::{Certificates, about};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is: `service reader`, `upstream jira: ca-file`.
    pub subject: String,
    /// What is wrong with it and what to do; nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What is not wrong and may not be meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Config {
    /// Looks at everything the file names on this machine; opens no connection and changes nothing.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut found = |subject: String, result: Result<(), String>| {
            findings.push(Finding { subject, fault: result.err(), hint: None });
        };
        found("state folder".to_owned(), folder(&self.state));
        found("store key".to_owned(), store_key(self));
        if let Some(place) = self.relay.proxy.as_ref().and_then(|proxy| proxy.credentials.as_ref()) {
            let read = place.read().map_err(|fault| fault.to_string()).and_then(|secret| {
                let pair = secret.expose().split_once(':').is_some_and(|(user, _)| !user.is_empty());
                pair.then_some(()).ok_or_else(|| format!("{place} must hold user:password on one line"))
            });
            found("proxy credentials".to_owned(), read);
        }
        if let Some(path) = &self.relay.ca_file {
            found("relay ca-file".to_owned(), certificates(path));
        }
        found(egress(self), self.egress.ca_file.as_deref().map_or(Ok(()), certificates));
        if let Some(links::Files { certificate, key }) =
            self.pages.as_ref().and_then(|pages| pages.tls.as_ref())
        {
            let read = Certificates::load(certificate, key).map(|_| ()).map_err(|fault| fault.to_string());
            found("pages certificate".to_owned(), read);
        }
        if let Some(pass_through) = &self.pass_through
            && let Some(Files { certificate, private_key }) = &pass_through.files
        {
            let read = Certificates::load(certificate, private_key).map_err(|fault| fault.to_string());
            let read = read.and_then(|read| covers(pass_through, &read));
            found("pass-through certificate".to_owned(), read);
        }
        if let Some(acme) = &self.acme {
            if let Some(path) = &acme.ca_file {
                found("pass-through acme ca-file".to_owned(), certificates(path));
            }
            if let Some(external) = &acme.external_account {
                let read = acme::hmac_key(external).map(|_| ()).map_err(|fault| fault.to_string());
                found("pass-through acme external-account".to_owned(), read);
            }
        }
        for upstream in &self.upstreams {
            if let Some(path) = &upstream.ca_file {
                found(format!("upstream {} ca-file", upstream.name), certificates(path));
            }
        }
        for issuer in &self.issuers {
            if let Some(path) = &issuer.ca_file {
                found(format!("issuer {} ca-file", issuer.name), certificates(path));
            }
        }
        for (name, link) in &self.oauth {
            let read = link.client_secret.read().map(|_| ()).map_err(|fault| fault.to_string());
            found(format!("upstream {name} oauth client-secret"), read);
        }
        for service in &self.client_credentials {
            let read = service.client_secret.read().map(|_| ()).map_err(|fault| fault.to_string());
            found(format!("service {} client-secret", service.name), read);
        }
        for service in &self.services {
            if *service.proof.place() == SecretPlace::Stored {
                // The running agent holds the store.
                let name = &service.name;
                found(format!("service {name} (in the store: see `outhaul-agent credential list`)"), Ok(()));
                continue;
            }
            let read = service.read(&StoredSecrets::default()).map(|_| ()).map_err(|fault| fault.to_string());
            found(format!("service {}", service.name), read);
        }
        let hint = |hint| Finding { subject: "policy".to_owned(), fault: None, hint: Some(hint) };
        findings.extend(self.hints().into_iter().map(hint));
        findings
    }
}

/// Which hosts the agent may reach, and how: for a person who asks what leaves this machine.
fn egress(config: &Config) -> String {
    let Settings { way, allow, .. } = &config.egress;
    let hosts: Vec<String> = allow.iter().map(ToString::to_string).collect();
    let to = if hosts.is_empty() { "hosts that other tables name".to_owned() } else { hosts.join(", ") };
    format!("egress ({}, to {to})", way.as_str())
}

/// Each name must be in the certificate, else its callers refuse it.
fn covers(config: &pass_through::Config, certificates: &Certificates) -> Result<(), String> {
    let about = about(&certificates.current()).ok_or("the certificate can't be read")?;
    let missing: Vec<String> =
        uncovered(config.names.keys(), &about.names).into_iter().map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the certificate is not for {}: have one issued that names it, or take the name out",
        missing.join(", ")
    ))
}

fn folder(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(format!("{shown} is no folder: name a folder of the service's user")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(format!(
            "{shown} is not there: systemd makes it on the first start, or make it with mkdir -m 700 {shown}"
        )),
        Err(error) => Err(format!("{shown} can't be looked at: {error}")),
    }
}

/// A key that is still to be made with a new store is no fault.
fn store_key(config: &Config) -> Result<(), String> {
    let Err(fault) = config.store.key.read(&config.state) else { return Ok(()) };
    let will_be_made = config.store.key.file().is_some() && !config.state.join("store.keys").exists();
    match fault {
        StoreKeyFault::None { .. } if will_be_made => Ok(()),
        fault => Err(fault.to_string()),
    }
}

fn certificates(path: &Path) -> Result<(), String> {
    let text = read_text(path, "file of certificates", 1 << 20).map_err(|report| report.to_string())?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(())
    } else {
        Err(format!("{} holds no certificate in PEM: it must have BEGIN CERTIFICATE lines", path.display()))
    }
}
