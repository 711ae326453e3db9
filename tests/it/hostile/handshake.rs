//! Who is no relay, or another one, or the right one with a changed word, gets neither the agent's secret nor its tunnel.

use super::liar_relay::{Greeting, LiarRelay, Lie};
use crate::support::world::World;

/// A world whose relay lies, and nobody enrolled.
async fn fresh() -> (World, LiarRelay) {
    let world = World::new("http://127.0.0.1:9");
    world.edit_agent("[state]", "tunnels = 1\n\n[state]");
    let relay = LiarRelay::start(&world).await;
    (world, relay)
}

async fn enrol(world: &World, relay: &LiarRelay) -> (i32, String, Greeting) {
    let enrolled = world.agent_with_input(&["enrol"], &format!("{}\n", relay.token(world))).await;
    (enrolled.code, enrolled.err, relay.greetings().pop().expect("the agent came"))
}

/// A relay with another key, another version, an old or changed CHALLENGE, or another TLS session never sees the token's
/// secret.
#[tokio::test]
async fn the_enrolment_secret_is_shown_to_no_other_relay() {
    let (world, relay) = fresh().await;
    relay.lies(Lie::OtherKey);
    let (_, _, first) = enrol(&world, &relay).await;
    for lie in [
        Lie::OtherKey,
        Lie::Version(0),
        Lie::Version(2),
        Lie::Unbound,
        Lie::OtherSession,
        Lie::ChangedChallenge,
        Lie::OldChallenge(first.challenge),
    ] {
        relay.lies(lie.clone());
        let (code, said, greeting) = enrol(&world, &relay).await;
        assert_ne!(code, 0, "{lie:?}: {said}");
        assert!(greeting.proof.is_none(), "{lie:?}: nothing was shown: {greeting:?}");
    }
    relay.lies(Lie::None);
    let (code, said, greeting) = enrol(&world, &relay).await;
    assert_eq!(code, 0, "control: the right relay enrols it: {said}");
    assert!(greeting.proof.is_some_and(|proof| proof["secret"].is_string()) && greeting.confirmed);
}

/// A WELCOME for another site, unsigned, or changed after it was signed is not confirmed, and nothing is enrolled.
#[tokio::test]
async fn a_false_welcome_enrols_nobody() {
    let (world, relay) = fresh().await;
    for lie in [Lie::OtherSite, Lie::UnsignedWelcome, Lie::ChangedWelcome] {
        relay.lies(lie.clone());
        let (code, said, greeting) = enrol(&world, &relay).await;
        assert_ne!(code, 0, "{lie:?}: {said}");
        assert!(!greeting.confirmed, "{lie:?}");
    }
    let status = world.agent(&["run"]).await;
    assert!(status.code != 0 && status.err.contains("enrol"), "it knows no relay: {status:?}");
}

/// An enrolled agent opens no tunnel to a relay that can't prove in this very handshake that it is the pinned one.
#[tokio::test]
async fn an_agent_goes_on_with_no_relay_but_the_pinned_one() {
    let (world, mut relay) = fresh().await;
    let (code, said, enrolled) = enrol(&world, &relay).await;
    assert_eq!(code, 0, "{said}");
    for lie in [
        Lie::OtherKey,
        Lie::OldChallenge(enrolled.challenge),
        Lie::Version(0),
        Lie::Unbound,
        Lie::OtherSession,
        Lie::OtherAgent,
        Lie::UnsignedWelcome,
    ] {
        relay.lies(lie.clone());
        let mut agent = world.start_agent();
        agent.line("no tunnel to the relay").await;
        let greeting = relay.greetings().pop().unwrap();
        assert!(!greeting.confirmed, "{lie:?}: {greeting:?}");
        let after_welcome = matches!(lie, Lie::OtherAgent | Lie::UnsignedWelcome);
        assert_eq!(greeting.proof.is_some(), after_welcome, "{lie:?}");
        assert!(relay.waiting_tunnel().is_none(), "{lie:?}");
    }
    relay.lies(Lie::None);
    let mut agent = world.start_agent();
    agent.line("connected to the relay").await;
    relay.tunnel().await;
}
