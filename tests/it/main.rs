//! Integration tests: real sockets on loopback, real processes where a process matters.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is the report"
)]

mod acme;
mod agent;
mod anonymous;
mod audit;
mod cluster;
mod credentials;
mod doctor;
mod doors;
mod egress;
mod faults;
mod fidelity;
mod handshake;
mod hardening;
mod hostile;
mod inspected;
mod issuers;
mod keys;
mod links;
mod mapping;
mod net;
mod once;
mod pass_through;
#[path = "../vectors/read_paths.rs"]
mod path_vectors;
mod policy_tools;
mod proxies;
mod proxy;
mod relay;
mod rivals;
mod rules;
mod secrets;
mod signed;
mod smuggling;
mod store;
mod support;
mod tunnel;
mod whole_way;
