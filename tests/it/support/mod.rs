//! What the integration tests stand on: processes, certificates, an HTTPS client, a small upstream, and a whole
//! site with relay and agent.

#![allow(dead_code, reason = "each test takes what it needs")]

pub(crate) mod client;
pub(crate) mod cutter;
pub(crate) mod dice;
pub(crate) mod door;
pub(crate) mod interceptor;
pub(crate) mod jira;
pub(crate) mod odd_site;
pub(crate) mod odd_upstream;
pub(crate) mod person;
pub(crate) mod pki;
pub(crate) mod process;
pub(crate) mod store;
pub(crate) mod upstream;
pub(crate) mod vectors;
pub(crate) mod world;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Waits until it holds; fails the test after `at_most`.
pub(crate) async fn eventually(what: &str, at_most: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(at_most, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: not within {at_most:?}");
}

/// A port that was free a moment ago. Below those that the system gives to outgoing connections, so that none of
/// these takes it before the daemon does.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(61));
        let port = u16::try_from(15_000 + step % 17_000).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
