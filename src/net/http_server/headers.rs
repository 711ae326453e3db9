//! Which header fields go further than the connection they came on. Pure. What the site lets pass is decided by the
//! agent's own lists; `docs/headers.md` has both.

use http::HeaderMap;
use http::header::{
    ALT_SVC, CONNECTION, CONTENT_SECURITY_POLICY, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRANSFER_ENCODING, UPGRADE,
    X_CONTENT_TYPE_OPTIONS,
};

/// What speaks of one connection only (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];
/// What of a request goes no further: two of these travel as fields of the tunnel's own.
const REQUEST_ENDS: [HeaderName; 3] = [HOST, EXPECT, PROXY_AUTHORIZATION];
/// What of an answer goes no further: no cookies, and nothing that a browser would take as said for a whole origin or domain,
/// which here is not the application's.
const ANSWER_ENDS: [HeaderName; 10] = [
    PROXY_AUTHENTICATE,
    SET_COOKIE,
    HeaderName::from_static("set-cookie2"),
    ALT_SVC,
    STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("nel"),
    HeaderName::from_static("report-to"),
    HeaderName::from_static("reporting-endpoints"),
    HeaderName::from_static("service-worker-allowed"),
];
/// Nor may pages of elsewhere read it.
const CORS: &str = "access-control-";

/// A request's fields as they go on: without hop-by-hop ones, and without `Host` and `Expect`, which travel beside
/// them.
pub fn request(mut headers: HeaderMap) -> HeaderMap {
    let trailers = wants_trailers(&headers);
    strip(&mut headers, &REQUEST_ENDS);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    headers
}

/// An answer's fields as they go to the caller. What comes from an application must not act as a page of the domain it is
/// reached by: no cookies, no guessing of types, no scripts.
pub fn answer(headers: &mut HeaderMap) {
    strip(headers, &ANSWER_ENDS);
    let cors: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(CORS)).cloned().collect();
    for name in cors {
        headers.remove(name);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Beside the site's own policy: a browser obeys both.
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}

/// Whether a request asks for another protocol (RFC 9110, section 7.8).
pub fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE) || connection_names(headers).any(|name| name == UPGRADE)
}

/// Whether the caller holds its body back until it is asked for (RFC 9110, section 10.1.1).
pub fn holds_body(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("trailers"))
}

/// Takes out what speaks of one connection, what `Connection` names, and what else ends here. `Trailer` goes through, as
/// the trailers do. One look at each field is cheaper than asking for each name: most heads hold few of them.
fn strip(headers: &mut HeaderMap, ends: &[HeaderName]) {
    let mut gone: Vec<HeaderName> = connection_names(headers).collect();
    gone.extend(headers.keys().filter(|name| HOP_BY_HOP.contains(name) || ends.contains(name)).cloned());
    for name in gone {
        headers.remove(name);
    }
}

fn connection_names(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> + '_ {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn hop_by_hop_fields_and_what_connection_names_stay_here() {
        let passed = request(headers(&[
            ("host", "acme.example"),
            ("connection", "close, X-Mine"),
            ("connection", "keep-alive"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip;q=0.5, Trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("proxy-authorization", "Basic x"),
            ("authorization", "Bearer ohk_x"),
            ("content-length", "3"),
            ("x-other", "a"),
            ("x-other", "b"),
        ]));
        let expected = headers(&[
            ("authorization", "Bearer ohk_x"),
            ("content-length", "3"),
            ("x-other", "a"),
            ("x-other", "b"),
            ("te", "trailers"),
        ]);
        assert_eq!(passed, expected);
    }

    #[test]
    fn answers_set_no_cookies_and_run_no_scripts() {
        let mut passed = headers(&[
            ("set-cookie", "JSESSIONID=1"),
            ("set-cookie", "x=2"),
            ("connection", "close"),
            ("content-security-policy", "default-src 'self'"),
            ("x-content-type-options", "odd"),
            ("x-ausername", "fred"),
        ]);
        answer(&mut passed);
        let expected = headers(&[
            ("content-security-policy", "default-src 'self'"),
            ("content-security-policy", "sandbox"),
            ("x-content-type-options", "nosniff"),
            ("x-ausername", "fred"),
        ]);
        assert_eq!(passed, expected);
    }

    #[test]
    fn the_document_names_what_ends_here() {
        let document = include_str!("../../../docs/headers.md");
        let section = document.split("\n## ").find(|section| section.starts_with("At the relay")).unwrap();
        for name in HOP_BY_HOP.iter().chain(&REQUEST_ENDS).chain(&ANSWER_ENDS) {
            assert!(section.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn upgrades_and_expectations_are_seen() {
        assert!(asks_for_upgrade(&headers(&[("upgrade", "websocket")])));
        assert!(asks_for_upgrade(&headers(&[("connection", "keep-alive, Upgrade")])));
        assert!(!asks_for_upgrade(&headers(&[("connection", "close")])));
        assert!(holds_body(&headers(&[("expect", "100-Continue")])));
        assert!(!holds_body(&headers(&[("expect", "other")])));
    }
}
