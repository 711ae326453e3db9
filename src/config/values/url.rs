//! The two kinds of URL that a configuration names: where an application is, and where a relay is.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use toml::de::DeValue;

use crate::config::diagnose::{Source, Span};
use crate::config::value::{FromValue, parse_text};

/// In the clear or over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpScheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// Where an application answers: `http://127.0.0.1:8080/jira`. No query, no credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpBase {
    /// The scheme.
    pub scheme: HttpScheme,
    /// A name in lower case, or an address; an IPv6 one without brackets.
    pub host: String,
    /// The port, from the scheme where none is written.
    pub port: u16,
    /// The context path without a slash at its end: empty, or `/jira`.
    pub path: String,
}

/// Where a relay takes agents: `wss://relay.example.com`, always over TLS, with nothing after the port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WssUrl {
    /// A name in lower case, or an address; an IPv6 one without brackets.
    pub host: String,
    /// The port, 443 where none is written.
    pub port: u16,
}

/// A text that is not the URL it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Another scheme or none.
    #[error("the URL must begin with {0}")]
    Scheme(&'static str),
    /// Credentials in it.
    #[error("a URL must hold no user name or password: remove what stands before the @")]
    Credentials,
    /// No host, or one that can't be.
    #[error("“{0}” is no host: write a name or an IP address, an IPv6 one in [brackets]")]
    Host(String),
    /// No port.
    #[error("“{0}” is no port: write a number from 1 to 65535")]
    Port(String),
    /// A query or fragment.
    #[error("the URL must end before the {0}")]
    Query(char),
    /// A path with more than one reading.
    #[error("the path “{0}” may hold only letters, digits and - . _ ~ between single slashes")]
    Path(String),
    /// A path where none may be.
    #[error("the URL must end after host and port: remove “{0}”")]
    NoPath(String),
}

impl HttpBase {
    /// Host and port as in a `Host` header: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port, self.scheme.port())
    }

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        self.scheme == HttpScheme::Https
    }
}

impl HttpScheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is written.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl WssUrl {
    /// Host and port as in a `Host` header.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port, 443)
    }
}

impl FromStr for HttpBase {
    type Err = UrlFault;
    fn from_str(text: &str) -> Result<Self, UrlFault> {
        let (scheme, rest) = if let Some(rest) = strip_scheme(text, "https://") {
            (HttpScheme::Https, rest)
        } else if let Some(rest) = strip_scheme(text, "http://") {
            (HttpScheme::Http, rest)
        } else {
            return Err(UrlFault::Scheme("http:// or https://"));
        };
        let (host, port, path) = split(rest)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let segment = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain);
        if !path.split('/').skip(1).all(segment) || path.len() > MAX_PATH {
            return Err(UrlFault::Path(shorten(path)));
        }
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.port()), path: path.to_owned() })
    }
}

impl FromStr for WssUrl {
    type Err = UrlFault;
    fn from_str(text: &str) -> Result<Self, UrlFault> {
        let rest = strip_scheme(text, "wss://").ok_or(UrlFault::Scheme("wss://"))?;
        let (host, port, path) = split(rest)?;
        if !path.is_empty() && path != "/" {
            return Err(UrlFault::NoPath(shorten(path)));
        }
        Ok(Self { host, port: port.unwrap_or(443) })
    }
}

impl fmt::Display for HttpBase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.scheme.as_str(), self.authority(), self.path)
    }
}

impl fmt::Display for WssUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "wss://{}", self.authority())
    }
}

impl FromValue for HttpBase {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        read(value, at, source)
    }
}

impl FromValue for WssUrl {
    fn from_value<'d>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<Self> {
        read(value, at, source)
    }
}

/// Like any text, but a URL with a password in it is not shown.
fn read<'d, T: FromStr<Err = UrlFault>>(value: DeValue<'d>, at: Span, source: &'d Source<'d>) -> Option<T> {
    if value.as_str().is_some_and(|text| text.contains('@')) {
        source.hide(at);
    }
    parse_text(value, at, source)
}

fn strip_scheme<'t>(text: &'t str, scheme: &str) -> Option<&'t str> {
    let head = text.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then(|| text.get(scheme.len()..)).flatten()
}

/// Host, port and path of what follows the scheme.
fn split(rest: &str) -> Result<(String, Option<u16>, &str), UrlFault> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err(UrlFault::Credentials);
    }
    if let Some(mark) = path.chars().find(|mark| matches!(mark, '?' | '#')) {
        return Err(UrlFault::Query(mark));
    }
    let no_host = || UrlFault::Host(shorten(authority));
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (inner, after) = rest.split_once(']').ok_or_else(no_host)?;
        let address: Ipv6Addr = inner.parse().map_err(|_| no_host())?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':').ok_or_else(no_host)?),
        };
        (address.to_string(), port)
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        if !is_host(host) {
            return Err(no_host());
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        None => None,
        Some(text) => {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<u16>().ok().filter(|number| digits && *number > 0);
            Some(number.ok_or_else(|| UrlFault::Port(shorten(text)))?)
        }
    };
    Ok((host, port, path))
}

/// An IPv4 address, or labels of letters, digits, `-` and the `_` that some internal names have.
fn is_host(host: &str) -> bool {
    let label = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !part.is_empty() && part.len() <= 63 && part.bytes().all(plain)
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    // What ends in a number is an address or nothing: "1.2.3" and "0x7f.1" mean different hosts to different parsers.
    if numeric { host.parse::<Ipv4Addr>().is_ok() } else { host.len() <= 253 && name.split('.').all(label) }
}

fn authority(host: &str, port: u16, default: u16) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == default { host } else { format!("{host}:{port}") }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

const MAX_PATH: usize = 512;
