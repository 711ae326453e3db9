//! The agent's admin socket: its routes, and what they show.

pub mod status;
