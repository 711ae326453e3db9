//! Attacks. A relay that lies plays towards the real agent, an agent that lies towards the real relay; both hold what such
//! an attacker holds, a valid identity, and say what they like. What must come of each attack stands in
//! `docs/threat-model.md`, and [`document`] holds the two together.

mod bearer;
mod floods;
mod handshake;
mod liar_relay;
mod people;
mod protocol;
mod site;
mod smuggling;
mod terminal;
mod wire;
