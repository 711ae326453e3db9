//! Calls that must arrive once: each has a number of its own, and is answered as badly as its query asks for.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use super::Peer;
use super::wire::{self, Framing, Head};

/// How often the head of each call was seen, whole or in part.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<HashMap<u64, u32>>);

impl Ledger {
    /// A copy of the whole.
    pub(crate) fn counts(&self) -> HashMap<u64, u32> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn see(&self, id: u64) {
        *self.0.lock().unwrap().entry(id).or_default() += 1;
    }

    /// What is left of a head that broke off still tells which call it was.
    pub(super) fn see_piece(&self, bytes: &[u8]) {
        if let Some(at) = wire::find(bytes, b"/once/") {
            let digits: Vec<u8> = bytes[at + 6..].iter().copied().take_while(u8::is_ascii_digit).collect();
            if let Ok(id) = String::from_utf8_lossy(&digits).parse() {
                self.see(id);
            }
        }
    }
}

/// The number in a path `…/once/{number}`.
pub(super) fn id(path: &str) -> Option<u64> {
    path.rsplit_once("/once/")?.1.parse().ok()
}

/// Every way of this upstream to answer; the first is the good one, and the rest are faults.
pub(crate) const WAYS: [&str; 14] = [
    "good",
    "slow",
    "drop-after-head",
    "reset-after-head",
    "drop-in-body",
    "drop-after-body",
    "reset-after-body",
    "interim-then-drop",
    "half-a-head",
    "half-an-answer",
    "half-in-chunks",
    "garbage",
    "early-and-close",
    "close-behind",
];

/// Answers one call. Says whether the connection serves another.
pub(super) async fn answer(peer: &mut Peer, head: &Head, id: u64) -> bool {
    let query = head.target.split_once('?').map_or("", |(_, query)| query);
    let way = query.split('&').find_map(|pair| pair.strip_prefix("way=")).unwrap_or("good");
    let wait: u64 =
        query.split('&').find_map(|pair| pair.strip_prefix("wait=")).map_or(0, |text| text.parse().unwrap());
    let body = id.to_string();
    let good = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    match way {
        "drop-after-head" => return false,
        "reset-after-head" => {
            peer.will_reset();
            return false;
        }
        "drop-in-body" => {
            if head.framing() != Ok(Framing::Length(0)) {
                peer.take(1).await;
            }
            return false;
        }
        "early-and-close" => {
            let close = format!(
                "HTTP/1.1 409 Conflict\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            peer.send(close.as_bytes()).await;
            return false;
        }
        _ => {}
    }
    if !peer.body(head, |_| {}).await {
        return false;
    }
    match way {
        "drop-after-body" => return false,
        "reset-after-body" => {
            peer.will_reset();
            return false;
        }
        "interim-then-drop" => {
            peer.send(b"HTTP/1.1 102 Processing\r\n\r\n").await;
            return false;
        }
        "half-a-head" => {
            peer.send(b"HTTP/1.1 201 Crea").await;
            return false;
        }
        "half-an-answer" => {
            peer.send(format!("HTTP/1.1 201 Created\r\nContent-Length: 9999\r\n\r\n{body}").as_bytes()).await;
            return false;
        }
        "half-in-chunks" => {
            let chunk = format!("{:x}\r\n{body}\r\n", body.len());
            peer.send(
                format!("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}").as_bytes(),
            )
            .await;
            return false;
        }
        "garbage" => {
            peer.send(b"\x16\x03\x01 this is no answer\r\n\r\n").await;
            return false;
        }
        // The wait lets something else go wrong meanwhile. It is no synchronisation.
        "slow" => tokio::time::sleep(Duration::from_millis(wait)).await,
        _ => {}
    }
    if !peer.send(good.as_bytes()).await {
        return false;
    }
    if way == "close-behind" {
        // Kept alive, by its answer; closed a moment later, perhaps just when the next request is being sent.
        tokio::time::sleep(Duration::from_micros(wait * 37)).await;
        return false;
    }
    true
}
