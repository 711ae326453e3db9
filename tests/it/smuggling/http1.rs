//! In HTTP/1.1.

use std::sync::Arc;

use outhaul::common::tasks::Tasks;

use super::{PATIENCE, judge, named};
use crate::support::odd_site::OddSite;
use crate::support::vectors;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_in_http1_becomes_two() {
    all(OddSite::start().await, "HTTP/1.1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_does_one_whose_tls_ends_at_the_agent() {
    all(OddSite::start_passed().await, "HTTP/1.1 passed through").await;
}

async fn all(site: OddSite, title: &str) {
    let site = Arc::new(site);
    let table = vectors::read("smuggling/http1.txt");
    let tasks = Tasks::new();
    let attempts: Vec<_> = table
        .iter()
        .enumerate()
        .map(|(number, vector)| {
            let bytes = vector.bytes(|name| named(&site, number, name));
            let site = Arc::clone(&site);
            tasks.spawn_detached(async move { site.door.say(&bytes, PATIENCE).await })
        })
        .collect();
    for attempt in attempts {
        attempt.await.unwrap();
    }
    judge(&site, title, &table).await;
}
