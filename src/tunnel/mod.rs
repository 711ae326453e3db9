//! The protocol between relay and agent, as pure code: no socket, no clock, no runtime.
//!
//! A tunnel is one WebSocket whose binary messages carry whole frames ([`frame`]). After the handshake
//! (`identity::handshake`) both ends hold a [`session::Session`]: it is given what arrived and what the program
//! wants, with the time, and says what to send and what happened. `net::tunnel` drives it over a socket.
//!
//! The wire format is written down in `docs/protocol.md`; golden frames lie in `tests/vectors/`.

pub mod code;
pub mod credit;
pub mod egress;
pub mod frame;
pub mod head;
pub mod heartbeat;
pub mod session;
mod stream;
