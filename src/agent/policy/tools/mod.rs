//! What helps a person with a policy, beyond deciding: the shapes of refused calls, and calls written down.

mod digest;
pub mod recorded;
pub mod refusals;
pub mod shape;

pub use digest::digest;
