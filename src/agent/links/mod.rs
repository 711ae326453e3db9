//! Linking: how a person shows which account at an application is theirs.
//!
//! A caller asks for an address ([`LinkDesk::start`]) and gives it to the person; the person opens it on the pages of
//! this agent, proves an account there, and brings a code back to the caller. Only when the caller that began hands
//! that code in ([`LinkDesk::finish`]) does the link become active. [`attempt`] decides; every step of it is one job on
//! the store's thread, so that a restart in the middle loses nothing. The pages never run a script, and what they show
//! of people and callers is text.

mod accounts;
mod asking;
pub mod attempt;
mod config;
mod desk;
mod fault;
mod listener;
mod pages;
mod record;
mod secrets;
mod steps;
#[cfg(test)]
mod tests;

pub use config::{CALLBACK, Config, Files};
pub use desk::{Finished, LinkDesk, Started, Wish};
pub use fault::{FinishFault, StartFault};
pub use listener::Listener;
