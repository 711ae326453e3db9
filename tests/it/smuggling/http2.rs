//! In HTTP/2, frame by frame: no library of a caller would write these.

use std::sync::Arc;
use std::time::Duration;

use outhaul::common::tasks::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{PATIENCE, judge, named};
use crate::support::door::Version;
use crate::support::eventually;
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::{Gate, Step};
use crate::support::vectors;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field as HPACK writes it without table and without Huffman (RFC 7541, section 6.2.2).
fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.push(0);
    for text in [name, value] {
        let mut length = text.len();
        if length < 127 {
            out.push(u8::try_from(length).unwrap());
        } else {
            out.push(127);
            length -= 127;
            while length >= 128 {
                out.push(u8::try_from(length % 128).unwrap() | 128);
                length /= 128;
            }
            out.push(u8::try_from(length).unwrap());
        }
        out.extend_from_slice(text);
    }
}

/// Puts a line `name: value` in; a name may begin with a colon.
fn line(line: &[u8], out: &mut Vec<u8>) {
    let begin = usize::from(line.first() == Some(&b':') && line.get(1) != Some(&b' '));
    let colon = line.windows(2).skip(begin).position(|window| window == b": ").map(|at| at + begin);
    match colon {
        Some(at) => field(&line[..at], &line[at + 2..], out),
        None => field(line.strip_suffix(b":").unwrap(), b"", out),
    }
}

/// The frames of one attempt.
fn frames(lines: &[Vec<u8>]) -> Vec<u8> {
    let (mut head, mut trailers, mut data, mut reset, mut open) = (vec![], vec![], vec![], None, false);
    for text in lines {
        if let Some(text) = text.strip_prefix(b">> ") {
            line(text, &mut trailers);
        } else if let Some(text) = text.strip_prefix(b"> ") {
            data.push(text.to_vec());
        } else if let Some(code) = text.strip_prefix(b"!reset ") {
            reset = Some(u32::from(code[0] - b'0'));
        } else if text == b"!open" {
            open = true;
        } else {
            line(text, &mut head);
        }
    }
    let stays = open || reset.is_some();
    let last = if stays { 0 } else { END_STREAM };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let only = data.is_empty() && trailers.is_empty();
    bytes.extend(frame(HEADERS, END_HEADERS | if only { last } else { 0 }, 1, &head));
    let count = data.len();
    for (number, data) in data.iter().enumerate() {
        let ends = number + 1 == count && trailers.is_empty();
        bytes.extend(frame(DATA, if ends { last } else { 0 }, 1, data));
    }
    if !trailers.is_empty() {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &trailers));
    }
    if let Some(code) = reset {
        bytes.extend(frame(RST_STREAM, 0, 1, &code.to_be_bytes()));
    }
    bytes
}

/// Sends it and waits until the relay has answered, refused, or is silent for too long.
async fn attempt(site: &OddSite, bytes: &[u8]) {
    let mut stream = site.door.tls(Version::Two).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let answered = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            let on_stream = head[8] == 1;
            let ended = matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0;
            if head[3] == GOAWAY || (on_stream && (ended || head[3] == RST_STREAM)) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, answered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_in_http2_becomes_two() {
    all(OddSite::start().await, "HTTP/2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_one_whose_tls_ends_at_the_agent() {
    all(OddSite::start_passed().await, "HTTP/2 passed through").await;
}

async fn all(site: OddSite, title: &str) {
    let site = Arc::new(site);
    let table = vectors::read("smuggling/http2.txt");
    let tasks = Tasks::new();
    let attempts: Vec<_> = table
        .iter()
        .enumerate()
        .map(|(number, vector)| {
            let bytes = frames(&vector.lines(|name| named(&site, number, name)));
            let site = Arc::clone(&site);
            tasks.spawn_detached(async move { attempt(&site, &bytes).await })
        })
        .collect();
    for attempt in attempts {
        attempt.await.unwrap();
    }
    judge(&site, title, &table).await;
}

/// A stream that the caller resets is not one that it ended, whatever the code says: an upload of unknown length would
/// otherwise look whole to the upstream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_reset_is_never_whole() {
    // With threads of its own for each, who hears first of the reset is a matter of luck.
    let threads = "[server]\nthreads = 4\n";
    let site = OddSite::start_with(|world| world.edit_relay("[server]\n", threads)).await;
    // NO_ERROR, INTERNAL_ERROR, CANCEL.
    for code in [0_u8, 2, 8].repeat(40) {
        site.odd.forget();
        let arrived = Gate::new();
        arrived.open();
        site.odd.on(
            "attack-0",
            [Step::Take("7\r\nhalf of\r\n".len()), Step::Wait(arrived.clone()), Step::UntilClosed],
        );
        let lines = [
            ":method: POST",
            ":scheme: https",
            ":authority: {host}",
            ":path: {path}",
            "authorization: Bearer {key}",
            "> half of",
            "!open",
        ];
        let lines = lines.map(|line| vectors::unescape(line, &|name| named(&site, 0, name)));
        let mut stream = site.door.tls(Version::Two).await.unwrap();
        stream.write_all(&frames(&lines)).await.unwrap();
        arrived.reached().await;
        stream.write_all(&frame(RST_STREAM, 0, 1, &[0, 0, 0, code])).await.unwrap();
        // A write that was sent whole is read to its end, and its connection stays.
        let over = async || {
            site.odd.heard("/attack-0 ").is_some_and(|heard| heard.is_closed() || heard.parsed().is_ok())
        };
        eventually("the upload is broken off", Duration::from_secs(30), over).await;
        let heard = site.odd.heard("/attack-0 ").unwrap();
        assert!(heard.parsed().is_err(), "code {code}: {:?}", String::from_utf8_lossy(&heard.raw()));
    }
}
