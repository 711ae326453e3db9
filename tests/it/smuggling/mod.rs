//! Requests that try to be two, or to be another one at the upstream than at the relay. The tables are
//! `tests/vectors/smuggling`; the proof is the bytes that the upstream heard: each connection's are whole, well-formed
//! requests with one framing, and none of them is a hidden one.

mod http1;
mod http2;

use std::time::Duration;

use http::Method;

use crate::support::door::{Version, empty};
use crate::support::odd_site::{MOUNT, OddSite, PATH};
use crate::support::odd_upstream::wire::{self, Head, Reading};
use crate::support::vectors::Vector;

/// How long an attempt may be silent before it is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// What stands for the names in a vector.
fn named(site: &OddSite, number: usize, name: &str) -> Option<String> {
    let (host, key) = (site.door.authority(), &site.door.key);
    let hidden = format!(
        "GET {MOUNT}{PATH}/hidden-{number} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
    );
    Some(match name {
        "host" => host,
        "key" => key.clone(),
        "auth" => format!("Authorization: Bearer {key}"),
        "path" => format!("{MOUNT}{PATH}/attack-{number}"),
        "hiddenpath" => format!("{MOUNT}{PATH}/hidden-{number}"),
        "length" => hidden.len().to_string(),
        "length+5" => (hidden.len() + 5).to_string(),
        "hexlength" => format!("{:x}", hidden.len()),
        "hidden" => hidden,
        _ => return None,
    })
}

/// Judges all attempts by what the upstream heard.
async fn judge(site: &OddSite, title: &str, vectors: &[Vector]) {
    // Whoever comes after them is served as ever.
    for version in [Version::One, Version::Two] {
        let request = OddSite::request(Method::GET, "x?seed=3&length=100", empty());
        let answer = site.call(version, request).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 100));
    }
    let mut wrong = Vec::new();
    let mut heard: Vec<(Head, Option<Vec<u8>>)> = Vec::new();
    for connection in site.odd.connections() {
        let raw = connection.raw();
        let Reading { whole, cut, fault } = wire::read(&raw);
        if let Some(fault) = fault {
            wrong.push(format!("malformed at the upstream: {fault}: {:?}", String::from_utf8_lossy(&raw)));
        }
        heard.extend(whole.into_iter().map(|(head, body)| (head, Some(body))));
        heard.extend(cut.map(|head| (head, None)));
        if wire::find(&raw, b"smuggled").is_some() {
            wrong.push(format!("a trailer passed: {:?}", String::from_utf8_lossy(&raw)));
        }
    }
    for (head, _) in &heard {
        if head.target.contains("hidden-") || !head.target.starts_with('/') {
            wrong.push(format!("HIDDEN: {head:?}"));
        }
        if head.all("host") != [b"jira.example"] || head.all("authorization") != [b"Bearer pat-reader"] {
            let health = head.target == "/status";
            wrong.extend((!health).then(|| format!("not as the agent says: {head:?}")));
        }
    }
    let (mut reached, mut stopped) = (0, 0);
    for (number, vector) in vectors.iter().enumerate() {
        let path = format!("{PATH}/attack-{number}");
        let is_this = |head: &Head| {
            head.target
                .strip_prefix(&path)
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        };
        let found: Vec<_> = heard.iter().filter(|(head, _)| is_this(head)).collect();
        let whole: Vec<_> = found.iter().filter_map(|(_, body)| body.as_ref()).collect();
        let (expected, body) = vector.expected.split_once(' ').unwrap_or((&vector.expected, ""));
        let right = match expected {
            "none" => whole.is_empty(),
            "one" => whole.len() == 1 && (body.is_empty() || whole[0] == body.as_bytes()),
            "any" => whole.len() <= 1,
            other => panic!("{other}"),
        };
        if !right || found.len() > 1 {
            wrong.push(format!(
                "{title} {number}, {}: expected {}, heard {found:?}",
                vector.name, vector.expected
            ));
        }
        if whole.is_empty() {
            stopped += 1;
        } else {
            reached += 1;
        }
    }
    println!(
        "smuggling by {title}: {} attempts, {stopped} never whole at the upstream, {reached} as one well-formed \
         request, {} findings",
        vectors.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", site.logs());
}
