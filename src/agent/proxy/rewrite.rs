//! Opt-in for a caller: links in Jira's JSON lead through the relay.
//!
//! Jira builds absolute links from its own base URL, where the caller can't reach it. This replaces that prefix by
//! the address the caller used. It works on the bytes as they stream, keeps no more than one undecided link back,
//! and knows both spellings of a slash in JSON (`/` and `\/`).

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

/// From which prefix to which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    from: Vec<u8>,
    to: Vec<u8>,
    to_escaped: Vec<u8>,
}

enum Match {
    /// So many bytes are the prefix; its slashes are escaped or not.
    Whole(usize, bool),
    /// Too few bytes to tell.
    Open,
    None,
}

impl Links {
    /// Both without a slash at the end.
    pub fn new(from: &str, to: &str) -> Self {
        Self {
            from: from.as_bytes().to_vec(),
            to: to.as_bytes().to_vec(),
            to_escaped: to.replace('/', "\\/").into_bytes(),
        }
    }

    /// Readies a request's fields: an encoded answer can't be rewritten, and a weakened tag must match again.
    pub fn prepare(headers: &mut HeaderMap) {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let tags = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
        let strong = tags.map(|tags| tags.replace("W/\"", "\""));
        if let Some(strong) = strong.and_then(|strong| HeaderValue::from_str(&strong).ok()) {
            headers.insert(header::IF_MATCH, strong);
        }
    }

    /// Changes an answer's fields, and says whether its body is to be rewritten.
    pub fn head(&self, method: &Method, status: StatusCode, headers: &mut HeaderMap) -> bool {
        if let Some(location) = headers.get(header::LOCATION)
            && let Some(moved) = self.location(location)
        {
            headers.insert(header::LOCATION, moved);
        }
        // A part of a document can't be rewritten: its offsets count in Jira's own bytes.
        if !is_json(headers) || is_encoded(headers) || status == StatusCode::PARTIAL_CONTENT {
            return false;
        }
        for name in ["content-md5", "content-digest", "repr-digest", "digest", "accept-ranges"] {
            headers.remove(name);
        }
        if status != StatusCode::NOT_MODIFIED {
            headers.remove(header::CONTENT_LENGTH);
        }
        // Other bytes under the same strong tag would be a lie; a weak one says "the same in meaning".
        if let Some(tag) = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")) {
            let weak = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat());
            if let Ok(weak) = weak {
                headers.insert(header::ETAG, weak);
            }
        }
        *method != Method::HEAD
    }

    fn location(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let rest = value.as_bytes().strip_prefix(self.from.as_slice())?;
        let ends = rest.first().is_none_or(|byte| b"/?#".contains(byte));
        ends.then(|| HeaderValue::from_bytes(&[&self.to, rest].concat()).ok()).flatten()
    }

    fn at(&self, bytes: &[u8]) -> Match {
        let mut position = 0;
        let mut escaped = false;
        for wanted in &self.from {
            if *wanted == b'/' && bytes.get(position) == Some(&b'\\') {
                escaped = true;
                position += 1;
            }
            match bytes.get(position) {
                None => return Match::Open,
                Some(byte) if byte == wanted => position += 1,
                Some(_) => return Match::None,
            }
        }
        // `https://jira.corp` must not match in `https://jira.corporate`.
        match bytes.get(position) {
            None => Match::Open,
            Some(b'/' | b'"' | b'?' | b'#' | b'\\') => Match::Whole(position, escaped),
            Some(_) => Match::None,
        }
    }
}

/// Rewrites one body, chunk by chunk.
#[derive(Debug)]
pub struct Rewriter {
    links: Links,
    /// What may be the beginning of a prefix; never longer than one with every slash escaped.
    held: Bytes,
}

impl Rewriter {
    /// At the beginning of a body.
    pub fn new(links: Links) -> Self {
        Self { links, held: Bytes::new() }
    }

    /// The next bytes of the body; may give fewer or more back.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        let input = if self.held.is_empty() {
            chunk
        } else {
            [std::mem::take(&mut self.held), chunk].concat().into()
        };
        let first = self.links.from.first().copied().unwrap_or(b'h');
        let mut output = BytesMut::new();
        let (mut kept, mut position) = (0, 0);
        while let Some(offset) = tail(&input, position).iter().position(|byte| *byte == first) {
            let start = position + offset;
            match self.links.at(tail(&input, start)) {
                Match::None => position = start + 1,
                Match::Whole(length, escaped) => {
                    output.extend_from_slice(input.get(kept..start).unwrap_or_default());
                    output.extend_from_slice(if escaped { &self.links.to_escaped } else { &self.links.to });
                    position = start + length;
                    kept = position;
                }
                Match::Open => {
                    self.held = input.slice(start..);
                    return join(output, input.slice(kept..start));
                }
            }
        }
        join(output, input.slice(kept..))
    }

    /// What was held back, at the end of the body.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }
}

fn tail(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or_default()
}

