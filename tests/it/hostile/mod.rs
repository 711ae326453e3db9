//! Attacks. A relay that lies plays towards the real agent, an agent that lies towards the real relay; both hold what such
//! an attacker holds, a valid identity, and say what they like. What must come of each attack stands in
//! `docs/threat-model.md`, and [`document`] holds the two together.

mod answers;
mod bearer;
mod certificates;
mod document;
mod floods;
mod handshake;
mod liar_agent;
mod liar_relay;
mod pass_through;
mod people;
mod protocol;
mod protocol_relay;
mod session;
mod signed;
mod signed_bodies;
mod site;
mod smuggling;
mod terminal;
mod wire;
