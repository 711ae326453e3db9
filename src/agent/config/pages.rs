//! `[pages]`: where people's browsers find this agent.

use std::path::PathBuf;

use super::oauth::is_loopback;
use crate::agent::links::{Config, Files};
use crate::config::diagnose::Located;
use crate::config::table::Table;
use crate::config::values::{HttpBase, ListenAddress};

/// The table, if the file has one.
pub(super) fn pages(top: &mut Table<'_>) -> Option<Config> {
    let mut table = top.optional_table("pages")?;
    let source = table.source();
    let listen: Option<Located<ListenAddress>> = table.required("listen", "\"10.0.0.5:8443\"");
    let url: Option<Located<HttpBase>> = table.required("url", "\"https://outhaul.corp.example:8443\"");
    let certificate: Option<Located<PathBuf>> = table.optional("certificate");
    let key: Option<Located<PathBuf>> = table.optional("private-key");
    let accept_relay_trust = table.or("accept-relay-trust", false);
    if let Some(Located { value, at }) = &url {
        if !value.path.is_empty() {
            let help = format!("write {}://{}", value.scheme.as_str(), value.authority());
            source.fault(*at, "the pages have a host of their own, and no path", help);
        }
        if !value.is_tls() && !is_loopback(&value.host) {
            let help = "write https://…; http is for development on one machine only";
            source.fault(*at, "tokens and cookies would pass the network in the clear", help);
        }
    }
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            if let Some(url) = &url
                && !url.value.is_tls()
            {
                source.fault(url.at, "there is a certificate, but the address is http", "write https://…");
            }
            Some(Files { certificate: certificate.value, key: key.value })
        }
        (Some(one), None) | (None, Some(one)) => {
            source.fault(
                one.at,
                "certificate and private-key go together",
                "write both, as paths of PEM files",
            );
            None
        }
        (None, None) => {
            if let Some(Located { value, at }) = &listen
                && !value.0.ip().is_loopback()
            {
                let help =
                    "add certificate and private-key; without them only a loopback address is listened at";
                source.fault(*at, "browsers would be answered in the clear over the network", help);
            }
            None
        }
    };
    Some(Config { listen: listen?.value.0, url: url?.value, tls, accept_relay_trust })
}
