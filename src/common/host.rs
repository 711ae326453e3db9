//! Hosts that may be reached: names and ports as lists name them, and as streams ask for them.
//!
//! One reading for both ends. A name is in its canonical form once it is read, so that a list and what is held against
//! it can't mean two hosts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A host: a whole name in lower case without a dot at its end, or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name of letters, digits and `-`; a name in other letters stands in its `xn--` form (RFC 5890).
    Name(String),
    /// An address; one of IPv4 within IPv6 (`::ffff:…`) is read as that of IPv4.
    Address(IpAddr),
}

/// A host and a port: `login.example.com:443`, `192.0.2.1:443`, `[2001:db8::1]:443`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// The port, not 0.
    pub port: u16,
}

/// An entry of a list: a host and a port, or `*.example.com:443` for every name below `example.com`, at any depth, but not
/// `example.com` itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern {
    below: bool,
    at: HostPort,
}

/// A text that is no host with a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// No port, or one that can't be.
    #[error("“{0}” needs a port from 1 to 65535 behind its host, as in \"login.example.com:443\"")]
    Port(String),
    /// Not a name that DNS can hold, or an address in a form that not everybody reads alike.
    #[error(
        "“{0}” is no host: write a whole name of letters, digits and -, without a dot at its end (a name in other \
         letters in its xn-- form), or an IP address, an IPv6 one in [brackets]"
    )]
    Name(String),
    /// A star where none may be.
    #[error(
        "“{0}” is no pattern: a * stands alone before a name with a dot in it, as in \"*.example.com:443\""
    )]
    Star(String),
}

impl HostPort {
    /// From a host, an IPv6 address without brackets, and a port.
    pub fn new(host: &str, port: u16) -> Result<Self, HostFault> {
        if port == 0 {
            return Err(HostFault::Port(shorten(host)));
        }
        let host = read_host(host).ok_or_else(|| HostFault::Name(shorten(host)))?;
        Ok(Self { host, port })
    }
}

impl HostPort {
    /// The host and port of an `https://` URL; `None` if it has none, or another scheme.
    pub fn of_url(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok().filter(|uri: &http::Uri| uri.scheme_str() == Some("https"))?;
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        Self::new(host, uri.port_u16().unwrap_or(443)).ok()
    }
}

impl HostPattern {
    /// Whether the entry lets this host be reached.
    pub fn matches(&self, target: &HostPort) -> bool {
        if self.at.port != target.port {
            return false;
        }
        match (&self.at.host, &target.host) {
            (Host::Name(base), Host::Name(name)) if self.below => {
                name.strip_suffix(base.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (one, other) => one == other,
        }
    }
}

impl From<HostPort> for HostPattern {
    fn from(at: HostPort) -> Self {
        Self { below: false, at }
    }
}

impl FromStr for HostPort {
    type Err = HostFault;
    fn from_str(text: &str) -> Result<Self, HostFault> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| HostFault::Port(shorten(text)))?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|number| digits && *number > 0 && !port.starts_with('0'));
        let port = port.ok_or_else(|| HostFault::Port(shorten(text)))?;
        let name = || HostFault::Name(shorten(text));
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let inner = rest.strip_suffix(']').ok_or_else(name)?;
                address(inner.parse::<Ipv6Addr>().map_err(|_| name())?.into())
            }
            None if host.contains(':') => return Err(name()),
            None => read_host(host).ok_or_else(name)?,
        };
        Ok(Self { host, port })
    }
}

