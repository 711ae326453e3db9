//! Linking: how a person shows which account at an application is theirs.
//!
//! A caller asks for an address and gives it to the person; the person opens it on the pages of this agent, proves an
//! account there, and brings a code back to the caller. Only when the caller that began hands that code in does the
//! link become active. [`attempt`] decides; every step of it is one job on the store's thread.

pub mod attempt;
