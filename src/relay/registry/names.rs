//! Names whose TLS passes the relay unopened, and whose site each is. Asked for each connection, so all of it is in
//! memory.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::common::host_name::HostName;
use crate::common::ids::SiteName;

/// Whose name it is; what each holds against is in `docs/pass-through.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameLevel {
    /// `{site}.{zone}` in a zone of the operator's.
    Operator,
    /// A name of the customer's own.
    Customer,
}

/// Where a connection for a name goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSite {
    /// The site; one in the operator's zone may not exist.
    pub site: String,
    /// Whose name it is.
    pub level: NameLevel,
}

/// The names; cheap to clone, and clones are the same names.
#[derive(Debug, Clone, Default)]
pub struct PassThroughNames(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    zone: Option<HostName>,
    customers: ArcSwap<HashMap<HostName, SiteName>>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl PassThroughNames {
    /// With the operator's zone, if there is one.
    pub fn new(zone: Option<HostName>) -> Self {
        Self(Arc::new(Inner { zone, ..Inner::default() }))
    }

    /// The operator's zone.
    pub fn zone(&self) -> Option<&HostName> {
        self.0.zone.as_ref()
    }

    /// Whether there is no name at all: then no connection needs a look.
    pub fn is_empty(&self) -> bool {
        self.0.zone.is_none() && self.0.customers.load().is_empty()
    }

    /// The site of a name, whatever its case.
    pub fn find(&self, name: &str) -> Option<NamedSite> {
        let name = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        };
        let name = name.strip_suffix('.').unwrap_or(&name);
        if let Some(site) = self.0.customers.load().get(name) {
            return Some(NamedSite { site: site.to_string(), level: NameLevel::Customer });
        }
        let site = name.strip_suffix(self.0.zone.as_ref()?.as_str())?.strip_suffix('.')?;
        let is_label = !site.is_empty() && !site.contains('.');
        is_label.then(|| NamedSite { site: site.to_owned(), level: NameLevel::Operator })
    }

    /// A site's name in the operator's zone.
    pub fn operator_name(&self, site: &SiteName) -> Option<HostName> {
        self.0.zone.as_ref().and_then(|zone| format!("{site}.{zone}").parse().ok())
    }

    /// The first name of a certificate that covers a name which passes: with it the relay could answer itself.
    pub fn covered_by<'c>(&self, certificate: &'c [String]) -> Option<&'c str> {
        let customers = self.0.customers.load();
        let covers = |pattern: &&String| {
            let lower = pattern.to_ascii_lowercase();
            let below = |zone: &HostName| {
                lower.strip_suffix(zone.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            };
            self.0.zone.as_ref().is_some_and(below) || customers.keys().any(|name| name.is_covered_by(&lower))
        };
        certificate.iter().find(covers).map(String::as_str)
    }

    /// A customer's name is this site's from the next connection on.
    pub fn set(&self, name: HostName, site: SiteName) {
        self.change(|names| {
            names.insert(name, site);
        });
    }

    /// A customer's name is nobody's from the next connection on.
    pub fn remove(&self, name: &HostName) {
        self.change(|names| {
            names.remove(name);
        });
    }

    /// The same for all names of a site.
    pub fn remove_site(&self, site: &SiteName) {
        self.change(|names| names.retain(|_, of| of != site));
    }

    /// The customers' names, each with its site.
    pub fn customers(&self) -> Arc<HashMap<HostName, SiteName>> {
        self.0.customers.load_full()
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<HostName, SiteName>)) {
        let _one = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = HashMap::clone(&self.0.customers.load());
        change(&mut names);
        self.0.customers.store(Arc::new(names));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_sites_by_zone_or_one_by_one() {
        let names = PassThroughNames::new(Some("direct.relay.example.com".parse().unwrap()));
        assert!(!names.is_empty());
        let acme: SiteName = "acme".parse().unwrap();
        names.set("jira.acme.example".parse().unwrap(), acme.clone());
        let found = |name: &str| names.find(name).map(|found| (found.site, found.level));
        let operator = |site: &str| Some((site.to_owned(), NameLevel::Operator));
        let customer = Some(("acme".to_owned(), NameLevel::Customer));
        for (name, expected) in [
            ("acme.direct.relay.example.com", operator("acme")),
            ("ACME.Direct.relay.example.com.", operator("acme")),
            ("other.direct.relay.example.com", operator("other")),
            ("a.b.direct.relay.example.com", None),
            ("direct.relay.example.com", None),
            (".direct.relay.example.com", None),
            ("acmedirect.relay.example.com", None),
            ("acme.relay.example.com", None),
            ("jira.acme.example", customer.clone()),
            ("JIRA.acme.example", customer.clone()),
            ("x.jira.acme.example", None),
            ("", None),
        ] {
            assert_eq!(found(name), expected, "{name}");
        }
        assert_eq!(names.operator_name(&acme).unwrap().as_str(), "acme.direct.relay.example.com");
        names.remove(&"jira.acme.example".parse().unwrap());
        assert_eq!(found("jira.acme.example"), None);
    }

    #[test]
    fn a_certificate_that_would_do_for_a_passed_name_is_found() {
        let names = PassThroughNames::new(Some("direct.relay.example.com".parse().unwrap()));
        names.set("jira.acme.example".parse().unwrap(), "acme".parse().unwrap());
        for (name, covers) in [
            ("*.direct.relay.example.com", true),
            ("*.DIRECT.relay.example.com", true),
            ("acme.direct.relay.example.com", true),
            ("jira.acme.example", true),
            ("*.acme.example", true),
            // These cover no name in the zone.
            ("relay.example.com", false),
            ("*.relay.example.com", false),
            ("direct.relay.example.com", false),
            ("acme.example", false),
        ] {
            let certificate = ["relay.example.com".to_owned(), name.to_owned()];
            assert_eq!(names.covered_by(&certificate), covers.then_some(name), "{name}");
        }
    }

    #[test]
    fn without_zone_and_names_there_is_nothing_to_look_for() {
        let names = PassThroughNames::default();
        assert!(names.is_empty());
        let acme: SiteName = "acme".parse().unwrap();
        names.set("jira.acme.example".parse().unwrap(), acme.clone());
        names.set("wiki.acme.example".parse().unwrap(), acme.clone());
        assert!(!names.is_empty());
        names.remove_site(&acme);
        assert!(names.is_empty() && names.find("wiki.acme.example").is_none());
    }
}
