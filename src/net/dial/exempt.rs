//! Which hosts are reached without the proxy: the entries of `no-proxy`.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::Target;

/// One entry, by the rules that most programs share:
///
/// - `*`: every host;
/// - `corp.example`: that host and every host below it; `.corp.example` or `*.corp.example`: only those below it;
/// - `10.1.2.3`, `[2001:db8::1]`: that address; `10.0.0.0/8`: that network. Only addresses that stand in the target are
///   compared: no name is looked up for it, since behind a proxy this machine may know none;
/// - each but `*` and a network with `:port` behind it: for that port only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exempt {
    what: What,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    All,
    /// The name in lower case, and whether that host itself is meant too.
    Name(String, bool),
    Network(IpNet),
}

/// A text that is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is no host, address or network")]
pub struct ExemptFault(String);

impl Exempt {
    /// Whether the target is reached without the proxy.
    pub fn covers(&self, target: &Target) -> bool {
        if self.port.is_some_and(|port| port != target.port) {
            return false;
        }
        let host = target.host.trim_end_matches('.').to_ascii_lowercase();
        match &self.what {
            What::All => true,
            What::Network(network) => {
                host.parse::<IpAddr>().is_ok_and(|address| network.contains(&address.to_canonical()))
            }
            What::Name(name, itself) => match host.strip_suffix(name.as_str()) {
                Some("") => *itself,
                Some(below) => below.ends_with('.'),
                None => false,
            },
        }
    }
}

impl FromStr for Exempt {
    type Err = ExemptFault;

    fn from_str(text: &str) -> Result<Self, ExemptFault> {
        let fault = || ExemptFault(text.chars().filter(|letter| !letter.is_control()).take(100).collect());
        let trimmed = text.trim();
        if trimmed == "*" {
            return Ok(Self { what: What::All, port: None });
        }
        if let Ok(network) = trimmed.parse::<IpNet>() {
            return Ok(Self { what: What::Network(network.trunc()), port: None });
        }
        // An IPv6 address without brackets has no port.
        if let Ok(address) = trimmed.parse::<IpAddr>() {
            return Ok(Self { what: What::Network(address.to_canonical().into()), port: None });
        }
        let (host, port) = match trimmed.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(fault)?))
            }
            _ => (trimmed, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self { what: What::Network(address.to_canonical().into()), port });
        }
        let (name, itself) = match host.strip_prefix("*.").or_else(|| host.strip_prefix('.')) {
            Some(name) => (name, false),
            None => (host, true),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if name.len() > 253 || !name.split('.').all(label) {
            return Err(fault());
        }
        Ok(Self { what: What::Name(name, itself), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_rules() {
        let covers = |entry: &str, host: &str, port: u16| {
            let target = Target { host: host.to_owned(), port };
            entry.parse::<Exempt>().unwrap().covers(&target)
        };
        for (entry, host, port, expected) in [
            ("*", "anything.example", 443, true),
            ("relay.internal", "relay.internal", 443, true),
            ("relay.internal", "a.relay.internal", 443, true),
            ("relay.internal", "otherrelay.internal", 443, false),
            ("Relay.Internal.", "relay.INTERNAL", 443, true),
            ("relay.internal", "relay.internal.", 443, true),
            (".corp.example", "corp.example", 443, false),
            (".corp.example", "a.b.corp.example", 443, true),
            ("*.corp.example", "a.corp.example", 443, true),
            ("*.corp.example", "acorp.example", 443, false),
            ("relay.internal:8443", "relay.internal", 8443, true),
            ("relay.internal:8443", "relay.internal", 443, false),
            ("10.0.0.0/8", "10.255.1.2", 443, true),
            ("10.0.0.0/8", "11.0.0.1", 443, false),
            ("10.1.2.3/8", "10.9.9.9", 443, true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", 443, true),
            ("10.0.0.0/8", "ten.example", 443, false),
            ("127.0.0.1", "127.0.0.1", 443, true),
            ("127.0.0.1:80", "127.0.0.1", 443, false),
            ("2001:db8::1", "2001:db8::1", 443, true),
            ("[2001:db8::1]:443", "2001:db8::1", 443, true),
            ("[2001:db8::1]", "2001:db8::2", 443, false),
            ("2001:db8::/32", "2001:db8:1::9", 443, true),
            ("example", "10.0.0.1", 443, false),
        ] {
            assert_eq!(covers(entry, host, port), expected, "{entry} {host}:{port}");
        }
        for bad in ["", " ", ".", "a b", "http://x", "x:0", "x:99999", "a..b", "10.0.0.0/99", "x/y", "*x"] {
            assert!(bad.parse::<Exempt>().is_err(), "{bad}");
        }
    }
}
