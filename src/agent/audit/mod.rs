//! The audit: who called what, as whom, by which rule, and what came of it. Append-only and chained.
//!
//! What decides ([`gather`], [`verify`], [`record`]) takes times and numbers as arguments. `docs/audit.md` describes
//! the records and the chain for auditors.

mod encode;
mod gather;
mod record;
#[cfg(test)]
mod tests;
mod verify;

pub use record::{Answered, As, ByRule, Ended, Event, Facts, Prepared, Record};
pub use verify::{Anchor, Broken, Verified, Verifier};
