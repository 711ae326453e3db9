//! The upstream's good behaviour: bodies made from seeds, both ways, and what it saw in the answer's head.

use std::fmt::Write as _;

use ring::digest::{Context, SHA256};

use super::Peer;
use super::wire::Head;

/// The same bytes for the same seed, at any length.
pub(crate) fn seeded(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// SHA-256 in hexadecimal.
pub(crate) fn hash(bytes: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    hex(context)
}

fn hex(context: Context) -> String {
    context.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads the body and answers: status by `code=`, a body of `length=` bytes from `seed=`, framed as `framing=` says
/// (`length`, `chunked`, `close`), its chunks of `chunk=` bytes. What came is told in `X-Up-*`.
pub(super) async fn answer(peer: &mut Peer, head: &Head) -> bool {
    let mut context = Context::new(&SHA256);
    let mut count = 0;
    let whole = peer
        .body(head, |piece| {
            context.update(piece);
            count += piece.len();
        })
        .await;
    if !whole {
        return false;
    }
    let query = head.target.split_once('?').map_or("", |(_, query)| query);
    let number = |name: &str| word(query, name).and_then(|text| text.parse::<u64>().ok());
    let length = usize::try_from(number("length").unwrap_or(0)).unwrap();
    let body = seeded(number("seed").unwrap_or(0), length);
    let framing = word(query, "framing").unwrap_or("length");
    let code = number("code").unwrap_or(200);
    let mut text = format!(
        "HTTP/1.1 {code} Whatever\r\nX-AUSERNAME: reader\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\n\
         X-Up-Hash: {}\r\nX-Up-Length: {count}\r\nX-Up-Framing: {}\r\nContent-Type: application/octet-stream\r\n\
         X-Double: one\r\nETag: \"{length}\"\r\nX-Double: two, three\r\nX-Empty:\r\n\
         Set-Cookie: JSESSIONID=secret\r\nKeep-Alive: timeout=20\r\n",
        hex(context),
        head.framing().map_or("none", |framing| framing.name()),
    )
    .into_bytes();
    // Latin-1, which is neither ASCII nor UTF-8.
    text.extend_from_slice(b"X-Latin: caf\xe9 \xa0\xff\r\n");
    match framing {
        "chunked" => text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
        "close" => text.extend_from_slice(b"Connection: close\r\n\r\n"),
        _ => text.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes()),
    }
    if !peer.send(&text).await {
        return false;
    }
    if head.method == "HEAD" {
        return framing != "close";
    }
    if framing == "chunked" {
        let size = usize::try_from(number("chunk").unwrap_or(10_000)).unwrap();
        for chunk in body.chunks(size) {
            let mut text = format!("{:x}\r\n", chunk.len()).into_bytes();
            text.extend_from_slice(chunk);
            text.extend_from_slice(b"\r\n");
            if !peer.send(&text).await {
                return false;
            }
        }
        return peer.send(b"0\r\n\r\n").await;
    }
    peer.send(&body).await && framing != "close"
}

fn word<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
