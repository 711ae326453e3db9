//! Many calls at once on few connections: nobody gets a byte of another's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use outhaul::common::tasks::Tasks;

use crate::support::door::{Line, Version, full, pieces, whole};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::{hash, seeded};

const CALLERS: u64 = 200;
const CALLS: u64 = 5;

/// Each call's body, both ways, comes from a seed of its own, and of a length that goes over the edges.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_at_once_do_not_mix() {
    let site = Arc::new(OddSite::start().await);
    let tasks = Tasks::new();
    let two = site.door.line(Version::Two).await.unwrap();
    let Line::Two(shared) = two else { panic!("HTTP/2 was asked for") };
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let site = Arc::clone(&site);
            // A third of them share one HTTP/2 connection.
            let shared = shared.clone();
            tasks.spawn_detached(async move {
                let mut bytes = 0;
                let mut line = match caller % 3 {
                    0 => Line::Two(shared),
                    1 => site.door.line(Version::Two).await.unwrap(),
                    _ => site.door.line(Version::One).await.unwrap(),
                };
                for call in 0..CALLS {
                    let seed = caller * 1000 + call;
                    let (up, down) = (length(seed), length(seed + 7));
                    let sent = Bytes::from(seeded(seed, up));
                    let sum = hash(&sent);
                    let body = if call % 2 == 0 { full(sent) } else { pieces(sent, 5000) };
                    let framing = ["length", "chunked"][usize::try_from(seed % 2).unwrap()];
                    let segment = format!("x?seed={}&length={down}&framing={framing}", seed + 1);
                    let response = site.door.send(&mut line, OddSite::request(Method::POST, &segment, body));
                    let answer = whole(response.await.unwrap()).await.unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    assert_eq!(answer.headers["x-up-hash"], sum, "{seed}: what came up");
                    assert!(answer.body == seeded(seed + 1, down), "{seed}: what came down");
                    bytes += up + down;
                }
                bytes
            })
        })
        .collect();
    let mut bytes = 0;
    for caller in callers {
        bytes += tokio::time::timeout(Duration::from_secs(240), caller).await.unwrap().unwrap();
    }
    println!("{CALLERS} at once: {} calls, {bytes} bytes, each of its own seed, 0 mixed", CALLERS * CALLS);
}

/// From nothing to 150,000 bytes, most of them short.
fn length(seed: u64) -> usize {
    let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    usize::try_from(if spread.is_multiple_of(4) { spread % 150_000 } else { spread % 3000 }).unwrap()
}
