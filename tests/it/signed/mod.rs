//! Signed callers: real relay and agent, and a front whose relay may say anything.

mod fuzz;
pub(crate) mod signer;
mod way;
