//! Signed callers: real relay and agent, and a front whose relay may say anything.

pub(crate) mod signer;
mod way;
