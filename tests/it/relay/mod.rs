//! The relay in this process, with a fake agent made of the same tunnel and handshake, over TLS on loopback.

mod agents;
mod bench;
mod calls;
mod egress;
mod fake_agent;
mod hostile;
