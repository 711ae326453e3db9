//! The only room that opens sockets.

pub mod tunnel;
