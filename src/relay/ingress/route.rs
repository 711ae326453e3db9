//! Which site a request is for: by host `{site}.{zone}`, or by path `/s/{site}/…`. Pure.

use std::fmt;
use std::str::FromStr;

use crate::common::host_name::is_label;
use crate::common::problem::{Code, Problem};
use crate::relay::registry::{NamedSite, PassThroughNames};

/// The domain below which sites have their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(String);

/// A text that is no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no domain for sites: write one in lower case without a port, as in \"relay.example.com\"")]
pub struct ZoneFault(String);

impl FromStr for Zone {
    type Err = ZoneFault;
    fn from_str(text: &str) -> Result<Self, ZoneFault> {
        // Room for a site's name before it (RFC 1035, section 2.3.4: 253 characters in all).
        let address = text.parse::<std::net::IpAddr>().is_ok();
        if text.len() <= 189 && !address && text.split('.').all(is_label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ZoneFault(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

crate::read_as_text!(Zone);

/// What the relay is called.
#[derive(Debug, Clone)]
pub struct Names {
    /// The zone; its apex serves the path form.
    pub zone: Zone,
    /// The host of the public URL; it serves the path form too.
    pub public: String,
    /// Names whose TLS is not ended here.
    pub direct: PassThroughNames,
}

/// Whom a request's authority names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// The relay itself.
    Relay,
    /// A site, in host form.
    Site(&'a str),
    /// Neither.
    Foreign,
}

/// For which site a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route<'a> {
    /// The site as written; it may not exist.
    pub site: &'a str,
    /// How many bytes of the target only led here.
    pub route_length: u16,
    /// The first path segment behind that: the upstream, unless the site knows better.
    pub upstream: Option<&'a str>,
}

impl Names {
    /// Whom a host names; it is in lower case, without port and trailing dot ([`crate::net::http_server::checks::host_of`]).
    pub fn host<'a>(&self, host: &'a str) -> Host<'a> {
        if host == self.zone.0 || host == self.public {
            return Host::Relay;
        }
        match host.strip_suffix(self.zone.0.as_str()).and_then(|rest| rest.strip_suffix('.')) {
            Some(site) if !site.is_empty() && !site.contains('.') => Host::Site(site),
            _ => Host::Foreign,
        }
    }

    /// Where a connection goes whose ClientHello asks for this name, if it passes unopened.
    pub fn pass_through(&self, sni: &str) -> Option<NamedSite> {
        self.direct.find(sni)
    }

    /// The site a request is for.
    pub fn route<'a>(&self, host: &'a str, target: &'a str) -> Result<Route<'a>, Problem> {
        if self.direct.find(host).is_some() {
            // A connection for another name was used for it, because certificate and address seemed to fit (RFC 9110,
            // section 15.5.20).
            return Err(Problem::new(
                Code::Misdirected,
                format!(
                    "Calls to {} are not opened here: connect with that name in the TLS handshake (SNI).",
                    clean_host(host)
                ),
            ));
        }
        match self.host(host) {
            Host::Site(site) => Ok(Route { site, route_length: 0, upstream: first_segment(target) }),
            Host::Relay => self.by_path(target),
            Host::Foreign => Err(Problem::new(
                Code::Misdirected,
                format!(
                    "This relay serves sites as https://SITE.{zone}/ and https://{zone}/s/SITE/. Check the host \
                     name in the caller's base URL.",
                    zone = self.zone
                ),
            )),
        }
    }

    fn by_path<'a>(&self, target: &'a str) -> Result<Route<'a>, Problem> {
        let path = target.split('?').next().unwrap_or_default();
        let site = path.strip_prefix("/s/").map(|rest| rest.split('/').next().unwrap_or_default());
        let Some(site) = site.filter(|site| !site.is_empty() && site.len() <= 63) else {
            return Err(Problem::new(
                Code::NotFound,
                format!(
                    "This is a relay. Sites are at https://SITE.{zone}/ and https://{zone}/s/SITE/, followed by \
                     the application's name, as in /jira/.",
                    zone = self.zone
                ),
            ));
        };
        let length = "/s/".len() + site.len();
        let rest = target.get(length..).unwrap_or_default();
        if !rest.starts_with('/') {
            return Err(Problem::new(
                Code::NotFound,
                format!("Name an application of the site behind it, as in /s/{}/jira/.", clean(site)),
            ));
        }
        Ok(Route {
            site,
            // At most 3 + 63.
            route_length: u16::try_from(length).unwrap_or(u16::MAX),
            upstream: first_segment(rest),
        })
    }
}

