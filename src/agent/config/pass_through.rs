//! `[pass-through]`: names whose callers' TLS ends at this agent.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Relay;
use crate::agent::acme;
use crate::agent::pass_through::{Config, Files};
use crate::agent::policy::Channel;
use crate::common::host_name::HostName;
use crate::config::diagnose::Located;
use crate::config::table::Table;

/// The table, if the file has one, and `[pass-through.acme]` in it. `relay` says where the agent connects to.
pub(super) fn pass_through(
    top: &mut Table<'_>,
    relay: Option<&Relay>,
) -> Option<(Config, Option<acme::Config>)> {
    let mut table = top.optional_table("pass-through")?;
    let source = table.source();
    let customer: Vec<Located<HostName>> = table.or("customer-names", Vec::new());
    let operator: Vec<Located<HostName>> = table.or("operator-names", Vec::new());
    let connections = table.integer("connections", 1..=100_000, 1024);
    let by_acme = table.optional_table("acme");
    let files = if by_acme.is_some() {
        for key in ["certificate", "private-key"] {
            if let Some(Located { at, .. }) = table.optional::<Located<PathBuf>>(key) {
                let help = "remove certificate and private-key, or the table [pass-through.acme]";
                source.fault(at, "certificates come from files or by ACME", help);
            }
        }
        None
    } else {
        let certificate = table.required("certificate", "\"/etc/outhaul/direct.pem\"");
        let private_key = table.required("private-key", "\"/etc/outhaul/direct.key\"");
        Some((certificate, private_key))
    };
    let mut names = BTreeMap::new();
    let levels = [(Channel::CustomerName, customer), (Channel::OperatorName, operator)];
    for (channel, Located { value, at }) in
        levels.into_iter().flat_map(|(channel, names)| names.into_iter().map(move |name| (channel, name)))
    {
        let host = relay.map(|relay| relay.url.host.as_str());
        let is_relays = host.is_some_and(|host| host.contains('.') && value.is_within(host));
        if channel == Channel::CustomerName && is_relays {
            // The operator can have certificates for it, so a call there proves less than a customer's name does.
            source.fault(
                at,
                format!("“{value}” is a name of the relay's operator"),
                "put it under operator-names",
            );
        }
        if names.insert(value.clone(), channel).is_some() {
            source.fault(at, format!("“{value}” stands here twice"), "name it once");
        }
    }
    if names.is_empty() {
        source.fault(
            table.at(),
            "no name is given",
            "add customer-names = [\"jira.example.com\"], or operator-names with the name that the relay's operator gave you",
        );
    }
    let ordered = names.iter().map(|(name, channel)| acme::OrderedName {
        name: name.to_string(),
        customer: *channel == Channel::CustomerName,
    });
    let acme = match by_acme {
        Some(table) => Some(super::acme::acme(
            table,
            ordered.collect(),
            relay.is_some_and(|relay| relay.proxy.is_some()),
        )?),
        None => None,
    };
    let files = match files {
        Some((certificate, private_key)) => {
            Some(Files { certificate: certificate?, private_key: private_key? })
        }
        None => None,
    };
    Some((Config { names, files, connections: u32::try_from(connections).unwrap_or(u32::MAX) }, acme))
}

/// What a certificate must hold; none is given as missing here that the certificate covers.
pub(super) fn uncovered<'n>(
    names: impl Iterator<Item = &'n HostName>,
    covered: &[String],
) -> Vec<&'n HostName> {
    names.filter(|name| !covered.iter().any(|pattern| name.is_covered_by(pattern))).collect()
}
