//! The proxy on the way out: the keys `proxy…` and `no-proxy` of `[relay]`.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use toml::de::DeValue;

use crate::common::report::{Exit, Report};
use crate::common::secret::Secret;
use crate::config::diagnose::{Located, Source, Span};
use crate::config::table::Table;
use crate::config::value::{FromValue, parse_text};
use crate::config::values::{HttpBase, SecretRef, from_environment};
use crate::net::dial::{Credentials, Exempt, Proxy as Ready, Scheme, Target};
use crate::net::tls::{Peer, client_config};

/// What the file says of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `proxy`.
    pub place: Place,
    /// `proxy-login`.
    pub login: Scheme,
    /// `proxy-kdc`: who gives tickets for it, for Negotiate.
    pub kdc: Option<Kdc>,
    /// `proxy-credentials`.
    pub credentials: Option<SecretRef>,
    /// `no-proxy`.
    pub exempt: Vec<Exempt>,
}

/// Where the proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `"http://proxy.corp.example:3128"`, or https.
    At(HttpBase),
    /// `"environment"`: where `HTTPS_PROXY` says, if anywhere.
    Environment,
}

/// A Kerberos key distribution centre, as `host` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kdc(pub Target);

crate::read_as_text!(Exempt, Kdc);

pub(super) fn proxy(table: &mut Table<'_>) -> Option<Proxy> {
    let source = table.source();
    let place: Option<Located<Place>> = table.optional("proxy");
    let login: Option<Located<Scheme>> = table.optional("proxy-login");
    let kdc: Option<Located<Kdc>> = table.optional("proxy-kdc");
    let credentials: Option<Located<SecretRef>> = table.optional("proxy-credentials");
    let exempt: Option<Located<Vec<Exempt>>> = table.optional("no-proxy");
    let Some(place) = place else {
        if !table.has("proxy") {
            let orphans = [
                credentials.map(|credentials| ("credentials for a proxy", credentials.at)),
                login.map(|login| ("a login at a proxy", login.at)),
                kdc.map(|kdc| ("a KDC for a login at a proxy", kdc.at)),
                exempt.map(|exempt| ("hosts to reach without a proxy", exempt.at)),
            ];
            for (what, at) in orphans.into_iter().flatten() {
                source.fault(at, format!("there are {what}, but no proxy"), "add proxy, or remove this");
            }
        }
        return None;
    };
    if let (Some(login), None) = (&login, &credentials)
        && place.value != Place::Environment
    {
        let help = "add proxy-credentials with user and password, or remove this";
        source.fault(login.at, "there is a login at the proxy, but nothing to log in with", help);
    }
    let scheme = login.as_ref().map_or(Scheme::Basic, |login| login.value);
    if let (None, "Negotiate", Some(login)) = (&kdc, scheme.as_str(), &login) {
        let help = "add proxy-kdc = \"kdc.corp.example:88\"";
        source.fault(login.at, "a login by Negotiate needs to know who gives the tickets", help);
    }
    Some(Proxy {
        place: place.value,
        login: scheme,
        kdc: kdc.map(|kdc| kdc.value),
        credentials: credentials.map(|credentials| credentials.value),
        exempt: exempt.map(|exempt| exempt.value).unwrap_or_default(),
    })
}

/// A text that is no KDC.
#[derive(Debug, thiserror::Error)]
#[error("“{0}” is no KDC: write its host, or host:port")]
pub struct KdcFault(String);

impl FromStr for Kdc {
    type Err = KdcFault;

    fn from_str(text: &str) -> Result<Self, KdcFault> {
        // As a URL's host and port are read, with Kerberos' port where none is written.
        let fault = || KdcFault(text.chars().filter(|letter| !letter.is_control()).take(100).collect());
        let base = format!("http://{text}").parse::<HttpBase>().map_err(|_| fault())?;
        let HttpBase { host, port, path, .. } = base;
        let written = text.ends_with(&format!(":{port}"));
        let port = if written { port } else { 88 };
        if path.is_empty() { Ok(Self(Target { host, port })) } else { Err(fault()) }
    }
}

