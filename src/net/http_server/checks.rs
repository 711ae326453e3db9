//! What a request's head must not say, before anything is decided about it. Pure.

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, Uri, header};

use super::headers::asks_for_upgrade;
use crate::common::problem::{Code, Problem};

/// Methods and protocols that never pass.
pub fn method(parts: &Parts) -> Result<(), Problem> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(Problem::new(
            Code::MethodRefused,
            "CONNECT and TRACE are never passed: calls are brought to applications, and this is no proxy.",
        ));
    }
    if asks_for_upgrade(&parts.headers) {
        return Err(Problem::new(
            Code::UpgradeRefused,
            "WebSockets and other upgrades do not pass. Use plain requests; poll where the \
             application would push.",
        ));
    }
    Ok(())
}

/// The library reads the chunks off whatever else is named before them, and the field goes no further: the body would
/// arrive with a coding that nobody names (RFC 9112, section 6.1).
pub fn coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    Err(Problem::new(
        Code::BadRequest,
        "The only Transfer-Encoding that passes is `chunked`, said once. Name other codings in Content-Encoding.",
    ))
}

/// The declared length, against the limit.
pub fn length(
    headers: &HeaderMap,
    limit: u64,
    too_large: impl FnOnce(u64) -> Problem,
) -> Result<(), Problem> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    let length = crate::common::limits::decimal(length.as_bytes());
    match length {
        Some(length) if lengths.next().is_none() => {
            if length > limit {
                Err(too_large(limit))
            } else {
                Ok(())
            }
        }
        _ => Err(Problem::new(Code::BadRequest, "The field Content-Length can't be read; send it once.")),
    }
}

/// The authority as the caller wrote it, from either version of HTTP, and its host as [`host_of`] gives it. Ambiguity is
/// refused.
pub fn authority(uri: &Uri, headers: &HeaderMap, http2: bool) -> Result<(String, String), Problem> {
    let bad = |detail: &str| Err(Problem::new(Code::BadRequest, detail));
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return bad("The request has more than one Host field; send one.");
    }
    let host = match host.map(|host| host.to_str()) {
        Some(Err(_)) => return bad("The Host field can't be read."),
        Some(Ok(host)) => Some(host),
        None => None,
    };
    let authority = match (uri.authority().map(Authority::as_str), host) {
        (Some(_), _) if !http2 => {
            return bad(
                "The request target is a whole URL; send only the path, and the host in the Host field.",
            );
        }
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return bad(
                "The fields :authority and Host name different hosts; send one, or the same in both.",
            );
        }
        (Some(authority), _) => authority,
        (None, Some(host)) => host,
        (None, None) => return bad("The request names no host; send a Host field."),
    };
    match host_of(authority) {
        Some(host) if !authority.contains('@') => Ok((authority.to_owned(), host)),
        _ => bad("The request's host can't be read; send a host name and perhaps a port."),
    }
}

/// The host of an authority: in lower case, without port and trailing dot.
pub fn host_of(authority: &str) -> Option<String> {
    let parsed: Authority = authority.parse().ok()?;
    let host = parsed.host();
    let port = authority.get(host.len()..)?;
    let digits = port.strip_prefix(':').unwrap_or(port);
    if host.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(hosts: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        headers
    }

    #[test]
    fn ports_case_and_a_trailing_dot_do_not_matter() {
        for authority in
            ["acme.relay.example.com", "Acme.Relay.EXAMPLE.com:8443", "acme.relay.example.com.:1"]
        {
            assert_eq!(host_of(authority).as_deref(), Some("acme.relay.example.com"), "{authority}");
        }
        assert_eq!(host_of("[::1]:443").as_deref(), Some("[::1]"));
        for bad in ["", ":443", "a b", "a/b", "a:b", "a:1:2", "[::1]x"] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn ambiguous_authorities_are_refused() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let good = |uri: &Uri, hosts: &[&str], http2| authority(uri, &headers(hosts), http2).unwrap().0;
        assert_eq!(good(&uri("/x"), &["Acme.example:1"], false), "Acme.example:1");
        assert_eq!(good(&uri("https://acme.example/x"), &[], true), "acme.example");
        assert_eq!(good(&uri("https://acme.example/x"), &["ACME.example"], true), "acme.example");
        for (uri, hosts, http2) in [
            (uri("/x"), &[][..], false),
            (uri("/x"), &["a.example", "a.example"], false),
            (uri("/x"), &["a@b.example"], false),
            (uri("/x"), &["a.example:x"], false),
            (uri("http://a.example/x"), &["a.example"], false),
            (uri("https://a.example/x"), &["b.example"], true),
        ] {
            assert!(authority(&uri, &headers(hosts), http2).is_err(), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_length_is_one_number_within_the_limit() {
        let length = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_LENGTH, value.parse().unwrap());
            }
            length(&headers, 10, |_| Problem::new(Code::BodyTooLarge, "x")).map_err(|problem| problem.code)
        };
        assert_eq!(length(&[]), Ok(()));
        assert_eq!(length(&["10"]), Ok(()));
        assert_eq!(length(&["11"]), Err(Code::BodyTooLarge));
        for bad in [&["3", "3"][..], &["x"], &[""], &["-1"], &["+3"]] {
            assert_eq!(length(bad), Err(Code::BadRequest), "{bad:?}");
        }
    }

    #[test]
    fn chunked_alone_and_once_is_a_coding_that_passes() {
        for (values, good) in [
            (&[][..], true),
            (&["chunked"], true),
            (&["Chunked"], true),
            (&["chunked", "chunked"], false),
            (&["gzip, chunked"], false),
            (&["identity"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::TRANSFER_ENCODING, value.parse().unwrap());
            }
            assert_eq!(coding(&headers).is_ok(), good, "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn no_authority_makes_it_panic(host in "[ -~]{0,40}") {
            let _ = host_of(&host);
        }
    }
}
