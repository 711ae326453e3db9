//! `[service.NAME]`.

use std::collections::BTreeMap;

use super::{meant, named, oauth, only};
use crate::agent::credentials::fetched::ClientCredentials;
use crate::agent::credentials::tokens::TOKEN_PATH;
use crate::agent::credentials::{Config, Proof};
use crate::agent::mapping::OAuthConfig;
use crate::common::ids::{ServiceName, UpstreamName};
use crate::config::diagnose::Located;
use crate::config::table::Table;

/// What the tables hold.
#[derive(Default)]
pub(super) struct Services {
    /// Of all, also of those with faults, so that rules that name them have none.
    pub(super) names: Vec<ServiceName>,
    /// With a secret that is sent as it is.
    pub(super) plain: Vec<Config>,
    /// With a token that is fetched.
    pub(super) fetched: Vec<ClientCredentials>,
}

/// What they may refer to.
pub(super) struct Known<'a> {
    pub(super) upstreams: &'a [UpstreamName],
    pub(super) links: &'a BTreeMap<UpstreamName, OAuthConfig>,
}

pub(super) fn services(top: &mut Table<'_>, known: &Known<'_>) -> Services {
    let mut services = Services::default();
    for (name, mut table) in named::<ServiceName>(top, "service") {
        services.names.push(name.clone());
        service(name, &mut table, known, &mut services);
    }
    services
}

fn service(
    name: ServiceName,
    table: &mut Table<'_>,
    known: &Known<'_>,
    services: &mut Services,
) -> Option<()> {
    let source = table.source();
    let user: Option<Located<String>> = table.required("user", "\"the account's user name\"");
    let one = "write one of pat, basic-password and client-credentials";
    let secrets = ["pat", "basic-password", "client-credentials"].map(|key| table.has(key));
    let had = secrets.into_iter().filter(|had| *had).count();
    if had > 1 {
        source.fault(
            table.at(),
            format!("service “{name}” has {} secrets", if had == 2 { "two" } else { "three" }),
            one,
        );
    } else if had == 0 {
        source.fault(table.at(), format!("service “{name}” has no secret"), one);
    }
    let pat = table.optional("pat").map(Proof::Pat);
    let password = table.optional("basic-password").map(Proof::Password);
    let proof = pat.or(password);
    let client = table.optional_table("client-credentials");
    if let Some(Located { value, at }) = &user
        && (value.is_empty() || value.contains(':') || value.chars().any(char::is_control))
    {
        let help = "write the account's user name as the application shows it";
        source.fault(*at, "this can't be a user name", help);
    }
    let user = user.map(|user| user.value);
    if let Some(mut client) = client {
        let make = client_credentials(&mut client, known);
        services.fetched.push(make?(name, user?));
    } else {
        services.plain.push(Config { name, user: user?, proof: proof? });
    }
    Some(())
}

/// All but whose they are.
fn client_credentials(
    table: &mut Table<'_>,
    known: &Known<'_>,
) -> Option<impl FnOnce(ServiceName, String) -> ClientCredentials + use<>> {
    let source = table.source();
    let client_id: Option<Located<String>> =
        table.required("client-id", "\"as Jira shows it for the service account\"");
    let client_secret = table.required("client-secret", "{ file = \"/etc/outhaul/jira-service-secret\" }");
    let scope = oauth::read_scope(table, "scope");
    let upstream = match table.optional::<Located<UpstreamName>>("upstream") {
        Some(Located { value, at }) if !known.upstreams.contains(&value) => {
            let names = known.upstreams.iter().map(UpstreamName::as_str);
            let help = meant(value.as_str(), names, "upstream");
            source.fault(at, format!("there is no application “{value}”"), help);
            None
        }
        Some(Located { value, .. }) => Some(value),
        None => {
            let only = only(known.upstreams).cloned();
            if only.is_none() && known.upstreams.len() > 1 {
                table.missing("upstream", "\"jira\"");
            }
            only
        }
    };
    let (upstream, client_id) = (upstream?, client_id?);
    if !oauth::is_visible(&client_id.value) {
        source.fault(client_id.at, "this can't be a client id", "write it as Jira shows it");
    }
    let token_path =
        known.links.get(&upstream).map_or(TOKEN_PATH, |link| link.token_path.as_str()).to_owned();
    let (client_id, client_secret) = (client_id.value, client_secret?);
    Some(move |name, user| ClientCredentials {
        name,
        user,
        upstream,
        client_id,
        client_secret,
        scope,
        token_path,
    })
}
