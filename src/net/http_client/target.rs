//! What a URL says of the host to ask.

use std::net::IpAddr;

use http::Uri;
use http::uri::Scheme;

use super::AskFault;
use crate::net::dial::Target;

/// A URL, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// Where to connect.
    pub(super) target: Target,
    /// Whether TLS is spoken there.
    pub(super) tls: bool,
    /// For the `Host` field: the port only where it is not the scheme's own.
    pub(super) authority: String,
}

pub(super) fn read(uri: &Uri, loopback_http: bool) -> Result<Url, AskFault> {
    let fault = |why| {
        // Not the whole: a path or a query may hold what is nobody's business.
        let host = uri.host().unwrap_or_default();
        let url = format!("{}://{host}", uri.scheme_str().unwrap_or_default());
        AskFault::Url { url: url.chars().take(300).collect(), why }
    };
    let authority = uri.authority().ok_or_else(|| fault("write the whole URL, with https:// and a host"))?;
    if authority.as_str().contains('@') {
        return Err(fault("a URL must hold no user name or password"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if host.is_empty() {
        return Err(fault("it has no host"));
    }
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let (tls, usual) = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => (true, 443),
        Some(scheme) if *scheme == Scheme::HTTP && loopback && loopback_http => (false, 80),
        _ => return Err(fault("the URL must begin with https://")),
    };
    let given = authority.as_str().rsplit_once(':').map(|(_, port)| port).filter(|port| !port.contains(']'));
    let port = match given {
        None => usual,
        Some(_) => {
            authority.port_u16().filter(|port| *port > 0).ok_or_else(|| fault("its port is no port"))?
        }
    };
    let target = Target { host, port };
    let authority = if port == usual {
        let whole = target.to_string();
        whole.rsplit_once(':').map_or(whole.clone(), |(host, _)| host.to_owned())
    } else {
        target.to_string()
    };
    Ok(Url { target, tls, authority })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, host, port, tls, authority) in [
            ("https://login.example.com/a?b", "login.example.com", 443, true, "login.example.com"),
            ("HTTPS://Login.Example.COM:443", "login.example.com", 443, true, "login.example.com"),
            ("https://a.example:8443/", "a.example", 8443, true, "a.example:8443"),
            ("https://[2001:db8::1]/", "2001:db8::1", 443, true, "[2001:db8::1]"),
            ("https://[2001:db8::1]:444/", "2001:db8::1", 444, true, "[2001:db8::1]:444"),
            ("http://127.0.0.1:8080/", "127.0.0.1", 8080, false, "127.0.0.1:8080"),
            ("http://localhost/", "localhost", 80, false, "localhost"),
            ("http://[::1]:81/", "::1", 81, false, "[::1]:81"),
        ] {
            let target = Target { host: host.to_owned(), port };
            let wanted = Url { target, tls, authority: authority.to_owned() };
            assert_eq!(read(&url.parse().unwrap(), true).unwrap(), wanted, "{url}");
        }
    }

    #[test]
    fn what_can_not_be_asked_is_told() {
        for (url, says) in [
            ("/only/a/path", "write the whole URL"),
            ("http://login.example.com/", "must begin with https://"),
            ("http://127.0.0.1.example.com/", "must begin with https://"),
            ("ftp://localhost/", "must begin with https://"),
            ("https://me:hunter2@login.example.com/", "no user name or password"),
            ("https://login.example.com:0/", "its port is no port"),
            ("https://login.example.com:/", "its port is no port"),
            ("https://login.example.com:70000/", "its port is no port"),
        ] {
            let fault = read(&url.parse().unwrap(), true).unwrap_err().to_string();
            assert!(fault.contains(says) && !fault.contains("hunter2"), "{url}: {fault}");
        }
        assert!(read(&"http://127.0.0.1/".parse().unwrap(), false).is_err(), "only where it is allowed");
    }
}
