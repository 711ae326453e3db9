//! B10: the agent holds two sockets. So does ours, and with either one gone calls pass by the other.

use std::time::Duration;

use crate::support::cutter::Cut;
use crate::support::door::Version;
use crate::support::eventually;
use crate::support::odd_site::OddSite;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn calls_pass_by_the_other_tunnel() {
    let mut cutter = None;
    let site = OddSite::start_behind(&mut cutter).await;
    let cutter = cutter.unwrap();
    let tunnels = async || {
        let agents = site.running.world.relay(&["agents", "--json"]).await.json();
        agents.to_string().matches("\"slot\"").count()
    };
    for ago in [0, 1] {
        eventually("two tunnels", SOON, async || cutter.lines() == 2 && tunnels().await == 2).await;
        // No new one comes in meanwhile.
        cutter.refuse(true);
        assert!(cutter.cut(ago, Cut::Both));
        eventually("one tunnel", SOON, async || tunnels().await == 1).await;
        for version in [Version::One, Version::Two] {
            for _ in 0..5 {
                assert_eq!(site.get(version, "x").await.unwrap().status, 200, "{}", site.logs());
            }
        }
        cutter.refuse(false);
    }
    eventually("two tunnels again", SOON, async || tunnels().await == 2).await;
}