impl FromStr for HostPattern {
    type Err = HostFault;
    fn from_str(text: &str) -> Result<Self, HostFault> {
        let Some(rest) = text.strip_prefix("*.") else {
            if text.contains('*') {
                return Err(HostFault::Star(shorten(text)));
            }
            return text.parse().map(|at: HostPort| at.into());
        };
        if rest.contains('*') {
            return Err(HostFault::Star(shorten(text)));
        }
        let star = |fault| match fault {
            HostFault::Port(_) => HostFault::Port(shorten(text)),
            _ => HostFault::Star(shorten(text)),
        };
        let at: HostPort = rest.parse().map_err(star)?;
        match &at.host {
            // A whole top-level domain is nobody's own.
            Host::Name(name) if name.contains('.') || name == LOCALHOST => Ok(Self { below: true, at }),
            _ => Err(HostFault::Star(shorten(text))),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(formatter, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.below {
            formatter.write_str("*.")?;
        }
        self.at.fmt(formatter)
    }
}

impl Host {
    /// Whether it is this machine's own name for itself, which DNS is not asked for (RFC 6761, section 6.3).
    pub fn is_localhost(&self) -> bool {
        matches!(self, Self::Name(name) if is_localhost(name))
    }
}

fn read_host(text: &str) -> Option<Host> {
    if let Ok(given) = text.parse::<IpAddr>() {
        return Some(address(given));
    }
    let name = text.to_ascii_lowercase();
    let labels = || name.split('.');
    // A name of one label means what a search list makes of it; what ends in a number is an address to some readers
    // ("127.1", "0x7f.1").
    let whole = name.contains('.') || is_localhost(&name);
    let numeric = labels()
        .next_back()
        .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x"));
    (name.len() <= 253 && whole && !numeric && labels().all(is_label)).then_some(Host::Name(name))
}

/// Letters, digits and hyphens, none of these at an end (RFC 1123, section 2.1); two hyphens in the third place mark
/// an encoded name, of which only `xn--` exists (RFC 5891, section 4.2.3.1).
fn is_label(label: &str) -> bool {
    let encoded = label.get(2..4) == Some("--");
    super::host_name::is_label(label) && (!encoded || (label.starts_with("xn--") && label.len() > 4))
}

fn is_localhost(name: &str) -> bool {
    name == LOCALHOST || name.strip_suffix(LOCALHOST).is_some_and(|rest| rest.ends_with('.'))
}

fn address(given: IpAddr) -> Host {
    Host::Address(match given {
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(given, |inner: Ipv4Addr| inner.into()),
        IpAddr::V4(_) => given,
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

const LOCALHOST: &str = "localhost";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_read_into_one_form() {
        for (text, shown) in [
            ("login.example.com:443", "login.example.com:443"),
            ("LOGIN.Example.COM:443", "login.example.com:443"),
            ("xn--bcher-kva.example:8443", "xn--bcher-kva.example:8443"),
            ("192.0.2.1:443", "192.0.2.1:443"),
            ("[2001:DB8:0::1]:443", "[2001:db8::1]:443"),
            ("[::ffff:192.0.2.1]:443", "192.0.2.1:443"),
            ("localhost:1", "localhost:1"),
            ("idp.localhost:65535", "idp.localhost:65535"),
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let long = format!("{}.example.com:443", "a".repeat(64));
        let longer = format!("{}com:443", "abcdefg.".repeat(32));
        for text in [
            "",
            ":443",
            "login.example.com",
            "login.example.com:",
            "login.example.com:0",
            "a.example:65536",
            "a.example:+443",
            "a.example:0443",
            "a.example: 443",
            "a.example.:443",
            "a..example:443",
            ".example:443",
            "-a.example:443",
            "a-.example:443",
            "a_b.example:443",
            "bücher.example:443",
            "ab--c.example:443",
            "xn--.example:443",
            "metadata:443",
            "127.1:443",
            "0x7f.1:443",
            "2130706433:443",
            "1.2.3.04:443",
            "1.2.3:443",
            "a.0x10:443",
            "::1:443",
            "[::1:443",
            "[127.0.0.1]:443",
            "[fe80::1%1]:443",
            "a b.example:443",
            "a.example/:443",
            "me@a.example:443",
            "a.example%2e:443",
            "*.example.com:443",
            "a\0.example:443",
            "a.example:443\n",
            "a。example:443",
            &long,
            &longer,
        ] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_names_its_host() {
        let of = |url: &str| HostPort::of_url(url).map(|host| host.to_string());
        assert_eq!(of("https://CA.example/dir").as_deref(), Some("ca.example:443"));
        assert_eq!(of("https://[2001:db8::1]:14000/dir").as_deref(), Some("[2001:db8::1]:14000"));
        for none in
            ["http://ca.example/", "ca.example:443", "/dir", "https://ca_1.example/", "https://ca.example:0/"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn entries_match_what_they_say() {
        let matches = |pattern: &str, target: &str| {
            pattern.parse::<HostPattern>().unwrap().matches(&target.parse().unwrap())
        };
        for (pattern, target) in [
            ("login.example.com:443", "LOGIN.example.com:443"),
            ("*.example.com:443", "a.example.com:443"),
            ("*.example.com:443", "a.b.example.com:443"),
            ("192.0.2.1:443", "[::ffff:192.0.2.1]:443"),
            ("*.localhost:8443", "idp.localhost:8443"),
        ] {
            assert!(matches(pattern, target), "{pattern} {target}");
        }
        for (pattern, target) in [
            ("login.example.com:443", "login.example.com:8443"),
            ("login.example.com:443", "a.login.example.com:443"),
            ("*.example.com:443", "example.com:443"),
            ("*.example.com:443", "badexample.com:443"),
            ("*.example.com:443", "a.example.com.evil.example:443"),
            ("*.example.com:443", "a.example.com:80"),
            ("192.0.2.1:443", "192.0.2.10:443"),
        ] {
            assert!(!matches(pattern, target), "{pattern} {target}");
        }
        for bad in [
            "*:443",
            "*.com:443",
            "*.192.0.2.1:443",
            "a.*.example.com:443",
            "*.*.example.com:443",
            "*a.example:1",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
        assert_eq!("*.Example.com:443".parse::<HostPattern>().unwrap().to_string(), "*.example.com:443");
    }

    proptest! {
        #[test]
        fn whatever_is_read_reads_again_as_the_same(text in "[a-zA-Z0-9.:\\[\\]*_-]{0,40}") {
            if let Ok(read) = text.parse::<HostPort>() {
                prop_assert_eq!(read.to_string().parse::<HostPort>().unwrap(), read);
            }
            if let Ok(read) = text.parse::<HostPattern>() {
                prop_assert_eq!(read.to_string().parse::<HostPattern>().unwrap(), read);
            }
        }
    }
}
