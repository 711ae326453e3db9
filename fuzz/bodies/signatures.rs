//! Any fields of a signed request, behind an address: read without harm, and what passes has one reading.
//!
//! A line each: target, authority, Signature-Input, Signature, Content-Digest, Outhaul-Agent; further lines are fields.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use outhaul::common::ids::AgentId;
use outhaul::identity::signatures::{Claim, Digests, Target};

/// One run.
pub(super) fn run(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let (target, authority) = (text(), text());
    let mut fields = HeaderMap::new();
    for name in ["signature-input", "signature", "content-digest", "outhaul-agent"] {
        if let Ok(value) = HeaderValue::from_str(&text()) {
            fields.append(HeaderName::from_static(name), value);
        }
    }
    for line in lines.take(64) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    if let Some(digest) = fields.get("content-digest") {
        let _ = Digests::read(digest.as_bytes());
    }
    let Ok(claim) = Claim::read(&fields) else { return };
    let agent = AgentId::from_bytes([7; 16]);
    let target = Target { method: &Method::POST, scheme: "https", authority: &authority, target: &target };
    let Ok(covered) = claim.cover(target, &fields, agent) else { return };
    // One line for each component and one for the parameters: no value holds another line.
    let lines = covered.base().lines().count();
    assert_eq!(covered.base().matches('\n').count() + 1, lines);
    assert!(covered.base().bytes().all(|byte| byte.is_ascii_graphic() || b" \t\n".contains(&byte)));
    assert!(covered.base().lines().last().is_some_and(|line| line.starts_with("\"@signature-params\": (")));
    assert_eq!(covered.headers["outhaul-agent"], agent.to_string());
    for name in covered.headers.keys() {
        assert!(name == "content-length" || covered.headers.get_all(name).iter().count() == 1, "{name}");
    }
    // What is left says the same again.
    let mut left = covered.headers.clone();
    for name in ["signature-input", "signature"] {
        left.insert(name, fields[name].clone());
    }
    let again = Claim::read(&left).unwrap().cover(target, &left, agent).unwrap();
    assert_eq!(again.base(), covered.base());
    assert_eq!(again.headers, covered.headers);
}
