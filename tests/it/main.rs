//! Integration tests: real sockets on loopback, real processes where a process matters.

mod agent;
mod doors;
mod faults;
mod handshake;
mod net;
mod proxy;
mod relay;
mod support;
mod tunnel;
