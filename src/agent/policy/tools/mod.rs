//! What helps a person with a policy, beyond deciding: calls that are only asked about, expectations,
//! the difference between two policies, and what was refused and the rules it suggests.

pub mod asked;
pub mod diff;
mod digest;
pub mod expect;
pub mod recorded;
pub mod refusals;
pub mod shape;
pub mod suggest;

pub use digest::digest;
