//! What goes wrong between the parts: crashes, at any moment, many times.

use std::time::Duration;

use http::StatusCode;
use outhaul::common::clock::Clock;

use crate::support::upstream::Upstream;
use crate::support::world::{Running, World, host};

const PATH: &str = "/jira/rest/api/2/myself";

/// Kills of each program, in turn, while calls go on.
const KILLS: usize = 25;

#[tokio::test]
#[ignore = "half a minute of its own, and it prints: cargo test --test it -- --ignored fifty_kills --nocapture"]
async fn fifty_kills() {
    let upstream = Upstream::start().await;
    let mut site = Running::start(World::new(&upstream.url())).await;
    let clock = Clock::system();
    let (mut after_agent, mut after_relay) = (Vec::new(), Vec::new());
    for round in 0..2 * KILLS {
        // Somewhere between connecting and serving, each time elsewhere.
        let client = site.client.clone();
        let calls = async {
            loop {
                let answer = client.get(&host(), "/jira/rest/api/2/x?sleep=30").await;
                // Never silence: an answer, or a connection that is refused or broken at once.
                if let Ok(answer) = answer {
                    let code = answer.problem();
                    assert!(answer.status == StatusCode::OK || code.is_some(), "{answer:?}");
                }
            }
        };
        let moment = Duration::from_millis(u64::try_from(round * 37 % 400).unwrap());
        let _ = tokio::time::timeout(moment, calls).await;
        let times = if round % 2 == 0 {
            site.agent.kill();
            site.agent = site.world.start_agent();
            &mut after_agent
        } else {
            site.relay.kill();
            site.relay = site.world.start_relay();
            &mut after_relay
        };
        let restarted = clock.now();
        loop {
            let answer = site.client.get(&host(), PATH).await;
            if answer.is_ok_and(|answer| answer.status == StatusCode::OK) {
                break;
            }
            let waited = clock.now() - restarted;
            assert!(waited < Duration::from_secs(40), "{}\n{}", site.agent.log(), site.relay.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.push(clock.now() - restarted);
    }
    for (what, times) in [("agent", &mut after_agent), ("relay", &mut after_relay)] {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() - 1) * part / 100];
        println!(
            "kill -9 of the {what}, {} times: calls work again after p50 {:?}, p90 {:?}, max {:?}",
            times.len(),
            at(50),
            at(90),
            at(100)
        );
    }
}