impl FromValue for Place {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        if value.as_str() == Some("environment") {
            return Some(Self::Environment);
        }
        let base: HttpBase = parse_text(value, at, source)?;
        if !base.path.is_empty() {
            source.fault(at, "a proxy has no path", "write http://HOST:PORT or https://HOST:PORT");
        }
        Some(Self::At(base))
    }
}

impl FromValue for Scheme {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        match value.as_str() {
            Some("basic") => Some(Self::Basic),
            Some("ntlm") => Some(Self::Ntlm),
            #[cfg(feature = "proxy-login")]
            Some("negotiate") => Some(Self::Negotiate),
            #[cfg(not(feature = "proxy-login"))]
            Some("negotiate") => {
                let help = "use \"ntlm\" where the proxy takes it, or a build with the feature proxy-login";
                source.fault(at, "this build of the agent can't log in by Negotiate", help);
                None
            }
            _ => {
                let help = "write \"basic\", \"ntlm\" or \"negotiate\"";
                source.fault(at, "this is no login at a proxy", help);
                None
            }
        }
    }
}

impl Proxy {
    /// The proxy as connections go through it, with secrets and authorities read. None where the environment names
    /// none.
    pub fn ready(&self, ca_file: Option<&Path>) -> Result<Option<Ready>, Report> {
        self.ready_with(ca_file, from_environment)
    }

    fn ready_with(
        &self,
        ca_file: Option<&Path>,
        variable: impl Fn(&str) -> Option<Secret<String>>,
    ) -> Result<Option<Ready>, Report> {
        let mut exempt = self.exempt.clone();
        let (base, mut pair) = match &self.place {
            Place::At(base) => (base.clone(), None),
            Place::Environment => {
                exempt.extend(exempt_in(&variable));
                match set_in(&variable) {
                    Some((name, value)) => from_url(name, value.expose())?,
                    None => return Ok(None),
                }
            }
        };
        if let Some(credentials) = &self.credentials {
            let read = credentials.read().map_err(|fault| {
                Report::from_error(Exit::Config, &fault)
                    .with_remedy("It is named by proxy-credentials in [relay] and must hold user:password.")
            });
            pair = Some(read?);
        }
        let tls = base.is_tls().then(|| client_config(Peer::Upstream, ca_file)).transpose();
        let tls = tls.map_err(|fault| Report::from_error(Exit::Config, &fault))?;
        Ok(Some(Ready {
            tls: tls.map(|config: Arc<_>| config),
            login: pair.map(|pair| self.login(pair)),
            exempt,
            ..Ready::new(Target { host: base.host, port: base.port })
        }))
    }

    #[cfg(feature = "proxy-login")]
    fn login(&self, pair: Secret<String>) -> Credentials {
        match (self.login, &self.kdc) {
            (Scheme::Negotiate, Some(Kdc(kdc))) => Credentials::kerberos(pair, kdc.clone()),
            (scheme, _) => Credentials::new(scheme, pair),
        }
    }

    #[cfg(not(feature = "proxy-login"))]
    fn login(&self, pair: Secret<String>) -> Credentials {
        Credentials::new(self.login, pair)
    }

    /// The variable of the environment that names a proxy, if any does: for those who wonder why it does not count.
    pub fn in_environment() -> Option<&'static str> {
        set_in(&from_environment).map(|(name, _)| name)
    }
}

/// In the order in which curl looks.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

fn set_in(variable: &impl Fn(&str) -> Option<Secret<String>>) -> Option<(&'static str, Secret<String>)> {
    let set =
        |name| variable(name).filter(|value| !value.expose().trim().is_empty()).map(|value| (name, value));
    VARIABLES.into_iter().find_map(set)
}

