//! Unsafe once: many writes, each with a number of its own, while everything goes wrong that can. The upstream counts
//! the numbers. None may come twice, whoever is told “not sent” must be right, and nobody waits in silence.

mod caller;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outhaul::common::clock::Clock;
use outhaul::common::tasks::Tasks;

use crate::support::cutter::{Cut, Cutter};
use crate::support::dice::Dice;
use crate::support::odd_site::OddSite;

/// How many callers at once.
const CALLERS: u64 = 48;

/// `OUTHAUL_UNSAFE_CALLS=100000` for the long run, `OUTHAUL_SEED` to repeat one.
#[expect(clippy::disallowed_methods, reason = "the length of a test is no configuration of the program")]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of make test by itself, longer with OUTHAUL_UNSAFE_CALLS: cargo test --test it -- --ignored once::"]
async fn no_unsafe_call_is_sent_twice() {
    let calls = number("OUTHAUL_UNSAFE_CALLS", 6000);
    let seed = number("OUTHAUL_SEED", 1);
    let clock = Clock::system();
    let begun = clock.now();
    let mut cutter = None;
    let mut site = OddSite::start_behind(&mut cutter).await;
    let cutter = cutter.unwrap();
    let (door, odd) = (site.door.clone(), &site.odd);
    let next = Arc::new(AtomicU64::new(0));
    let tasks = Tasks::new();
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let caller = caller::Caller::new(door.clone(), Dice::new(seed * 1000 + number), number);
            tasks.spawn_detached(caller.run(Arc::clone(&next), calls))
        })
        .collect();
    let trouble = trouble(&mut site.running, &cutter, &next, calls, Dice::new(seed));
    let (cuts, kills) = tokio::time::timeout(Duration::from_secs(3000), trouble).await.expect("it goes on");
    let mut tally = tally::Tally::default();
    for caller in callers {
        let ended = tokio::time::timeout(Duration::from_secs(180), caller).await;
        tally.add(ended.expect("nobody waits in silence").unwrap());
    }
    // What was abandoned may still be on its way to the upstream.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let took = clock.now() - begun;
    println!(
        "{calls} unsafe calls, seed {seed}, {cuts} cuts of the tunnel, {kills} kills of the agent, {took:?}"
    );
    tally.judge(&odd.ledger().counts());
}

/// Cuts and kills at random until all calls are begun.
async fn trouble(
    running: &mut crate::support::world::Running,
    cutter: &Cutter,
    next: &AtomicU64,
    calls: u64,
    mut dice: Dice,
) -> (u32, u32) {
    let (mut cuts, mut kills, mut killed_at) = (0, 0, 0);
    loop {
        tokio::time::sleep(Duration::from_millis(100 + dice.below(300))).await;
        let begun = next.load(Ordering::Relaxed);
        if begun >= calls {
            return (cuts, kills);
        }
        if begun - killed_at >= 3000 {
            killed_at = begun;
            running.agent.kill();
            running.agent = running.world.start_agent();
            kills += 1;
            continue;
        }
        let how = *dice.one_of(&[Cut::Agent, Cut::Relay, Cut::Both]);
        // One of the two mostly; both at once at times.
        let ago = usize::from(dice.once_in(2));
        cuts += u32::from(cutter.cut(ago, how));
        if dice.once_in(4) {
            cuts += u32::from(cutter.cut(1 - ago, how));
        }
    }
}
