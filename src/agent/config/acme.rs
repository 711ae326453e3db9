//! `[pass-through.acme]`: from whom certificates come.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::Uri;

use super::egress::way;
use crate::agent::acme::{Config, ExternalAccount, OrderedName};
use crate::config::diagnose::Located;
use crate::config::table::Table;
use crate::config::values::{ListenAddress, SecretRef};

/// The table; `names` are those of `[pass-through]`, and `[relay]` may have a proxy.
pub(super) fn acme(mut table: Table<'_>, names: Vec<OrderedName>, has_proxy: bool) -> Option<Config> {
    let source = table.source();
    let directory: Option<Located<String>> =
        table.required("directory", "\"https://acme-v02.api.letsencrypt.org/directory\"");
    let agreed: Option<Located<bool>> = table.required("terms-of-service-agreed", "true");
    let contact: Option<Located<Vec<String>>> = table.optional("contact");
    let external = table.optional_table("external-account").map(external_account);
    let ca_file: Option<PathBuf> = table.optional("ca-file");
    let egress = way(&mut table, "egress", has_proxy);
    let identity: Option<Located<String>> = table.optional("caa-identity");
    let resolver: Option<SocketAddr> = table.optional::<ListenAddress>("resolver").map(|address| address.0);
    if let Some(Located { value, at }) = &directory
        && !is_https(value)
    {
        let help = "write the https URL of the authority's ACME directory";
        source.fault(*at, "this is no directory", help);
    }
    if let Some(Located { value: false, at }) = agreed {
        let help = "read the authority's terms of service; if you agree, write true";
        source.fault(at, "without agreement to its terms an authority makes no account", help);
    }
    if let Some(Located { value, at }) = &contact {
        for address in value.iter().filter(|address| !is_mailto(address)) {
            source.fault(*at, format!("“{address}” is no contact"), "write \"mailto:pki@example.com\"");
        }
        if value.len() > MAX_CONTACTS {
            source.fault(*at, "these are too many contacts", format!("write {MAX_CONTACTS} at most"));
        }
    }
    if let Some(Located { value, at }) = &identity
        && !is_host(value)
    {
        let help = "write the authority's name in CAA records, such as \"letsencrypt.org\"";
        source.fault(*at, format!("“{value}” is no such name"), help);
    }
    if names.is_empty() {
        let help = "name them in customer-names or operator-names under [pass-through]";
        source.fault(table.at(), "there are no names to order certificates for", help);
    }
    let external_account = match external {
        Some(read) => Some(read?),
        None => None,
    };
    Some(Config {
        directory: directory?.value,
        contact: contact.map(|contact| contact.value).unwrap_or_default(),
        external_account,
        ca_file,
        egress,
        caa_identity: identity.map(|identity| identity.value),
        resolver,
        names,
    })
}

fn external_account(mut table: Table<'_>) -> Option<ExternalAccount> {
    let source = table.source();
    let key_id: Option<Located<String>> = table.required("key-id", "\"as the authority gave it\"");
    let hmac_key: Option<SecretRef> = table.required("hmac-key", "{ file = \"/etc/outhaul/acme-hmac\" }");
    if let Some(Located { value, at }) = &key_id
        && (value.is_empty() || value.len() > 500 || value.chars().any(char::is_control))
    {
        source.fault(*at, "this can't be a key id", "write it as the authority gave it");
    }
    Some(ExternalAccount { key_id: key_id?.value, hmac_key: hmac_key? })
}

fn is_https(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        uri.scheme_str() == Some("https")
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.host().is_some_and(|host| !host.is_empty())
    })
}

fn is_mailto(text: &str) -> bool {
    text.strip_prefix("mailto:").is_some_and(|address| {
        address.len() < 300
            && address.bytes().all(|byte| byte.is_ascii_graphic() && !b",?<>\"".contains(&byte))
            && address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && is_host(host))
    })
}

fn is_host(text: &str) -> bool {
    text.contains('.')
        && text.len() <= 253
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

/// Authorities take some only.
const MAX_CONTACTS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "[relay]\nurl = \"wss://r\"\n[upstream.jira]\nurl = \"http://j\"\n[pass-through]\n\
        customer-names = [\"jira.example.com\"]\noperator-names = [\"acme.direct.example\"]\n";

    fn parse(head: &str, keys: &str) -> Result<Config, String> {
        use crate::agent::config::Config as File;
        let text = format!("{head}[pass-through.acme]\n{keys}");
        let file = File::parse("x", &text).map_err(|report| report.to_string())?;
        assert!(file.pass_through.is_some_and(|pass_through| pass_through.files.is_none()));
        file.acme.ok_or_else(String::new)
    }

    #[test]
    fn the_table_is_read_and_its_faults_are_told() {
        let good = "directory = \"https://ca.example/dir\"\nterms-of-service-agreed = true\n";
        let config = parse(HEAD, good).unwrap();
        let names: Vec<(&str, bool)> =
            config.names.iter().map(|ordered| (ordered.name.as_str(), ordered.customer)).collect();
        assert_eq!(names, [("acme.direct.example", false), ("jira.example.com", true)]);
        assert_eq!((config.egress, config.contact.len(), config.external_account), (None, 0, None));
        let external = "external-account = { key-id = \"k\", hmac-key = { file = \"/x\" } }";
        assert!(parse(HEAD, &format!("{good}{external}")).unwrap().external_account.is_some());

        let files = HEAD.to_owned() + "certificate = \"/x\"\nprivate-key = \"/y\"\n";
        for (head, keys, told) in [
            (HEAD, "", "lacks directory"),
            (HEAD, "directory = \"https://ca.example/dir\"\n", "lacks terms-of-service-agreed"),
            (HEAD, "terms-of-service-agreed = false\n", "without agreement"),
            (HEAD, "directory = \"http://ca.example/dir\"\n", "this is no directory"),
            (HEAD, "contact = [\"pki@example.com\"]\n", "is no contact"),
            (HEAD, "caa-identity = \"a b\"\n", "is no such name"),
            (HEAD, "egress = \"proxy\"\n", "[relay] names none"),
            (HEAD, "egress = \"carrier-pigeon\"\n", "is no way out"),
            (
                HEAD,
                "external-account = { key-id = \"k\", hmac-key = \"secret\" }\n",
                "must not stand in this file",
            ),
            (files.as_str(), good, "from files or by ACME"),
        ] {
            let faults = parse(head, keys).unwrap_err();
            assert!(faults.contains(told), "{told} in {faults}");
        }
    }

    #[test]
    fn what_a_directory_and_a_contact_are() {
        for good in ["https://acme-v02.api.letsencrypt.org/directory", "https://127.0.0.1:14000/dir"] {
            assert!(is_https(good), "{good}");
        }
        for bad in
            ["http://ca.example/dir", "ca.example", "https://", "https://user@ca.example/", "ftp://a.b"]
        {
            assert!(!is_https(bad), "{bad}");
        }
        assert!(is_mailto("mailto:pki@example.com"));
        for bad in
            ["pki@example.com", "mailto:", "mailto:a@b", "mailto:a@b.c,d@e.f", "mailto:a@b.c?subject=x"]
        {
            assert!(!is_mailto(bad), "{bad}");
        }
    }
}