fn join(mut output: BytesMut, rest: Bytes) -> Bytes {
    if output.is_empty() {
        return rest;
    }
    output.extend_from_slice(&rest);
    output.freeze()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links() -> Links {
        Links::new("https://jira.corp.example/jira", "https://acme.relay.example/jira")
    }

    fn whole(text: &str) -> String {
        chunked(text.as_bytes(), &[])
    }

    fn chunked(bytes: &[u8], cuts: &[usize]) -> String {
        let mut rewriter = Rewriter::new(links());
        let mut output = Vec::new();
        let mut start = 0;
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.sort_unstable();
        for cut in cuts.into_iter().chain([bytes.len()]) {
            output.extend_from_slice(&rewriter.push(Bytes::copy_from_slice(&bytes[start..cut])));
            assert!(rewriter.held.len() <= 2 * rewriter.links.from.len());
            start = cut;
        }
        output.extend_from_slice(&rewriter.finish());
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn links_lead_through_the_relay() {
        for (given, expected) in [
            (
                r#"{"self":"https://jira.corp.example/jira/rest/1"}"#,
                r#"{"self":"https://acme.relay.example/jira/rest/1"}"#,
            ),
            (r#""https://jira.corp.example/jira""#, r#""https://acme.relay.example/jira""#),
            (r#""https://jira.corp.example/jira?a#b""#, r#""https://acme.relay.example/jira?a#b""#),
            (r#""https:\/\/jira.corp.example\/jira\/rest""#, r#""https:\/\/acme.relay.example\/jira\/rest""#),
            (
                r#""hhttps://jira.corp.example/jira/x https://jira.corp.example/jira#""#,
                r#""hhttps://acme.relay.example/jira/x https://acme.relay.example/jira#""#,
            ),
            (r#""https://jira.corp.example/jira\nnext""#, r#""https://acme.relay.example/jira\nnext""#),
        ] {
            assert_eq!(whole(given), expected);
        }
    }

    #[test]
    fn other_addresses_stay() {
        for text in [
            r#""https://jira.corp.example/jirax/rest""#,
            r#""https://jira.corp.example/other""#,
            r#""http://jira.corp.example/jira/""#,
            r#""https:\\/\\/jira.corp.example/jira/""#,
            r#""https://jira.corp.example"#,
            "https://jira.corp.example/jira",
            "",
        ] {
            assert_eq!(whole(text), text);
        }
    }

    #[test]
    fn only_json_as_a_whole_is_touched() {
        let head = |lines: &[(&'static str, &'static str)], status: u16| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let status = StatusCode::from_u16(status).unwrap();
            (links().head(&Method::GET, status, &mut headers), headers)
        };
        let json = ("content-type", "Application/JSON;charset=UTF-8");
        let (body, headers) =
            head(&[json, ("content-length", "7"), ("etag", "\"1\""), ("content-md5", "x")], 200);
        assert!(body && !headers.contains_key("content-length") && !headers.contains_key("content-md5"));
        assert_eq!(headers["etag"], "W/\"1\"");
        assert!(head(&[json, ("content-encoding", "identity")], 200).0);
        for (lines, status) in [
            (&[json, ("content-encoding", "gzip")][..], 200),
            (&[json], 206),
            (&[("content-type", "image/png")], 200),
            (&[("content-type", "application/jsonx")], 200),
            (&[], 200),
        ] {
            let mut lines = lines.to_vec();
            lines.push(("content-length", "7"));
            let (body, headers) = head(&lines, status);
            assert!(!body && headers.contains_key("content-length"), "{lines:?}");
        }
        let (_, headers) = head(&[("location", "https://jira.corp.example/jira/x?y")], 302);
        assert_eq!(headers["location"], "https://acme.relay.example/jira/x?y");
        let (_, headers) = head(&[("location", "https://jira.corp.example/jirax")], 302);
        assert_eq!(headers["location"], "https://jira.corp.example/jirax");
    }

    #[test]
    fn a_weakened_tag_matches_again() {
        let mut headers = HeaderMap::new();
        headers.insert("if-match", HeaderValue::from_static("W/\"1\", \"2\""));
        Links::prepare(&mut headers);
        assert_eq!(headers["if-match"], "\"1\", \"2\"");
        assert_eq!(headers["accept-encoding"], "identity");
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(
            parts in proptest::collection::vec(prop_oneof![
                Just("https://jira.corp.example/jira"), Just("https:\\/\\/jira.corp.example\\/jira"),
                Just("https://jira.corp"), Just("/"), Just("\\"), Just("\""), Just("h"), Just("https:\\"),
                Just("ü"), Just("x"), Just("https:/\\/jira.corp.example/jira?")], 0..12),
            cuts in proptest::collection::vec(any::<usize>(), 0..12),
        ) {
            let text = parts.concat();
            prop_assert_eq!(chunked(text.as_bytes(), &cuts), whole(&text));
        }
    }
}
