//! B5: with the agent killed under a call, the caller waited for ever. Ours: the tunnel's end is the call's, and the
//! caller hears what is known of the outcome.

use std::time::Duration;

use http::Method;

use crate::support::door::{Version, full};
use crate::support::odd_site::OddSite;
use crate::support::odd_upstream::{Gate, Step};

#[tokio::test]
async fn a_killed_agent_is_heard_of_at_once() {
    let mut site = OddSite::start().await;
    for (version, method) in [(Version::One, Method::POST), (Version::Two, Method::GET)] {
        let gate = Gate::new();
        site.odd.on("slow", [Step::TakeBody, Step::Wait(gate.clone())]);
        let mut line = site.door.line(version).await.unwrap();
        let request = OddSite::request(method.clone(), "slow", full("x"));
        let call = site.door.send(&mut line, request);
        let kill = async {
            gate.reached().await;
            site.running.agent.kill();
        };
        // The upstream never answers: only the agent's end can end this.
        let both = async { tokio::join!(call, kill).0 };
        let answer = tokio::time::timeout(Duration::from_secs(30), both).await.expect("no silence").unwrap();
        let answer = crate::support::door::whole(answer).await.unwrap();
        assert_eq!(answer.problem(), Some(("agent-lost".to_owned(), "outcome-unknown".to_owned())));
        let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(document["retry"], if method == Method::GET { "safe" } else { "never" });
        site.running.agent = site.running.world.start_agent();
        site.running.agent.line("connected to the relay").await;
    }
}
