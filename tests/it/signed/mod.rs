//! Signed callers: real relay and agent, and a front whose relay may say anything.

mod signer;
mod way;
