//! `[pass-through]`: names whose callers' TLS ends at this agent.

use std::collections::BTreeMap;

use crate::agent::pass_through::{Config, Files};
use crate::agent::policy::Channel;
use crate::common::host_name::HostName;
use crate::config::diagnose::Located;
use crate::config::table::Table;

/// The table, if the file has one. `relay` is the host that the agent connects to.
pub(super) fn pass_through(top: &mut Table<'_>, relay: Option<&str>) -> Option<Config> {
    let mut table = top.optional_table("pass-through")?;
    let source = table.source();
    let customer: Vec<Located<HostName>> = table.or("customer-names", Vec::new());
    let operator: Vec<Located<HostName>> = table.or("operator-names", Vec::new());
    let certificate = table.required("certificate", "\"/etc/outhaul/direct.pem\"");
    let private_key = table.required("private-key", "\"/etc/outhaul/direct.key\"");
    let mut names = BTreeMap::new();
    let levels = [(Channel::CustomerName, customer), (Channel::OperatorName, operator)];
    for (channel, Located { value, at }) in
        levels.into_iter().flat_map(|(channel, names)| names.into_iter().map(move |name| (channel, name)))
    {
        if channel == Channel::CustomerName && relay.is_some_and(|relay| value.is_within(relay)) {
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
    Some(Config { names, files: Files { certificate: certificate?, private_key: private_key? } })
}

/// What a certificate must hold; none is given as missing here that the certificate covers.
pub(super) fn uncovered<'n>(
    names: impl Iterator<Item = &'n HostName>,
    covered: &[String],
) -> Vec<&'n HostName> {
    names.filter(|name| !covered.iter().any(|pattern| name.is_covered_by(pattern))).collect()
}
