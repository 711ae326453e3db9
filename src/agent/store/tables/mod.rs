//! One file a table, or a family of them: typed rows in, typed rows out.

pub mod acme;
pub mod audit;
pub mod callers;
pub mod idempotency;
pub mod identity;
pub mod joins;
pub mod links;
pub mod mappings;
pub mod nonces;
pub mod services;