/// Other programs pass over what they can't read here, and so does this one.
fn exempt_in(variable: &impl Fn(&str) -> Option<Secret<String>>) -> Vec<Exempt> {
    let Some(list) = variable("no_proxy").or_else(|| variable("NO_PROXY")) else { return Vec::new() };
    let entries = list.expose().split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
    let read = |entry: &str| match entry.parse() {
        Ok(exempt) => Some(exempt),
        Err(fault) => {
            tracing::warn!(%fault, "an entry of NO_PROXY is passed over");
            None
        }
    };
    entries.filter_map(read).collect()
}

/// A URL of the environment, where credentials may stand in it, and the scheme may not.
fn from_url(name: &str, url: &str) -> Result<(HttpBase, Option<Secret<String>>), Report> {
    let url = url.trim();
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (pair, rest) = match rest.rsplit_once('@') {
        Some((pair, rest)) => (Some(pair), rest),
        None => (None, rest),
    };
    let base = format!("{scheme}://{}", rest.trim_end_matches('/')).parse::<HttpBase>();
    // The value may hold a password: it is not shown.
    let base = base.ok().filter(|base| base.path.is_empty()).ok_or_else(|| {
        Report::new(Exit::Config, format!("the environment variable {name} names no HTTP proxy")).with_remedy(
            "Write http://HOST:PORT into it, or name the proxy in [relay] instead of \"environment\".",
        )
    })?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = pair.map(|pair| match pair.split_once(':') {
        Some((user, password)) => Secret::new(format!("{}:{}", decode(user), decode(password))),
        None => Secret::new(format!("{}:", decode(pair))),
    });
    Ok((base, pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(proxy: &Proxy, environment: &[(&str, &str)]) -> Result<Option<Ready>, Report> {
        proxy.ready_with(None, |name| {
            let set = environment.iter().find(|(key, _)| *key == name);
            set.map(|(_, value)| Secret::new((*value).to_owned()))
        })
    }

    #[test]
    fn the_environment_counts_only_where_the_file_says_so() {
        let at =
            |place| Proxy { place, login: Scheme::Basic, kdc: None, credentials: None, exempt: Vec::new() };
        let environment = [("HTTPS_PROXY", "http://other:1"), ("NO_PROXY", "*")];
        let file = at(Place::At("http://proxy.example:3128".parse().unwrap()));
        let proxy = ready(&file, &environment).unwrap().unwrap();
        assert_eq!((proxy.address.to_string().as_str(), proxy.exempt.len()), ("proxy.example:3128", 0));

        let by_environment = at(Place::Environment);
        assert!(ready(&by_environment, &[]).unwrap().is_none());
        assert!(ready(&by_environment, &[("https_proxy", "  ")]).unwrap().is_none());
        for (value, address, login) in [
            ("http://p.example:8080", "p.example:8080", false),
            ("p.example:8080/", "p.example:8080", false),
            ("http://u%40x:p%3aw@[2001:db8::1]:8080", "[2001:db8::1]:8080", true),
            ("http://u@p.example", "p.example:80", true),
        ] {
            let set = [
                ("https_proxy", value),
                ("HTTPS_PROXY", "http://other:1"),
                ("no_proxy", "a.example, .b,10.0.0.0/8 !"),
            ];
            let proxy = ready(&by_environment, &set).unwrap().unwrap();
            assert_eq!(
                (proxy.address.to_string().as_str(), proxy.login.is_some()),
                (address, login),
                "{value}"
            );
            assert_eq!(proxy.exempt.len(), 3, "and what can't be read is passed over");
        }
        for bad in ["socks5://p:1080", "http://user:hunter2@p:port", "http://p:1/path", "http://"] {
            let report = ready(&by_environment, &[("ALL_PROXY", bad)]).unwrap_err().to_string();
            assert!(report.contains("ALL_PROXY") && !report.contains("hunter2"), "{report}");
        }
    }
}
