//! Keys, enrolment and proofs, for both ends.

pub mod api_key;
pub mod handshake;
pub mod keys;
pub mod token;