fn first_segment(target: &str) -> Option<&str> {
    let path = target.split('?').next()?;
    path.strip_prefix('/')?.split('/').next().filter(|segment| !segment.is_empty())
}

fn clean_host(host: &str) -> String {
    host.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-.".contains(*letter)).take(253).collect()
}

/// A name of a stranger's, fit to be shown.
pub fn clean(name: &str) -> String {
    name.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter)).take(63).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> Names {
        let direct = PassThroughNames::new(Some("direct.relay.example.com".parse().unwrap()));
        direct.set("jira.acme.example".parse().unwrap(), "acme".parse().unwrap());
        Names { zone: "relay.example.com".parse().unwrap(), public: "in.example.net".to_owned(), direct }
    }

    #[test]
    fn zones_are_domains() {
        for good in ["localhost", "relay.example.com", "a-b.c1"] {
            assert!(good.parse::<Zone>().is_ok(), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "A.b", "a_b", "a:443", "127.0.0.1", "*.a", &"a.".repeat(100)] {
            assert!(bad.parse::<Zone>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_lead_to_sites() {
        for (host, expected) in [
            ("relay.example.com", Host::Relay),
            ("in.example.net", Host::Relay),
            ("acme.relay.example.com", Host::Site("acme")),
            ("a.b.relay.example.com", Host::Foreign),
            (".relay.example.com", Host::Foreign),
            ("acmerelay.example.com", Host::Foreign),
            ("example.com", Host::Foreign),
            ("127.0.0.1", Host::Foreign),
        ] {
            assert_eq!(names().host(host), expected, "{host}");
        }
    }

    #[test]
    fn both_forms_find_site_and_upstream() {
        let names = names();
        let route = names.route("acme.relay.example.com", "/jira/rest?x=/y").unwrap();
        assert_eq!(route, Route { site: "acme", route_length: 0, upstream: Some("jira") });
        let route = names.route("relay.example.com", "/s/acme/jira/rest?x").unwrap();
        assert_eq!(route, Route { site: "acme", route_length: 7, upstream: Some("jira") });
        let route = names.route("relay.example.com", "/s/acme/").unwrap();
        assert_eq!(route, Route { site: "acme", route_length: 7, upstream: None });
        for (host, target, code) in [
            ("relay.example.com", "/", Code::NotFound),
            ("relay.example.com", "/s/", Code::NotFound),
            ("relay.example.com", "/s//jira", Code::NotFound),
            ("relay.example.com", "/s/acme", Code::NotFound),
            ("relay.example.com", "/s/acme?x", Code::NotFound),
            ("relay.example.com", "*", Code::NotFound),
            ("other.example.org", "/s/acme/jira", Code::Misdirected),
            ("acme.direct.relay.example.com", "/jira/", Code::Misdirected),
            ("jira.acme.example", "/jira/", Code::Misdirected),
        ] {
            assert_eq!(names.route(host, target).unwrap_err().code, code, "{host}{target}");
        }
    }

    proptest! {
        #[test]
        fn no_target_makes_it_panic(host in "[ -~]{0,40}", target in "/?[ -~]{0,60}") {
            let names = names();
            if let Ok(route) = names.route("relay.example.com", &target) {
                prop_assert!(target[usize::from(route.route_length)..].starts_with('/'));
            }
            let _ = names.route(&host, &target);
        }
    }
}
